"""All that decides a search for a star: recipe, settings, seed, sources."""

from collections.abc import Sequence
from dataclasses import dataclass

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.recipes.recipe import Recipe
from starcli.star.growing import Growth
from starcli.star.settings import StarSettings


@dataclass(frozen=True, kw_only=True)
class StarSearch:
    """A search for a star, or for a model that is fused as one: sources, settings, recipe, seed.

    seed: of all that is drawn, weights at the beginning among it. init: a model to begin at in their place; with
    `growth` the star that grows. held_out: models to which barriers are logged, as `settings.eval_every` says; they
    select nothing.
    """

    recipe: Recipe
    settings: StarSettings
    seed: int
    sources: Sequence[Checkpoint]
    init: Checkpoint | None = None
    growth: Growth | None = None
    held_out: Sequence[Checkpoint] = ()
