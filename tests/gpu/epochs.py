"""Seconds of an epoch, against what the card's matrix units could do."""

import statistics
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from support.training import search_of

from starcli.alignment.alignment import Alignment
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import Progress
from starcli.star.settings import StarSettings
from starcli.star.starlight import starlight
from starcli.training.train import PlainObjective, train_network

from .card import matrix_rate
from .lab import Lab, Stepper
from .steps import recipe_of, sources

OPERATIONS = 167e12
"""Of an epoch of ResNet-18 over 50,000 images: 3.3 GFLOP an image, forward and backward."""
RUN = 200
"""Epochs of a run of the paper, which the time of one is multiplied by."""
DEFAULT = StarSettings()
"""Sources are aligned in each epoch."""


class Ends(Progress):
    """Notes when epochs end, which is when their figures are known."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def record(self, row: Mapping[str, Any]) -> None:
        self.at.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Of each epoch but the first."""
        return [later - earlier for earlier, later in pairwise(self.at)]


def run(lab: Lab) -> None:
    """Plain training, and stars: of sources as they are, of 5 that are aligned, and of 50. Then what holds it up."""
    workspace = lab.workspace("bf16")  # first, for it says what products compute with before there are any
    rate = matrix_rate(lab)
    lab.row("bf16 matrix product", teraflops=rate / 1e12)
    recipe = recipe_of(lab, epochs=3)
    models = [source.open() for source in sources(workspace, 5)]

    def measured(what: str, way: Callable[[Ends], object]) -> None:
        ends = Ends()
        with lab.part(f"an epoch, {what}"):
            whole = lab.seconds(lambda: way(ends))
            taken = statistics.median(ends.seconds())
            share = {} if lab.quick else {"share_of_matrix_rate": OPERATIONS / taken / rate, "target": 0.25}
            hours = taken * RUN / 3600
            lab.measured(f"an epoch, {what}", ends.seconds(), whole_run=whole, hours_of_200_epochs=hours, **share)

    def star(ends: Ends, count: int, recipe: Recipe, settings: StarSettings = DEFAULT) -> object:
        search = search_of([models[number % 5] for number in range(count)], recipe, settings)
        return starlight(workspace, search, progress=ends)

    measured("train", lambda ends: train_network(workspace, recipe, 0, progress=ends))
    as_they_are = StarSettings(alignment=Alignment(None))
    measured("star, 5 sources, not aligned", lambda ends: star(ends, 5, recipe, as_they_are))
    with lab.part("profile"):
        stepper = Stepper(PlainObjective(workspace, workspace.network(0), recipe), workspace.dataset, recipe)
        stepper.steps(3)
        lab.profile("profile of a plain step, bf16", lambda: stepper.steps(10), 10)
    measured("star, 5 sources", lambda ends: star(ends, 5, recipe))
    # the host waits less often for launches: what the card itself could do
    large = recipe.override(batch_size=8 * recipe.batch_size)
    measured(f"train, batch {large.batch_size}", lambda ends: train_network(workspace, large, 0, progress=ends))
    if lab.device.type == "cuda":
        free = lab.workspace("bf16", dataset=workspace.dataset, fast=True)
        measured("train, --fast", lambda ends: train_network(free, recipe, 0, progress=ends))
        workspace = lab.workspace("bf16", dataset=workspace.dataset)  # which is of the whole process
    count = 6 if lab.quick else 50
    measured(f"star, {count} sources", lambda ends: star(ends, count, recipe.override(epochs=2)))
