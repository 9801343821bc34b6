"""Kinds as lines of a spec: the inverse of `read_spec`."""

from collections.abc import Iterator, Mapping, Sequence

from starcli.symmetry.archspec.expression import mark, references
from starcli.symmetry.archspec.render import KindLines
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import Spec
from starcli.symmetry.derive.to_yaml import folded_ways, to_yaml
from starcli.symmetry.kinds.group_kind import Exponents, Fold, GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.read_spec import ends_of_references, written_kinds
from starcli.symmetry.proof.places import GroupPlace, places

READ = -1
"""The exponent at what reads a scale, which `fold` need not say."""


def kinds_to_yaml(kinds: Kinds) -> str:
    """Write the spec of kinds, and what they are, where and how they act; `written_kinds` reads back the same."""

    def same_kinds(spec: Spec) -> bool:
        back = written_kinds(spec, kinds.whole)
        return back is None or back.acts_as(kinds)

    return to_yaml(kinds.whole, kind_lines(kinds), same_kinds)


def kind_lines(kinds: Kinds) -> KindLines:
    """Lines of a spec on kinds that are more than permutations."""
    at = places(kinds.spec)
    more = {name: kind for name, kind in kinds.groups.items() if kind.kind != "permutation"}
    groups = {name: _fields(kind, at[name]) for name, kind in more.items()}
    folds = [_fold(fold, at[name]) for name, kind in more.items() for fold in kind.folds]
    shown = {place: e for name, kind in more.items() for place, e in _shown(kind, at[name]).items()}
    plain = not folds and not any({"scales", "signs"} & each.keys() for each in groups.values())
    if plain and all(e == 1 for e in shown.values()):
        said = shown  # one that is not 1 would tell that all are said
    else:
        said = {place: e for place, e in shown.items() if e != 1}
    return KindLines(groups, _powers(kinds.whole, said, at), sorted(folds))


def _shown(kind: GroupKind, at: Sequence[GroupPlace]) -> dict[GroupPlace, int]:
    """The exponents at all places of a group that axes say; none where ways are listed instead."""
    if kind.kind in ("scaled", "signed") and not _everywhere(kind, at):
        return {}
    scales = {fold.scale for fold in kind.folds}
    return {place: kind.exponents.get(place, 0) for place in at if place not in scales}


def _everywhere(kind: GroupKind, at: Sequence[GroupPlace]) -> bool:
    """Whether scales act in one way, and at every place."""
    return kind.kind == "scaled" and len(kind.scalings) == 1 and len(kind.exponents) == len(at)


def _fields(kind: GroupKind, at: Sequence[GroupPlace]) -> dict[str, str]:
    """What the line of a group says of its kind."""
    listed = kind.kind != "invertible" and not _everywhere(kind, at)
    scales = [way for way in kind.scalings if way not in [fold.way for fold in kind.folds]] if listed else []
    return (
        {"kind": kind.kind}
        | ({"fixes": "ones"} if kind.fixes_ones else {})
        | ({"pairs": kind.pairs} if kind.pairs else {})
        | ({"scales": _ways(kind.group, scales, at)} if scales else {})
        | ({"signs": _ways(kind.group, kind.signs, at)} if kind.signs else {})
    )


def _ways(group: str, ways: Sequence[Exponents], at: Sequence[GroupPlace]) -> str:
    """Ways with ` | ` between them; those of layers that repeat as one with a pattern."""
    lines = [tuple(_items(way, at)) for way in ways]
    firsts = [first for first, *_ in lines]
    numbers = any(each.isdigit() for each in group)  # the names of several groups may become a pattern themselves
    if not numbers and len(set(firsts)) == len(firsts) and not any("/" in each or "^" in each for each in firsts):
        lines = folded_ways(lines)
    return " | ".join(" ".join(line) for line in lines)


def _items(way: Exponents, at: Sequence[GroupPlace], default: int = 1) -> Iterator[str]:
    """The names of a way, each with its exponent unless that is the default."""
    for tensor in dict.fromkeys(place.tensor for place in way):
        own = [place for place in at if place.tensor == tensor]
        yield from _places(tensor, own, way, default)


def _places(name: str, own: Sequence[GroupPlace], way: Exponents, default: int) -> Iterator[str]:
    """The names of some places of a tensor or module in a way: without axes or copies where all are alike."""
    if len({way.get(place) for place in own}) == 1:
        yield f"{name}{_power(way[own[0]], default)}"
        return
    for axis in sorted({place.axis for place in own}):
        there = sorted((place for place in own if place.axis == axis), key=lambda place: place.start)
        if len({way.get(place) for place in there}) == 1 and there[0] in way:
            yield f"{name}/{axis}{_power(way[there[0]], default)}"
            continue
        for k, place in enumerate(there):
            if place in way:
                yield f"{name}/{axis}/{k}{_power(way[place], default)}"


def _power(e: int, default: int) -> str:
    return "" if e == default else mark((e,))


def _fold(fold: Fold, at: Sequence[GroupPlace]) -> tuple[str, ...]:
    """A line of the section `fold`, by names of modules where these say the same."""
    module, _, last = fold.scale.tensor.rpartition(".")
    beside = {place for place in at if place.tensor.rpartition(".")[0] == module and place != fold.scale}
    whole = bool(module) and last == "weight" and all(fold.exponents.get(place) == 1 for place in beside)
    others = {place: e for place, e in fold.exponents.items() if not (whole and place in beside)}
    return (module if whole else fold.scale.tensor, *_readers(others, at))


def _readers(way: Exponents, at: Sequence[GroupPlace]) -> Iterator[str]:
    for module in dict.fromkeys(place.tensor.rpartition(".")[0] for place in way):
        own = [place for place in at if place.tensor.rpartition(".")[0] == module]
        if module and len({way.get(place) for place in own}) == 1:
            yield f"{module}{_power(way[own[0]], READ)}"
        else:
            yield from _items({p: e for p, e in way.items() if p.tensor.rpartition(".")[0] == module}, at, READ)


def _powers(
    resolved: Resolved, said: Mapping[GroupPlace, int], at: Mapping[str, Sequence[GroupPlace]]
) -> dict[tuple[str, int], list[tuple[int, ...]]]:
    """For each tensor and axis that has exponents to say those of each group there; tied tensors say the same."""
    found: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    every = {place for own in at.values() for place in own}
    for tensor, nodes in resolved.axes.items():
        first = resolved.names_of(tensor)[0]
        for axis, node in enumerate(nodes):
            ends = ends_of_references(node, resolved.sizes)
            marks = []
            for ref, starts in zip(references(node), ends, strict=True):
                own = [GroupPlace(first, axis, start, ref.name) for start in starts]
                powers = tuple(said.get(place, 1) for place in own)
                alike = powers[:1] if len(set(powers)) == 1 else powers
                marks.append(alike if every.issuperset(own) and any(place in said for place in own) else ())
            if any(marks):
                found[tensor, axis] = marks
    return found
