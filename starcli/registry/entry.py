"""An entry of a table, and how the object behind it is found: imported only when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from starcli.errors import unknown


@dataclass(frozen=True)
class Entry:
    """Choice by name: where its object is (`module:attribute`) and one line of help."""

    target: str
    help: str


def lookup(table: Mapping[str, Entry], kind: str, name: str) -> Entry:
    """Return the entry of `name` in `table`. Raises StarcliError, with the nearest names, for an unknown one."""
    if not isinstance(name, str) or name not in table:
        raise unknown(kind, str(name), table)
    return table[name]


def resolve(table: Mapping[str, Entry], kind: str, name: str) -> Any:
    """Import and return the object that `name` stands for. `kind` is the word for it in errors.

    >>> from starcli.registry.schedules import SCHEDULES
    >>> resolve(SCHEDULES, "schedule", "constant").__name__
    'constant_rate'
    """
    module, attribute = lookup(table, kind, name).target.split(":")
    return getattr(import_module(module), attribute)
