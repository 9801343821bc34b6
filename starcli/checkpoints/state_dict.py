"""A state dict as a file has it: which of its tensors are meant, and the prefixes that are no part of their names."""

import fnmatch
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from starcli.errors import StarcliError, few

WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile put before every name."""

_COUNTERS = ("n_averaged", "initted", "step", "num_updates")
"""Names that an average of a network keeps beside its weights: torch's AveragedModel, and ema_pytorch."""

MOST_WRAPPERS = 4
"""Largest number of wrappers around a network, one in another."""


@dataclass(frozen=True)
class Pick:
    """A user's choice of a file's tensors: the key under which they lie, and patterns of names to leave out."""

    key: str | None = None
    ignore: Sequence[str] = ()

    def options(self) -> str:
        """The options of `starcli convert` that say so."""
        key = [f"--key {shlex.quote(self.key)}"] if self.key else []
        return " ".join([*key, *(["--ignore", *map(shlex.quote, self.ignore)] if self.ignore else [])])


EVERYTHING = Pick()
"""What is meant where a user says nothing: all tensors of the state dict that is found."""


@dataclass(frozen=True)
class StateDict:
    """A state dict that was found: its tensors by name, and notes on what it was chosen from and what was left out.

    versions: what torch keeps of each module's version beside a state dict.
    """

    tensors: Mapping[str, Tensor]
    versions: Any = None
    notes: tuple[str, ...] = ()


def without_ignored(found: StateDict, source: str, patterns: Sequence[str]) -> StateDict:
    """The tensors that no pattern matches; StarcliError for a pattern that matches none."""
    names = list(found.tensors)
    matched = {pattern: {name for name in names if _matches(name, pattern)} for pattern in patterns}
    if idle := [pattern for pattern, matches in matched.items() if not matches]:
        raise StarcliError(f"{source}: --ignore {idle[0]} matches no tensor", [f"there is {few(names, 20)}"])
    dropped = set[str]().union(*matched.values())
    return replace(found, tensors={name: value for name, value in found.tensors.items() if name not in dropped})


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern is that of a name, as it stands in the file or without the prefixes of WRAPPERS."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(bare_name(name), pattern)


def bare_name(name: str) -> str:
    """A name without the prefixes of WRAPPERS at its beginning."""
    while prefix := next((each for each in WRAPPERS if name.startswith(each)), None):
        name = name.removeprefix(prefix)
    return name


def without_wrappers(found: StateDict) -> StateDict:
    """A state dict without prefixes of WRAPPERS that all weights have, and then without counters of averages."""
    for _ in range(MOST_WRAPPERS):
        weights = [name for name in found.tensors if name not in _COUNTERS]
        prefix = next((each for each in WRAPPERS if weights and all(name.startswith(each) for name in weights)), None)
        if prefix is None:
            break
        counters = [name for name in found.tensors if name in _COUNTERS]
        note = (f"left out {few(counters, 4)}, which is no part of the network",) if counters else ()
        found = under_prefix(found, prefix, note)
    return found


def under_prefix(found: StateDict, prefix: str, notes: Sequence[str]) -> StateDict:
    """The tensors whose names begin with `prefix`, without it, and the versions of their modules, with more notes."""
    tensors = {name.removeprefix(prefix): each for name, each in found.tensors.items() if name.startswith(prefix)}
    versions = found.versions
    if isinstance(versions, Mapping):
        inside = {f"{name}.": each for name, each in versions.items()}
        versions = {name[len(prefix) : -1]: each for name, each in inside.items() if name.startswith(prefix)}
    return StateDict(tensors, versions, (*found.notes, *notes))


def convert_line(source: str, pick: Pick) -> str:
    """The line that makes a plain file of a part of another one."""
    name = source.rpartition("/")[2].partition(".")[0] or "new"
    output = f"{name}.plain.safetensors" if source.endswith(".safetensors") else f"{name}.safetensors"
    return f"starcli convert {shlex.quote(source)} {pick.options()} --plain -o {shlex.quote(output)}"
