"""Learning-rate schedules: pure functions of the position in the run, so that resuming one needs no state.

A position is a number of epochs, fractions included.  The rate is set anew at every step: for the step schedule that is
the same as once per epoch, the cosine falls smoothly instead of in `epochs` stairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from starcli import registry

if TYPE_CHECKING:
    from starcli.recipes.recipe import Recipe

Schedule = Callable[[float, "Recipe"], float]
"""Function (position in epochs, recipe) -> share of the learning rate."""


def cosine_rate(position: float, recipe: Recipe) -> float:
    """Half a cosine: (1 + cos(pi s)) / 2, where s goes from 0 at the end of the warm-up to 1 at the end.

    Loshchilov & Hutter 2017.
    """
    share = (position - recipe.warmup) / (recipe.epochs - recipe.warmup)
    return (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2


def step_rate(position: float, recipe: Recipe) -> float:
    """Steps: gamma^k, with k the number of milestones at or before `position`."""
    return recipe.gamma ** sum(milestone <= position for milestone in recipe.milestones)


def constant_rate(position: float, recipe: Recipe) -> float:
    """The full rate throughout."""
    return 1.0


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Learning rate of step `step` of the run, counted from 0.

    rate * min(1, (step + 1) / (warmup * steps_per_epoch)) during the warm-up, then rate * schedule(position): the
    warm-up ends at the full rate in its last step.

    >>> from starcli.recipes.recipe import Recipe
    >>> [round(learning_rate(Recipe(epochs=4, lr=1.0), step, 1), 3) for step in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    position = step / steps_per_epoch
    if position < recipe.warmup:
        return recipe.rate * min(1.0, (step + 1) / (recipe.warmup * steps_per_epoch))
    schedule: Schedule = registry.resolve(registry.SCHEDULES, "schedule", recipe.schedule)
    return recipe.rate * schedule(position, recipe)
