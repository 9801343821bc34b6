"""Table 12: are there stars without ReLU's homogeneity?"""

from collections.abc import Mapping, Sequence
from typing import Any

from paper import networks, stars
from paper.networks import Network
from paper.record import Bench, Experiment, Finding, Row, Table
from paper.strips import paired_strips

PAPER = {
    "relu": ("0.383 ± 0.056", "about 0.19"),
    "elu": ("0.497 ± 0.174", "0.224 ± 0.021"),
    "silu": ("0.347 ± 0.046", "0.208 ± 0.019"),
}


def measure(settings: Mapping[str, Any], bench: Bench) -> list[Row]:
    """A star of networks with each activation function."""
    rows: list[Row] = []
    sources, align = settings["sources"], settings["align"]
    for activation, network in settings["networks"].items():
        study = stars.Study(bench, network, sources, settings["held_out"])
        study.train()
        [star] = study.stars(align, sources=sources)
        rows += study.judge(star, align, activation)
    return rows


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line for each function."""
    return [stars.star_table(rows, PAPER)]


def judge(rows: Sequence[Row]) -> list[Finding]:
    """Whether there is a star with each."""
    return stars.all_connected(rows)


def networks_with(base: Network) -> dict[str, Network]:
    """A network with each activation function; ReLU is its own."""
    found = {"relu": base}
    for name in ("elu", "silu"):
        words = f"{base.train} --arch-arg activation={name}"
        found[name] = Network(f"{base.name}-{name}", words, base.star, base.data, base.barrier)
    return found


EXPERIMENT = Experiment(
    name="activations",
    paper="Table 12",
    claim="Networks with ELU and with Swish (SiLU), which are not homogeneous, have stars too.",
    scales={
        "quick": {"networks": {"relu": networks.TINY}, "sources": 2, "held_out": 3, "align": stars.WEIGHT},
        "here": {"networks": networks_with(networks.RESNET), "sources": 5, "held_out": 5, "align": stars.WEIGHT},
        "full": {
            "networks": networks_with(networks.RESNET18),
            "sources": 10,
            "held_out": 3,
            "align": "--align weight",
        },
    },
    measure=measure,
    tables=tables,
    judge=judge,
    draw=paired_strips,
)
