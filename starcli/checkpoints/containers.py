"""Finding the state dict in what training scripts save: beside optimizers, settings, counters and averaged weights."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from starcli.checkpoints.state_dict import Pick, StateDict, bare_name, convert_line, without_ignored
from starcli.errors import StarcliError, few, first_of, number_of, type_in_words
from starcli.files.pickled_values import Global, Skipped, skipped_in
from starcli.files.tensor_layout import DTYPES
from starcli.files.torch_tensors import StrangeTensor

USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "params", "weights")
"""Keys under which training scripts keep the weights."""

AVERAGED = re.compile(r"(^|[._\W])(ema|swa|averaged?|avg|shadow|polyak)([._\W]|$)", re.IGNORECASE)
"""Keys and prefixes of exponential and other averages of the weights."""

_BESIDE = re.compile(r"(^|[._\W])(optim\w*|opt|\w*sched\w*|\w*scaler|amp|callbacks?|loops?|\w*rng\w*)([._\W]|$)", re.I)
"""Keys of what is no state of a network though tensors lie in it: optimizers, schedules, scalers, generators."""

DEEPEST_KEY, LONGEST_PART = 4, 200
"""Deepest nesting in which a state dict is looked for, and longest name of what holds it."""


@dataclass(frozen=True)
class _Candidate:
    """A dictionary in a file with tensors under words, at `key`."""

    key: str
    content: Mapping[Any, Any] = field(repr=False)

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.content.items() if type(name) is str and isinstance(value, Tensor)}

    @property
    def averaged(self) -> bool:
        return bool(AVERAGED.search(self.key))

    @property
    def usual(self) -> bool:
        return all(word in USUAL for word in self.key.split("."))


def find_state_dict(content: object, source: str, pick: Pick) -> StateDict:
    """The state dict in the content of a file called `source`.

    Without a key it is what lies under the USUAL ones, the content itself, or the only dictionary with tensors; of
    averaged weights only where there are no others. Names stay as they stand there: only a network tells a prefix.
    StarcliError where none or several could be meant, with the keys.
    """
    candidates = list(_candidates(content))
    chosen, notes = _keyed(candidates, source, pick.key) if pick.key else _chosen(content, candidates, source)
    if strange := list(_strange(chosen.content)):
        raise StarcliError(f"{source}: tensors of kinds that a checkpoint cannot hold", strange)
    if len(chosen.tensors) < len(chosen.content):
        notes = (*notes, *_note_of_others(chosen))
    if beside := {place: kind for place, kind in skipped_in(content).items() if place not in ("", chosen.key)}:
        listed = few([f"{place} ({kind.removeprefix('builtins.')})" for place, kind in beside.items()], 6)
        notes = (*notes, f"skipped, for only tensors and plain data are read: {listed}")
    tensors = {name: value.detach() for name, value in chosen.tensors.items()}
    found = StateDict(tensors, getattr(chosen.content, "versions", None), notes)
    return without_ignored(found, source, pick.ignore)


def _strange(content: Mapping[Any, Any]) -> Iterator[str]:
    """Tensors that no safetensors file can hold, one line each: sparse, quantised, complex128, without data."""
    for name, value in content.items():
        if isinstance(value, StrangeTensor):
            yield f"{name}: {value.kind}"
        elif isinstance(value, Tensor) and str(value.dtype) not in DTYPES:
            yield f"{name}: {str(value.dtype).removeprefix('torch.')}"
        elif type(name) is str and re.search("[\ud800-\udfff]", name):
            yield f"{name}: its name is no text"


def _candidates(content: object) -> Iterator[_Candidate]:
    """All dictionaries with tensors under words, from the outside in; each object once."""
    seen = set[int]()
    level: list[tuple[str, Any]] = [("", content)] if isinstance(content, Mapping | list | tuple) else []
    for _ in range(DEEPEST_KEY + 1):
        below = []
        for key, each in level:
            if id(each) in seen:
                continue
            seen.add(id(each))
            named = dict(each) if _is_pairs(each) else each  # pairs as of `list(network.named_parameters())`
            if isinstance(named, Mapping) and "param_groups" in named:
                continue  # an optimizer's state, wherever it lies
            if isinstance(named, Mapping) and (found := _Candidate(key, named)).tensors:
                yield found
            children = named.items() if isinstance(named, Mapping) else enumerate(named)
            below += [
                (f"{key}.{name}".lstrip("."), child)
                for name, child in children
                if isinstance(child, Mapping | list | tuple)
                and type(name) in (str, int)
                and len(str(name)) <= LONGEST_PART
            ]
        level = below


def _is_pairs(value: object) -> bool:
    """Whether a list holds (name, tensor) pairs and nothing else."""
    return isinstance(value, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and type(pair[0]) is str and isinstance(pair[1], Tensor)
        for pair in value
    )


def _owners(key: str) -> Iterator[str]:
    """The keys of all that a key lies in: of `a.b.c` these are `a.b` and `a`."""
    while "." in key:
        key = key.rpartition(".")[0]
        yield key


def _chosen(content: object, candidates: Sequence[_Candidate], source: str) -> tuple[_Candidate, tuple[str, ...]]:
    """The state dict that is meant where no key is given, and notes on the choice."""
    networks = [each for each in candidates if not _BESIDE.search(each.key)]
    networks = [each for each in networks if any(tensor.ndim for tensor in each.tensors.values())] or networks
    raw = [each for each in networks if not each.averaged]
    averaged = [each for each in networks if each.averaged]
    meant = raw or averaged
    meant = [each for each in meant if each.key and each.usual] or [each for each in meant if not each.key] or meant
    there = {each.key for each in meant}
    meant = [each for each in meant if there.isdisjoint(_owners(each.key))]
    if not meant:
        raise _nothing(content, source)
    if len(meant) > 1:
        lines = [f"{each.key}: {number_of(len(each.tensors), 'tensor')}" for each in meant]
        line = convert_line(source, Pick(meant[0].key))
        raise StarcliError(
            f"{source}: several state dicts lie there; --key of starcli convert says which one is meant",
            [*first_of(lines, 10), f"the first one: {line}"],
        )
    [found] = meant
    if found.averaged:
        return found, (f"holds averaged weights alone, {found.key}, which are taken",)
    if averaged:
        taken = found.key or "the weights outside them"
        return found, (f"takes {taken}; {averaged_too([each.key for each in averaged])}",)
    if others := [each.key for each in raw if each is not found and _same_names(each, found)]:
        taken = found.key or "the weights outside these"
        return found, (f"takes {taken}; tensors of the same names lie there too: {_chosen_by(others)}",)
    return found, ()


def _same_names(one: _Candidate, other: _Candidate) -> bool:
    """Whether two have tensors of the same names, whatever wrappers these were saved in."""
    first, second = ({bare_name(name) for name in each.tensors} for each in (one, other))
    return first == second


def averaged_too(keys: Sequence[str]) -> str:
    """The end of a note on averaged weights under `keys`, which are not those that are taken."""
    return f"averaged weights lie there too: {_chosen_by(keys)}"


def _chosen_by(keys: Sequence[str]) -> str:
    """What to type for the weights under one of `keys`."""
    return f"{' or '.join(f'--key {shlex.quote(key)}' for key in keys[:3])} of starcli convert chooses them"


def _nothing(content: object, source: str) -> StarcliError:
    """The error for a file in which no state dict lies."""
    skipped = skipped_in(content)
    arrays = [place for place, kind in skipped.items() if kind == "numpy.ndarray" and place]
    objects = {place: kind for place, kind in skipped.items() if "." not in place and place not in set(arrays)}
    if isinstance(content, Skipped):
        kind = "a function" if isinstance(content, Global) else f"a whole {content.kind.rpartition('.')[2]}"
        return StarcliError(
            f"{source}: holds {kind}, no state dict; an object needs the code of its class, which is not run",
            ["where that code is: torch.save(torch.load(FILE, weights_only=False).state_dict(), NEW)"],
        )
    found = few(list(map(str, content)), 8) if isinstance(content, Mapping) else type_in_words(content)
    lines = [f"found {found[:200] or 'nothing'}; looked for {', '.join(USUAL)}"]
    if arrays:
        lines.append(f"NumPy arrays are no tensors: {few(arrays, 6)}")
        lines.append("save them as tensors: torch.save({name: torch.as_tensor(array) for name, array in ...}, NEW)")
    if objects:
        listed = few([f"{place} ({kind})" for place, kind in objects.items()], 6)
        lines.append(f"objects need the code of their class, which is not run: {listed}")
        lines.append("where that code is, save the state dict alone: torch.save(network.state_dict(), FILE)")
    return StarcliError(f"{source}: no state dict in it", lines)


def _keyed(candidates: Sequence[_Candidate], source: str, key: str) -> tuple[_Candidate, tuple[str, ...]]:
    """The state dict under a key, or in one the tensors whose names begin with what the key ends with."""
    for each in candidates:
        if each.key == key:
            return each, ()
    for each in reversed(candidates):
        prefix = f"{key}." if not each.key else f"{key.removeprefix(f'{each.key}.')}."
        bare = {bare_name(name): value for name, value in each.tensors.items()}
        both = {**bare, **each.tensors}  # a key may be said with the prefixes of WRAPPERS or without
        inside = {name.removeprefix(prefix): value for name, value in both.items() if name.startswith(prefix)}
        if inside and (not each.key or each.usual or key.startswith(f"{each.key}.")):
            return _Candidate(key, inside), ()
    keys = [each.key for each in candidates if each.key]
    names = [bare_name(name) for each in candidates if each.usual or not each.key for name in each.tensors]
    owners = {name.partition(".")[0] for name in names}
    there = [f"there is {few(keys, 20)}"] if keys else []
    if owners:
        there.append(f"names begin with {few(sorted(owners), 20)}")
    raise StarcliError(f"{source}: no tensors under {key!r}", there)


def _note_of_others(chosen: _Candidate) -> tuple[str, ...]:
    """A note on what lies among the tensors and is none; dictionaries there have notes of their own."""
    others = {
        str(name): type(value).__name__
        for name, value in chosen.content.items()
        if not (isinstance(value, Tensor) and type(name) is str)
        and not isinstance(value, Mapping | Skipped | StrangeTensor)
    }
    listed = few([f"{name:.60} ({kind})" for name, kind in others.items()], 8)
    return (f"left out what is no tensor: {listed}",) if others else ()
