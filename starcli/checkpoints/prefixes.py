"""The prefix under which a network's names lie in a state dict of a trainer, an average or a compiled network."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from itertools import islice

from starcli.checkpoints.containers import AVERAGED, averaged_too
from starcli.checkpoints.state_dict import WRAPPERS, Pick, StateDict, convert_line, under_prefix
from starcli.errors import StarcliError, few

MOST_PARTS = 32
"""Largest number of parts of a prefix."""

_INNER = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")

NetworkNames = Sequence[Set[str]]
"""What a state dict of a network must have: for each tensor its names, of which one is enough (tied ones have more)."""


def named_as(found: StateDict, names: NetworkNames, source: str) -> StateDict:
    """The tensors as a network names them: without the one prefix under which its `names` are complete.

    Names outside this prefix (`criterion.weight` beside `model.*`) belong to something else, and are left out with a
    note. Where the network's names are complete without a prefix, nothing is left out but averages of all of them.
    Where they are complete nowhere, the prefix with most of them is left out from its names, so that what is reported
    as missing is little. Averaged weights are taken only where there are no others. StarcliError where several
    prefixes could be meant.
    """
    complete, nearest = _prefixes(found, names)
    if not complete and (bare := _without_inner_wrappers(found)).tensors.keys() != found.tensors.keys():
        found = bare
        complete, nearest = _prefixes(found, names)
    if not complete:
        return _without(found, nearest) if nearest else _within_wrapper(found, names)
    raw = [prefix for prefix in complete if not AVERAGED.search(prefix.removesuffix("."))]
    chosen = "" if "" in raw else _only(raw or complete, source)
    inside = [prefix for prefix in complete if prefix != chosen and prefix.startswith(chosen)] if chosen == "" else []
    outside = [
        name
        for name in found.tensors
        if not name.startswith(chosen) or any(name.startswith(prefix) for prefix in inside if prefix not in raw)
    ]
    kept = replace(found, tensors={name: each for name, each in found.tensors.items() if name not in set(outside)})
    return under_prefix(kept, chosen, _notes(chosen, complete, raw, outside))


def patterns_of(names: Sequence[str], kept: Sequence[str]) -> list[str]:
    """Patterns that match `names` and none of `kept`.

    >>> patterns_of(["criterion.weight", "criterion.bias", "step"], ["model.weight"])
    ['criterion.*', 'step']
    """
    owners = {name.partition(".")[0] for name in kept}
    parts = [(name, name.partition(".")[0]) for name in names]
    return list(dict.fromkeys(f"{owner}.*" if owner not in (name, *owners) else name for name, owner in parts))


def _prefixes(found: StateDict, names: NetworkNames) -> tuple[list[str], str]:
    """The prefixes under which `names` are complete, and the one with most of them (the shortest of several)."""
    tensors = {name: number for number, group in enumerate(names) for name in group}
    having = dict[str, set[int]]()
    for name in found.tensors:
        begins = [0, *(dot.end() for dot in islice(re.finditer(r"\.", name), MOST_PARTS))]
        for begin in begins:
            if name[begin:] in tensors:
                having.setdefault(name[:begin], set()).add(tensors[name[begin:]])
    counts = Counter({prefix: len(numbers) for prefix, numbers in having.items()})
    complete = [prefix for prefix, count in counts.items() if count == len(names)]
    return complete, min(counts, key=lambda prefix: (-counts[prefix], len(prefix)), default="")


def _without(found: StateDict, prefix: str) -> StateDict:
    """All tensors of a state dict, `prefix` left out of the names that begin with it."""
    bare = under_prefix(found, prefix, ())
    others = {name: each for name, each in found.tensors.items() if not name.startswith(prefix)}
    return replace(bare, tensors={**others, **bare.tensors})


def _without_inner_wrappers(found: StateDict) -> StateDict:
    """A state dict without what torch.compile, FSDP and activation checkpointing put into names, also in the middle."""
    tensors = {_INNER.sub("", name): each for name, each in found.tensors.items()}
    versions = found.versions
    if isinstance(versions, Mapping):
        versions = {_INNER.sub("", f"{name}.").removesuffix("."): each for name, each in versions.items()}
    return replace(found, tensors=tensors, versions=versions) if len(tensors) == len(found.tensors) else found


def _within_wrapper(found: StateDict, names: NetworkNames) -> StateDict:
    """A state dict with a prefix of WRAPPERS put back, which is the network's own and was taken for a trainer's."""
    owner = next(
        (each for each in WRAPPERS if names and all(name.startswith(each) for group in names for name in group)), ""
    )
    tensors = {f"{owner}{name}": each for name, each in found.tensors.items()}
    return replace(found, tensors=tensors) if owner and _prefixes(replace(found, tensors=tensors), names)[0] else found


def _only(prefixes: Sequence[str], source: str) -> str:
    """The one prefix; StarcliError where there are several."""
    if len(prefixes) == 1:
        return prefixes[0]
    keys = [prefix.removesuffix(".") for prefix in prefixes]
    line = convert_line(source, Pick(keys[0]))
    raise StarcliError(
        f"{source}: several networks lie there",
        [
            f"all names lie there several times, under {few(keys, 10)}; --key of starcli convert says which are meant",
            f"the first: {line}",
        ],
    )


def _notes(chosen: str, complete: Sequence[str], raw: Sequence[str], outside: Sequence[str]) -> list[str]:
    """What was left out, and where else the network's weights lie."""
    averaged = [prefix.removesuffix(".") for prefix in complete if prefix not in raw]
    notes = []
    if not raw:
        notes.append(f"holds averaged weights alone, {chosen}*, which are taken")
    elif averaged:
        taken = f"{chosen}*" if chosen else "the names without a prefix"
        notes.append(f"takes {taken}; {averaged_too(averaged)}")
    others = [name for name in outside if not any(name.startswith(f"{prefix}.") for prefix in averaged)]
    if others:
        notes.append(f"left out what lies outside the network, {chosen}*: {few(others, 6)}")
    elif chosen and raw and not averaged:
        notes.append(f"all names begin with {chosen}, which is left out")
    return notes
