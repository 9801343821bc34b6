"""An entry of a table, and how the object behind it is found: imported only when it is asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from starcli.errors import unknown


@dataclass(frozen=True)
class Entry:
    """Choice by name: where its object is (`module:attribute`) and one line of help."""

    target: str
    help: str


@dataclass(frozen=True, kw_only=True)
class RecipeEntry(Entry):
    """Choice of a recipe; `reads` are those of its settings that not all choices of the table read."""

    reads: tuple[str, ...] = ()


def unread(table: Mapping[str, RecipeEntry], name: str) -> set[str]:
    """Settings of a recipe that only other choices of the table than `name` read; an unknown one reads none.

    >>> from starcli.registry.schedules import SCHEDULES
    >>> sorted(unread(SCHEDULES, "cosine"))
    ['gamma', 'milestones']
    """
    read = table[name].reads if name in table else ()
    return {setting for each in table.values() for setting in each.reads if setting not in read}


def either(names: Iterable[str]) -> str:
    """A choice in words.

    >>> either(["sgd", "adam", "adamw"])
    'sgd, adam or adamw'
    """
    *others, last = names
    return f"{', '.join(others)} or {last}"


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
