"""Figure 7: is a star of SGD's solutions connected to those of Adam?"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paper import networks, stars
from paper.page import spread
from paper.record import Bench, Experiment, Finding, Row, Table
from paper.strips import strips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = {"sgd-sgd": ("sgd", stars.REGULAR), "adam-adam": ("adam", stars.REGULAR)}
LINES = {"star-sgd": ("sgd", stars.STAR), "star-adam": ("adam", stars.STAR)}


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Lines between models of each optimiser, and from a star of SGD's to both."""
    rows: list[Row] = []
    sources, align, star = settings["sources"], settings["align"], ""
    for optimizer, network in (("sgd", settings["sgd"]), ("adam", settings["adam"])):
        study = stars.Study(bench, network, sources, settings["held_out"])
        study.train()
        [own] = study.stars(align, sources=sources)
        star = star or own
        found = study.judge(own, align, optimizer)
        if own != star:
            found = [*stars.chosen(found, group=stars.REGULAR), *study.lines(star, align, optimizer)]
        rows += [{**row, "optimizer": optimizer} for row in found]
    return rows


def values(rows: Sequence[Row], name: str) -> dict[tuple[str, str], float]:
    """Train barriers of a kind of lines, by their ends."""
    optimizer, group = (PAIRS | LINES)[name]
    found = stars.chosen(rows, kind="barrier", optimizer=optimizer, group=group)
    return {(row["a"], row["b"]): row["train"] for row in found}


def tables(rows: Sequence[Row]) -> list[Table]:
    """Barriers of each kind of lines."""
    return [
        Table(["train split", "barrier"], [[name, spread([*values(rows, name).values()])] for name in PAIRS | LINES])
    ]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """The star against Adam's own pairs, and its lines to Adam's against those to SGD's."""
    gains = {}
    for name in ("sgd", "adam"):
        to = {model: value for (_, model), value in values(rows, f"star-{name}").items()}
        gains[name] = {(a, b): value - to[b] for (a, b), value in values(rows, f"{name}-{name}").items()}
    ends = zip(values(rows, "star-adam").values(), values(rows, "star-sgd").values(), strict=True)
    return [
        Finding.above("a star of SGD's is nearer to SGD's than these are to one another", "", gains["sgd"]),
        Finding.above("... and nearer to Adam's than these are to one another", "", gains["adam"]),
        Finding.above("... but less near to Adam's than to SGD's", "", {(n,): a - b for n, (a, b) in enumerate(ends)}),
    ]


def draw(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Barriers of each kind of lines."""
    return strips({name: [*values(rows, name).values()] for name in PAIRS | LINES}, "train barrier (nats)")


EXPERIMENT = Experiment(
    name="adam",
    paper="Figure 7",
    claim="A star of SGD's solutions has a barrier to those of Adam, significantly lower than that between Adam's.",
    scales={
        "quick": {"sgd": networks.TINY, "adam": networks.TINY_ADAM, "sources": 2, "held_out": 3, "align": stars.WEIGHT},
        "here": {"sgd": networks.RESNET, "adam": networks.ADAM, "sources": 5, "held_out": 5, "align": stars.WEIGHT},
        "full": {
            "sgd": networks.RESNET18,
            "adam": networks.PAPER[1],
            "sources": 50,
            "held_out": 5,
            "align": "--align weight",
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=draw,
)
