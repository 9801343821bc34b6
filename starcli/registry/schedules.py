"""Schedules of the learning rate by name."""

from collections.abc import Mapping

from starcli.registry.entry import RecipeEntry

SCHEDULES: Mapping[str, RecipeEntry] = {
    "cosine": RecipeEntry("starcli.training.schedule:cosine_rate", "half a cosine down to 0"),
    "step": RecipeEntry(
        "starcli.training.schedule:step_rate", "times gamma at each milestone", reads=("milestones", "gamma")
    ),
    "constant": RecipeEntry("starcli.training.schedule:constant_rate", "the same rate throughout"),
}
"""`--schedule`: functions (position in epochs, recipe) -> share of the learning rate."""
