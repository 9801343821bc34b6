"""How models are merged: a method and its settings, for all tensors and for those whose names match a pattern."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from starcli.errors import StarcliError, few, number_of
from starcli.merging.method import LEAST_SUM, MERGE_SETTINGS, NUMBERS, PER_SOURCE, MergeMethod, TensorSettings
from starcli.registry.entry import resolve
from starcli.registry.merges import MERGES


@dataclass(frozen=True)
class Override:
    """Settings of the tensors whose names match a shell pattern."""

    pattern: str
    settings: Mapping[str, tuple[float, ...]]

    def matches(self, name: str) -> bool:
        """Whether the tensor `name` is meant."""
        return fnmatchcase(name, self.pattern)

    def record(self) -> dict[str, Any]:
        """It as the recipe of a file keeps it."""
        return {"tensors": self.pattern, **{name: list(numbers) for name, numbers in self.settings.items()}}


def parse_override(text: str) -> Override:
    """`PATTERN:NAME=NUMBER[,NUMBER...]`, with several settings `PATTERN:NAME=...:NAME=...`. StarcliError else.

    >>> parse_override("*.mlp.*:weights=0.2,0.8:density=0.5")
    Override(pattern='*.mlp.*', settings={'weights': (0.2, 0.8), 'density': (0.5,)})
    """
    pattern, *parts = text.split(":")
    try:
        pairs = [part.split("=") for part in parts]
        settings = {name: tuple(float(number) for number in numbers.split(",")) for name, numbers in pairs}
    except ValueError:
        settings = {}
    if not pattern or not settings:
        raise StarcliError(f"--overrides {text}: expected PATTERN:NAME=NUMBER, as '*.mlp.*:weights=0.2,0.8'")
    return Override(pattern, settings)


@dataclass(frozen=True)
class Merge:
    """A merge: its method by name, and what was said of its settings, some of `MERGE_SETTINGS`.

    What is not said has the method's default; weights are then 1 each. `overrides` come first, of two that match a
    name and say a setting the first.

    >>> merge = Merge.of("linear", {"weights": (1, 3)}, [parse_override("head*:weights=0,1")])
    >>> merge.settings_of("head.bias", 2).weights, merge.settings_of("body", 2).weights
    ((0.0, 1.0), (1.0, 3.0))
    """

    method: str
    said: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()

    @classmethod
    def of(cls, method: str, said: Mapping[str, Any], overrides: Iterable[Override] = ()) -> "Merge":
        """A merge by what was `said`, of which None and names of no setting do not count.

        >>> Merge.of("slerp", {"t": 0.25, "weights": None, "seed": 1}).said
        {'t': 0.25}
        """
        found = {name: said[name] for name in MERGE_SETTINGS if said.get(name) is not None}
        found |= {name: as_numbers(name, found[name]) for name in PER_SOURCE if name in found}
        return cls(method, found, tuple(overrides))

    @cached_property
    def how(self) -> MergeMethod:
        """The merge of one tensor: what the registry has under the name of the method."""
        found: MergeMethod = resolve(MERGES, "method", self.method)
        return found

    def settings_of(self, name: str, sources: int) -> TensorSettings:
        """Settings of the tensor `name` of so many sources."""
        values: dict[str, Any] = {"weights": 1.0, **self.how.defaults, **self.said}
        for override in reversed([each for each in self.overrides if each.matches(name)]):
            values |= {key: numbers if key in PER_SOURCE else numbers[0] for key, numbers in override.settings.items()}
        lists = {key: _for_each(values[key], sources) for key in PER_SOURCE if key in values}
        return TensorSettings(**{**values, **lists})

    def check(self, sources: int, *, base: bool) -> None:
        """Refuse settings that the method has no use for, that are missing, or that have no meaning, all at once."""
        problems = []
        if self.how.base != base:
            needed = "it needs --base, the model that the sources descend from"
            problems.append(needed if self.how.base else "it has no use for --base: it merges the --sources alone")
        if self.how.sources not in (None, sources):
            problems.append(f"it takes {self.how.sources} sources, found {sources}")
        if sources < self.how.fewest:
            problems.append(f"it takes at least {self.how.fewest} sources, found {sources}")
        own = tuple(key for key in self.how.reads if key in NUMBERS)
        said: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [("", self.said, self.how.reads)]
        said += [(f" of {each.pattern}", each.settings, own) for each in self.overrides]
        for place, settings, known in said:
            problems += [f"{key}{place}: it has no such setting" for key in settings if key not in known]
            numbers = {key: value for key, value in settings.items() if key in known}
            problems += [f"{key}{place}: {wrong}" for key, wrong in _wrong(numbers, sources)]
        if problems:
            raise StarcliError(f"--method {self.method} cannot merge so", problems)

    def settings_for(self, names: Sequence[str], sources: int) -> dict[str, TensorSettings]:
        """`settings_of` each tensor. StarcliError where a pattern matches none, and for what does not go together.

        As weights that sum to 0 and are to be divided by it.
        """
        idle = [each.pattern for each in self.overrides if not any(map(each.matches, names))]
        if idle:
            braces = ["braces mean nothing in a pattern: write one for each name"] if "{" in idle[0] else []
            there = f"there is {few(list(names), 20)}"
            raise StarcliError(f"--overrides {idle[0]} matches no tensor", [*braces, there])
        found = {name: self.settings_of(name, sources) for name in names}
        if "weights" in self.how.reads:
            empty = [name for name, each in found.items() if each.normalise_weights and _sums_to_0(each.weights)]
            if empty:
                raise StarcliError(f"weights that sum to 0 cannot be divided by their sum: those of {few(empty, 5)}")
        wrong: dict[str, list[str]] = {}
        for name, each in found.items():
            wrong.setdefault(self.how.objection(each), []).append(name)
        problems = [
            words if len(those) == len(names) else f"{few(those, 3)}: {words}"
            for words, those in wrong.items()
            if words
        ]
        if problems:
            raise StarcliError(f"--method {self.method} cannot merge so", problems)
        return found

    def record(self) -> dict[str, Any]:
        """The settings in full, as the recipe of a file keeps them."""
        values: dict[str, Any] = {**self.how.defaults, **self.said}
        kept = {key: value for key, value in values.items() if key in self.how.reads}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}
        if self.overrides:
            plain["overrides"] = [each.record() for each in self.overrides]
        return plain


def as_numbers(name: str, value: Any) -> tuple[float, ...]:
    """A number or several, of any kind of sequence, arrays and tensors too. StarcliError for what are no numbers."""
    try:
        return tuple(map(float, value if isinstance(value, Iterable) and not isinstance(value, str) else [value]))
    except (TypeError, ValueError):
        raise StarcliError(f"{name}={value!r:.80}: expected a number, or one for each model") from None


def _for_each(value: Any, sources: int) -> tuple[float, ...]:
    """A setting as one number for each source."""
    numbers = value if isinstance(value, tuple) else (value,)
    return numbers * sources if len(numbers) == 1 else numbers


def _sums_to_0(weights: Sequence[float]) -> bool:
    return abs(math.fsum(weights)) <= LEAST_SUM * math.fsum(map(abs, weights))


def _wrong(said: Mapping[str, Any], sources: int) -> list[tuple[str, str]]:
    """What is wrong with settings, each with its name."""
    found = []
    for key, value in said.items():
        numbers = value if isinstance(value, tuple) else (value,)
        shown = ", ".join(f"{number:g}" for number in numbers)
        many = (sources,) if key == "weights" else (1, sources) if key in PER_SOURCE else (1,)
        if len(numbers) not in many:
            found.append((key, f"{number_of(len(numbers), 'number')} for {number_of(sources, 'source')}"))
        elif not all(math.isfinite(number) for number in numbers):
            found.append((key, f"{shown}: expected finite numbers"))
        elif key == "density" and not all(0 < number <= 1 for number in numbers):
            found.append((key, f"{shown}: expected shares above 0, at most 1"))
        elif key in ("epsilon", "outliers") and not all(0 <= number < 1 for number in numbers):
            found.append((key, f"{shown}: expected shares from 0, below 1"))
        elif key == "t" and not 0 <= numbers[0] <= 1:
            found.append((key, f"{shown}: expected a number from 0 to 1"))
    return found
