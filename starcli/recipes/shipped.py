"""The recipes that ship with the program: one YAML file each, whose first line is a comment that says what it is.

Nothing heavy is imported here, so that shell completion can list them at once.
"""

from pathlib import Path


def recipe_directory() -> Path:
    """Where the shipped recipes lie."""
    return Path(__file__).parent


def shipped_recipes() -> dict[str, str]:
    """Name -> one line of help, of every shipped recipe: `paper/resnet18-cifar10` is `paper/resnet18-cifar10.yaml`."""
    found = {}
    for path in sorted(recipe_directory().rglob("*.yaml")):
        with path.open(encoding="utf-8") as handle:
            found[path.relative_to(recipe_directory()).with_suffix("").as_posix()] = (
                handle.readline().lstrip("# ").rstrip()
            )
    return found
