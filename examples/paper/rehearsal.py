"""Settings of an experiment for a dry run: its own networks, built and trained for two steps on random images."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from paper.networks import Network
from paper.record import Experiment

FEW = {
    "sources": 3,
    "held_out": 3,
    "stars": 2,
    "seeds": 2,
    "samples": 3,
    "repeats": 2,
    "students": 1,
    "points": (3, 5),
    "radii": (1,),
    "sizes": (3,),
    "budgets": (1,),
    "pairs": 3,
}
"""Numbers in the place of an experiment's own."""
STEPS = "--batch-size 4 --limit 8 --epochs 1"


def rehearsal_of(experiment: Experiment, scale: str, out: Path) -> Mapping[str, Any]:
    """The settings of a scale, made small; those of `quick` where there is no network to build. Writes the images."""
    asked = experiment.scales[scale]
    made = {key: small(value, out) for key, value in asked.items()}
    if not any("Network(" in repr(value) for value in asked.values()):
        return experiment.scales["quick"]
    return {key: FEW.get(key, value) for key, value in made.items()}


def small(value: Any, out: Path) -> Any:
    """A setting made small: networks, alignments that learn, and numbers of sources."""
    match value:
        case Network():
            data = f"--data {images(value, out)}"
            return replace(
                value, train=f"{value.train} {STEPS}", star="", data=data, barrier=f"{value.barrier} --points 3"
            )
        case str() if value.split()[-1] in ("learn", "sinkhorn"):
            return f"{value} --align-steps 2"
        case dict():
            return {small(key, out): small(each, out) for key, each in value.items()}
        case (int(), int(), *_):
            return (2, 3)
        case tuple():
            return tuple(small(each, out) for each in value)
    return value


def images(network: Network, out: Path) -> str:
    """The file of random images of a network's size, written if it is not there: 20 of 10 classes."""
    import numpy as np

    size = 224 if "imagenet" in network.name else 28 if "mnist" in network.name else 32
    channels = 1 if "mnist" in network.name else 3
    file = out / f"random-{size}.npz"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        drawn = np.random.default_rng(0).integers(0, 256, (40, channels, size, size), dtype=np.uint8)
        labels = np.arange(20, dtype=np.int64) % 10
        np.savez(file, x_train=drawn[:20], y_train=labels, x_test=drawn[20:], y_test=labels)
    return file.name
