"""Recipes that ship with the program: one YAML file each, whose first line is a comment that describes it.

Nothing heavy is imported here, so that shell completion can list them at once.
"""

from pathlib import Path


def recipe_directory() -> Path:
    """Directory of the shipped recipes."""
    return Path(__file__).parent


def shipped_recipes() -> dict[str, str]:
    """Descriptions of the shipped recipes by name: `paper/resnet18-cifar10` is `paper/resnet18-cifar10.yaml`."""
    found = {}
    for path in sorted(recipe_directory().rglob("*.yaml")):
        with path.open(encoding="utf-8") as handle:
            found[path.relative_to(recipe_directory()).with_suffix("").as_posix()] = (
                handle.readline().lstrip("# ").rstrip()
            )
    return found
