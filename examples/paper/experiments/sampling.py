"""Table 9: does it matter how t is drawn while a star is trained?"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paper.record import Bench, Experiment, Finding, Row, Table
from paper.stars import RESNET, RESNET18, TINY, Study, better, cells_of, chosen, connected, distinct, star_table
from paper.strips import strips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {
    "uniform": ("0.383 ± 0.056", "0.084 ± 0.012"),
    "beta": ("", "0.069 ± 0.010"),
    "constant": ("", "0.018 ± 0.009"),
}
"""Barriers of the paper's table, by the name of the law."""
WEIGHT = "--align weight --restarts 10"


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Stars of each law, judged on the same held-out models."""
    study = Study(bench, settings["network"], settings["sources"], settings["held_out"])
    study.train()
    rows = []
    for law in PAPER:
        words = f"--sampling {law} {settings['align']}"
        for star in study.make("star", f"star-{study.sources}-{law}", words, stars=settings["stars"]):
            rows += [{**row, "law": law} for row in study.judge(star, settings["align"])]
    return distinct(rows)


def of_law(rows: Sequence[Row], law: str) -> list[Row]:
    """Rows of the stars of a law, and those of no star."""
    stars = tuple(dict.fromkeys(row["star"] for row in rows if "star" in row and row["law"] == law))
    return [row for row in rows if row.get("star") in (None, *stars)]


def stars_of(rows: Sequence[Row], law: str) -> list[str]:
    """Names of the stars of a law."""
    return [row["star"] for row in chosen(rows, kind="loss", law=law)]


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line for each law."""
    return [star_table([cells_of(law, of_law(rows, law), PAPER[law]) for law in PAPER])]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Stars of all laws are stars; beta against uniform; the price of the constant."""
    found = [connected(of_law(rows, law), law) for law in PAPER]
    uniform, beta, constant = (stars_of(rows, law) for law in PAPER)
    losses = {row["star"]: row["train"] for row in chosen(rows, kind="loss")}
    price = {(n,): losses[c] - losses[u] for n, (u, c) in enumerate(zip(uniform, constant, strict=True))}
    return [
        *found,
        Finding.above("Beta(2, 2) has the lower barrier", "uniform less beta", better(rows, uniform, beta)),
        Finding.above("t = 0.5 has the lower barrier", "uniform less constant", better(rows, uniform, constant)),
        Finding.above("t = 0.5 has the larger loss of the star itself", "constant less uniform", price),
    ]


def draw(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Barriers to held-out models, by law."""
    columns = {"regular-regular": [row["train"] for row in chosen(rows, kind="barrier", group="regular-regular")]}
    columns |= {
        law: [row["train"] for row in chosen(of_law(rows, law), kind="barrier", group="star-held-out")] for law in PAPER
    }
    return strips(columns, "train barrier (nats)")


EXPERIMENT = Experiment(
    name="sampling",
    paper="Table 9",
    claim="Drawing t from Beta(2, 2) is slightly, not significantly better than uniformly; t = 0.5 alone gives the "
    "lowest barrier at the price of a star that is itself a bad solution.",
    scales={
        "quick": {"network": TINY, "sources": 2, "held_out": 3, "stars": 3, "align": "--align weight"},
        "here": {"network": RESNET, "sources": 10, "held_out": 5, "stars": 3, "align": WEIGHT},
        "full": {"network": RESNET18, "sources": 50, "held_out": 5, "stars": 3, "align": "--align weight"},
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=draw,
)
