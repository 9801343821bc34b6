"""Table 8: are a few models enough to judge a star by, and how do the extremes compare?"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from paper import networks, stars
from paper.page import number
from paper.record import FAILS, HOLDS, Bench, Experiment, Finding, Row, Table

PAPER = {
    3: ("0.300", "0.082", "0.376 ± 0.055", "0.090 ± 0.007", "0.445", "0.095"),
    5: ("0.292", "0.069", "0.381 ± 0.059", "0.077 ± 0.007", "0.530", "0.084"),
    15: ("0.255", "0.071", "0.382 ± 0.046", "0.093 ± 0.014", "0.540", "0.117"),
}
"""By numbers of sources and held-out models: least, mean and largest barrier, regular-regular (RR) and star-regular."""


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """All lines between the most sources and held-out models; fewer are a part of these."""
    most, align = max(settings["sizes"]), settings["align"]
    rows: list[Row] = []
    for network in settings["networks"]:
        study = stars.Study(bench, network, most, most)
        study.train()
        [star] = study.stars(align, sources=most)
        rows += [{"kind": "size", "network": network.name, "size": size} for size in settings["sizes"]]
        rows += study.judge(star, align, "", sources=most)
    return rows


def part(rows: Sequence[Row], group: str, of: Row) -> dict[tuple[str, str], float]:
    """Train barriers between a network's first sources, or its star, and the first held-out models.

    of: the row of this network and size.
    """
    size = of["size"]
    held_out = range(stars.HELD_OUT, stars.HELD_OUT + size)
    return {
        (row["a"], row["b"]): row["train"]
        for row in stars.chosen(rows, kind="barrier", network=of["network"], group=group)
        if int(row["b"]) in held_out and (group == stars.STAR or int(row["a"]) < size)
    }


def tables(rows: Sequence[Row]) -> list[Table]:
    """Least, mean and largest barriers by size, and the paper's."""
    columns = [
        "models of each kind",
        *(f"{what} {name}" for what in ("least", "mean", "largest") for name in ("RR", "SR")),
    ]
    lines = []
    for row in stars.chosen(rows, kind="size"):
        groups = [[*part(rows, group, row).values()] for group in (stars.REGULAR, stars.STAR)]
        means = [f"{number(statistics.fmean(each))} ± {number(statistics.stdev(each))}" for each in groups]
        least, most = ([number(of(each)) for each in groups] for of in (min, max))
        lines.append([f"`{row['network']}`, {row['size']}", *least, *means, *most])
    theirs = [[f"paper: {size}", *figures] for size, figures in PAPER.items()]
    return [Table(columns, [*lines, *theirs])]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Each size: is the star nearer, and is its largest barrier below the least between regular models?"""
    found = []
    for row in stars.chosen(rows, kind="size"):
        where = f"`{row['network']}`, {row['size']} of each"
        regular, star = (part(rows, group, row) for group in (stars.REGULAR, stars.STAR))
        to = {model: value for (_, model), value in star.items()}
        gain = {(a, b): value - to[b] for (a, b), value in regular.items()}
        found.append(Finding.above("star-regular below regular-regular", where, gain))
        gap = min(regular.values()) - max(to.values())
        verdict = HOLDS if gap > 0 else FAILS
        found.append(Finding("largest star-regular below least regular-regular", where, verdict, gap))
    return found


EXPERIMENT = Experiment(
    name="sets",
    paper="Table 8",
    claim="Three or five models of each kind give the same picture as fifteen, and even the largest star-regular "
    "barrier is below the least between regular models.",
    scales={
        "quick": {"networks": (networks.TINY,), "sizes": (3,), "align": stars.WEIGHT},
        "here": {"networks": (networks.MLP, networks.RESNET), "sizes": (3, 5, 15), "align": stars.WEIGHT},
        "full": {"networks": (networks.RESNET18,), "sizes": (3, 5, 15), "align": "--align weight"},
    },
    measure=measure,
    tables=tables,
    judge=judge,
    notes="One star of the most sources is judged in all lines. The second claim is of these very models: it has no "
    "interval.",
)
