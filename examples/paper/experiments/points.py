"""Table 7: do more points on a line change its barrier?"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from paper import networks, stars
from paper.record import Bench, Experiment, Finding, Row, Table

PAPER = {
    "11 points": ("0.376 ± 0.055", "0.090 ± 0.007"),
    "21 points": ("0.369 ± 0.053", "0.089 ± 0.006"),
    "51 points": ("0.369 ± 0.053", "0.094 ± 0.008"),
}


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """The same lines with several numbers of points."""
    sources, align = settings["sources"], settings["align"]
    rows: list[Row] = []
    for network in settings["networks"]:
        study = stars.Study(bench, network, sources, settings["held_out"])
        study.train()
        [star] = study.stars(align, sources=sources)
        for points in settings["points"]:
            words = "" if points == 11 else f"--points {points}"
            found = study.judge(star, align, f"`{network.name}`, {points} points", words=words)
            rows += [{**row, "align": f"{row['align']}, {points} points"} for row in found]
    return rows


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line for each number of points."""
    return [stars.star_table(rows, {case: PAPER[case.split(", ")[-1]] for case in stars.cases(rows)})]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Each number against the first, held to the deviation over pairs, the paper's own measure."""
    found = []
    for network in dict.fromkeys(row["network"] for row in rows):
        (few, first), *others = stars.cases(stars.chosen(rows, network=network)).items()
        for case, some in others:
            for group in (stars.REGULAR, stars.STAR):
                of = [
                    {(row["a"], row["b"]): row["train"] for row in stars.chosen(each, kind="barrier", group=group)}
                    for each in (first, some)
                ]
                change = {key: of[1][key] - value for key, value in of[0].items()}
                margin, where = statistics.stdev(of[0].values()), f"{case} less {few.split(', ')[-1]}"
                found.append(Finding.near(f"no significant change: {group}", where, change, margin))
    return [*found, *stars.all_connected(rows)]


EXPERIMENT = Experiment(
    name="points",
    paper="Table 7",
    claim="11 points on a line are enough: with 21 or 51 the barriers change by less than their deviation over pairs.",
    scales={
        "quick": {
            "networks": (networks.TINY,),
            "sources": 2,
            "held_out": 3,
            "points": (11, 21),
            "align": stars.WEIGHT,
        },
        "here": {
            "networks": (networks.MLP, networks.RESNET),
            "sources": 5,
            "held_out": 5,
            "points": (11, 21, 51),
            "align": stars.WEIGHT,
        },
        "full": {
            "networks": (networks.RESNET18,),
            "sources": 50,
            "held_out": 5,
            "points": (11, 21, 51),
            "align": "--align weight",
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
)
