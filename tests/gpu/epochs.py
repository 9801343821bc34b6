"""Seconds of an epoch, against what the card's matrix units could do."""

import statistics
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from support.training import search_of

from starcli.alignment.alignment import Alignment
from starcli.runtime.progress import Progress
from starcli.star.settings import StarSettings
from starcli.star.starlight import starlight
from starcli.training.train import PlainObjective, train_network

from .lab import Lab, Stepper
from .steps import recipe_of, sources

OPERATIONS = 167e12
"""Of an epoch of ResNet-18 over 50,000 images: 3.3 GFLOP an image, forward and backward."""


class Ends(Progress):
    """Notes when epochs end, which is when their figures are known."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def record(self, row: Mapping[str, Any]) -> None:
        self.at.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Of each epoch but the first."""
        return [later - earlier for earlier, later in pairwise(self.at)]


def matrix_rate(lab: Lab) -> float:
    """Operations a second of a large bf16 product of random matrices."""
    size = 128 if lab.quick else 8192
    a, b = (torch.randn(size, size, device=lab.device, dtype=torch.bfloat16) for _ in range(2))
    times = [lab.seconds(lambda: a @ b) for _ in range(13)]
    return 2 * size**3 / statistics.median(times[3:])


def run(lab: Lab) -> None:
    """Plain training, a star whose sources are taken as they are, and a star that aligns."""
    workspace = lab.workspace("bf16")  # first, for it says what products compute with before there are any
    rate = matrix_rate(lab)
    lab.row("bf16 matrix product", teraflops=rate / 1e12)
    recipe = recipe_of(lab, epochs=3)
    ways = {
        "train": lambda ends: train_network(workspace, recipe, 0, progress=ends),
        "star, 5 sources, not aligned": lambda ends: starlight(
            workspace, search_of(found, recipe, StarSettings(alignment=Alignment(None))), progress=ends
        ),
        "star, 5 sources": lambda ends: starlight(workspace, search_of(found, recipe, StarSettings()), progress=ends),
    }
    found = [source.open() for source in sources(workspace, 5)]
    for what, way in ways.items():
        ends = Ends()
        whole = lab.seconds(lambda way=way, ends=ends: way(ends))
        taken = statistics.median(ends.seconds())
        share = {} if lab.quick else {"share_of_matrix_rate": OPERATIONS / taken / rate, "target": 0.25}
        lab.measured(f"an epoch, {what}", ends.seconds(), whole_run=whole, **share)
    stepper = Stepper(PlainObjective(workspace, workspace.network(0), recipe), workspace.dataset, recipe)
    stepper.steps(3)
    lab.profile("profile of a plain step, bf16", lambda: stepper.steps(10), 10)
