"""Table 10: is one point a star, or all that lie around it?"""

from collections.abc import Mapping, Sequence
from typing import Any

from paper import networks, stars
from paper.record import Bench, Experiment, Finding, Row, Table
from paper.strips import star_strips

PAPER = {
    "radius 2": ("0.38", "0.078 ± 0.009"),
    "radius 4": ("0.38", "0.080 ± 0.009"),
    "radius 8": ("0.38", "0.086 ± 0.007"),
    "radius 16": ("0.38", "0.120 ± 0.013"),
}
"""Of ResNet-18 on CIFAR-10, whose weights have another norm."""


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """Points on spheres around a star, judged as the star itself is."""
    sources, align = settings["sources"], settings["align"]
    study = stars.Study(bench, settings["network"], sources, settings["held_out"])
    study.train()
    found = study.stars(align, sources=sources, stars=settings["stars"])[:1]
    rows = study.all_lines(found, align, "the star", first=True)
    for radius in settings["radii"]:
        near = [f"{study.network.name}/near-{radius:g}-{seed}.safetensors" for seed in range(settings["draws"])]
        for seed, file in enumerate(near):
            words = f"{found[0]} {study.network.data} --perturb {radius:g} --seed {seed} -o {file}"
            bench.line(f"starcli interpolate {words}")
        rows += study.all_lines(near, align, f"radius {radius:g}", first=False)
    return rows


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line for each radius."""
    small = all(row["network"] != networks.RESNET18.name for row in rows)
    return [stars.star_table(rows, {} if small else PAPER)]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Whether points at each radius are stars."""
    return stars.all_connected(rows)


EXPERIMENT = Experiment(
    name="perturb",
    paper="Table 10",
    claim="Points near a star are stars too: their barriers to held-out models stay well below those between regular "
    "models.",
    scales={
        "quick": {
            "network": networks.TINY,
            "sources": 2,
            "held_out": 3,
            "stars": 2,
            "radii": (0.5,),
            "draws": 2,
            "align": stars.WEIGHT,
        },
        "here": {
            "network": networks.RESNET,
            "sources": 10,
            "held_out": 5,
            "stars": 3,
            "radii": (0.5, 1, 2, 4),
            "draws": 3,
            "align": stars.WEIGHT,
        },
        "full": {
            "network": networks.RESNET18,
            "sources": 50,
            "held_out": 3,
            "stars": 1,
            "radii": (2, 4, 8, 16),
            "draws": 3,
            "align": "--align weight",
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=star_strips,
    notes="The paper's radii (2, 4, 8 and 16, barriers 0.078 to 0.120) are for a network with a hundred times as many "
    "weights.",
)
