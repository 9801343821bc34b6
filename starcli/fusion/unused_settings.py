"""Settings that a method of `fuse` has no use for, which are refused."""

from collections.abc import Iterable
from dataclasses import fields

from starcli.errors import StarcliError, option_of
from starcli.merging.method import MERGE_SETTINGS
from starcli.recipes.recipe import Recipe
from starcli.registry.fusions import TRAINED_FUSIONS
from starcli.registry.merges import MERGES
from starcli.star.settings import StarSettings

OF_STARS = (
    *(each.name for each in fields(StarSettings) if each.name not in ("alignment", "renormalise")),
    *("objective", "held_out", "aligned_sources", "grow"),
)
"""Settings that only a star has."""

OF_DOMAINS = ("star", "samples", "in_turn")
"""Settings of points of a star domain that teach; `sampling` is one of them, too."""

OF_MERGES = ("base", *MERGE_SETTINGS, "overrides")
"""Settings of merges alone, which say themselves which of them they read."""

OF_TRAINING = ("recipe", "init", "checkpoint_every", "log", *Recipe.model_fields)
"""Settings that a method has which trains."""


def refuse_unused(method: str, said: Iterable[str]) -> None:
    """Refuse settings, by the names of those that were `said`, which `method` has no use for."""
    said = list(said)
    without = () if method == "star" else OF_STARS if method in TRAINED_FUSIONS else (*OF_STARS, *OF_TRAINING)
    without = without if method in MERGES else (*without, *OF_MERGES)
    without = (*without, "source_data") if method in TRAINED_FUSIONS else without
    taught = method == "distil" and "star" in said
    without = tuple(name for name in without if name != "sampling") if taught else (*without, *OF_DOMAINS)
    if strange := [name for name in said if name in without]:
        options = ", ".join(map(option_of, strange))
        hint = ["--star STAR says whose domain teaches"] if method == "distil" and not taught else []
        raise StarcliError(f"--method {method} has no use for {options}", hint if {*strange} & {*OF_DOMAINS} else [])
