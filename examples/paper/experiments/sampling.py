"""Table 9: does it matter how t is drawn while a star is trained?"""

from collections.abc import Mapping, Sequence
from typing import Any

from paper import stars
from paper.networks import RESNET, RESNET18, TINY
from paper.record import Bench, Experiment, Finding, Row, Table
from paper.strips import star_strips

LAWS = {"uniform": "", "beta": "--sampling beta", "constant": "--sampling constant"}
"""How t is drawn, and what `star` says of it."""
PAPER = {
    "uniform": ("0.383 ± 0.056", "0.084 ± 0.012"),
    "beta": ("", "0.069 ± 0.010"),
    "constant": ("", "0.018 ± 0.009"),
}


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Stars of each law, judged on the same held-out models."""
    study, align = stars.Study(bench, settings["network"], settings["sources"], settings["held_out"]), settings["align"]
    study.train()
    rows: list[Row] = []
    for law, words in LAWS.items():
        found = study.stars(align, words, sources=study.sources, stars=settings["stars"])
        rows += study.all_lines(found, align, law, first=not rows)
    return rows


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line for each law."""
    return [stars.star_table(rows, PAPER)]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Stars of all laws are stars; beta against uniform; the price of the constant."""
    uniform, beta, constant = (stars.names(rows, law) for law in LAWS)
    losses = {row["star"]: row["train"] for row in stars.chosen(rows, kind="loss")}
    price = {(n,): losses[c] - losses[u] for n, (u, c) in enumerate(zip(uniform, constant, strict=True))}
    return [
        *stars.all_connected(rows),
        Finding.above("Beta(2, 2) has the lower barrier", "uniform less beta", stars.better(rows, uniform, beta)),
        Finding.above("t = 0.5 has the lower barrier", "uniform less constant", stars.better(rows, uniform, constant)),
        Finding.above("t = 0.5 has the larger loss of the star itself", "constant less uniform", price),
    ]


EXPERIMENT = Experiment(
    name="sampling",
    paper="Table 9",
    claim="Drawing t from Beta(2, 2) is slightly, not significantly better than uniformly; t = 0.5 alone gives the "
    "lowest barrier at the price of a star that is itself a bad solution.",
    scales={
        "quick": {"network": TINY, "sources": 2, "held_out": 3, "stars": 3, "align": stars.WEIGHT},
        "here": {"network": RESNET, "sources": 10, "held_out": 5, "stars": 3, "align": stars.WEIGHT},
        "full": {"network": RESNET18, "sources": 50, "held_out": 5, "stars": 3, "align": "--align weight"},
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=star_strips,
    notes="A barrier is the rise above the line between the losses at the ends. The star of t = 0.5 alone is worse "
    "than guessing (a loss of ln 10 = 2.303), so that this line begins high, and a low barrier from it says little.",
)
