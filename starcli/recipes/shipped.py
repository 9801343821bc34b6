"""Recipes that ship with the program: one YAML file each, whose first line is a comment that describes it.

Nothing heavy is imported here, so that shell completion can list them at once.
"""

from pathlib import Path

from starcli.errors import StarcliError, unknown


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


def recipe_path(name: str) -> Path:
    """File of a recipe by shipped name or path. Raises StarcliError where there is none."""
    names = shipped_recipes()
    if name in names:
        return recipe_directory() / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    if name.endswith((".yaml", ".yml")) or Path(name).is_dir():
        raise StarcliError(f"{name}: there is no such file")
    raise unknown("recipe", name, names)
