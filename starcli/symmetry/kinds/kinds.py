"""The kinds of all groups of a spec, and their JSON form."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictBool, StrictInt, StrictStr, ValidationError

from starcli.errors import StarcliError, few, wrong_fields
from starcli.files.cache import hash_json
from starcli.symmetry.archspec.held import held
from starcli.symmetry.archspec.kind_names import KindName, PairLayout
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.validate import resolved_from_json
from starcli.symmetry.kinds.copies import written_out
from starcli.symmetry.kinds.group_kind import Exponents, Fold, GroupKind
from starcli.symmetry.kinds.shifts import with_named_biases
from starcli.symmetry.proof.places import GroupPlace, places


@dataclass(frozen=True, repr=False)
class Kinds:
    """The kind of each group of a spec, and the largest change of an output under the elements that proved them.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = resolve_spec(parse("{format: 1, tensors: {w1: [h], w2: [_, h]}}"), {"w1": (3, 2), "w2": (1, 3)})
    >>> kinds = Kinds.permutations(spec)
    >>> kinds.groups["h"].kind, kinds.continuous_dimension, kinds_from_json(kinds.to_json()) == kinds
    ('permutation', 0, True)
    """

    whole: Resolved
    """The spec, with groups of kind complex besides those of units that change places."""
    groups: Mapping[str, GroupKind]
    worst_difference: float
    notes: tuple[str, ...] = ()
    """Why kinds were not looked for, where they were not."""

    def __repr__(self) -> str:
        """The kind of each group, in one line."""
        found = few([f"{name}: {each.kind}" for name, each in self.groups.items()], 10)
        return f"Kinds({found}; continuous dimension {self.continuous_dimension})"

    @classmethod
    def permutations(cls, spec: Resolved, *notes: str) -> "Kinds":
        """Permutations alone, of every group of a spec."""
        return cls(spec, {name: GroupKind(name) for name in spec.groups}, 0.0, notes)

    @cached_property
    def spec(self) -> Resolved:
        """The whole spec with copies of units written out (see `copies`), to which places refer."""
        return written_out(self.whole)

    @cached_property
    def permuted(self) -> Resolved:
        """The same with those groups alone whose units change places."""
        still = [name for name, kind in self.groups.items() if kind.kind == "complex"]
        return held(self.spec, still)

    @property
    def only_permutations(self) -> bool:
        """Whether nothing else acts on the units of any group."""
        return all(each.kind == "permutation" for each in self.groups.values())

    @property
    def continuous_dimension(self) -> int:
        """Dimension of the continuous part of all groups together (see `GroupKind.dimension`)."""
        return sum(kind.dimension(self.spec) for kind in self.groups.values())

    def acts_as(self, other: "Kinds") -> bool:
        """Whether the same acts at the same places, in whatever order, by g or its inverse."""
        return self.spec == other.spec and all(
            _does(kind, any_order=True) == _does(other.groups[name], any_order=True)
            for name, kind in self.groups.items()
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of what acts where, the ways of each group in their order: what the factors of an element refer to."""
        return hash_json([self.spec.to_json(), {name: _does(kind) for name, kind in self.groups.items()}])

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the tensors that rotations leave as they are (see `GroupKind.kept`)."""
        return tuple(name for kind in self.groups.values() for name in kind.kept)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; `kinds_from_json` reads them back.

        {"spec": ..., "groups": {"h": {"kind": "scaled", "exponents": [["fc.weight", 0, 0, 1], ...], ...}},
         "worst_difference": 1e-15}; a place is its tensor, axis and start, and its exponent stands behind it.
        """
        return {
            "spec": self.whole.to_json(),
            "groups": {name: _plain(kind) for name, kind in self.groups.items()},
            "worst_difference": self.worst_difference,
            "notes": list(self.notes),
        }


_PlaceJson = tuple[StrictStr, StrictInt, StrictInt]
_PowerJson = tuple[StrictStr, StrictInt, StrictInt, StrictInt]


def _oriented(way: Exponents) -> Exponents:
    """The way or its inverse: that of which the exponent at the first place, by name, is positive."""
    first = min(way, key=lambda place: (place.tensor, place.axis, place.start), default=None)
    return way if first is None or way[first] > 0 else {place: -e for place, e in way.items()}


class _FoldJson(BaseModel):
    model_config = ConfigDict(extra="forbid")
    scale: _PlaceJson
    exponents: list[_PowerJson]
    biases: dict[StrictStr, StrictStr] = {}


class _KindJson(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: KindName = "permutation"
    exponents: list[_PowerJson] = []
    fixes_ones: StrictBool = False
    folds: list[_FoldJson] = []
    scalings: list[list[_PowerJson]] = []
    signs: list[list[_PowerJson]] = []
    larger: dict[KindName, StrictStr] = {}
    pairs: PairLayout | None = None


class _KindsJson(BaseModel):
    model_config = ConfigDict(extra="forbid")
    spec: dict[str, Any]
    groups: dict[StrictStr, _KindJson]
    worst_difference: float
    notes: list[StrictStr] = []


def kinds_from_json(value: object) -> Kinds:
    """Inverse of `Kinds.to_json`. StarcliError where the input, which may come from anywhere, is no such record."""
    try:
        read = _KindsJson.model_validate(value)
    except ValidationError as error:
        raise StarcliError("this is no record of kinds", wrong_fields(error)) from None
    whole = resolved_from_json(read.spec)
    spec = written_out(whole)
    kinds = {name: _group_kind(name, each) for name, each in read.groups.items()}
    known = places(spec)
    problems = [f"group {name}: there is no such group in the spec" for name in kinds if name not in known]
    problems += [f"group {name}: missing" for name in known if name not in kinds]
    problems += [
        f"group {name}: complex numbers act on pairs of units, and no other kind does"
        for name in kinds.keys() & known.keys()
        if (kinds[name].kind == "complex") != (kinds[name].pairs is not None)
        or (kinds[name].pairs and spec.groups[name].size % 2)
    ]
    problems += [
        f"group {name}: does not stand on axis {place.axis} of {place.tensor} from {place.start} on"
        for name in kinds.keys() & known.keys()
        for place in kinds[name].at
        if place not in known[name]
    ]
    problems = problems or [
        f"group {name}: {', '.join(fold.biases.values())}: not the biases of what reads {fold.scale.tensor}"
        for name, kind in kinds.items()
        for fold, named in zip(kind.folds, with_named_biases(spec, kind).folds, strict=True)
        if fold.biases not in ({}, named.biases)
    ]
    if problems:
        raise StarcliError("this is no record of kinds", problems[:20])
    return Kinds(whole, {name: kinds[name] for name in spec.groups}, read.worst_difference, tuple(read.notes))


def _plain(kind: GroupKind) -> dict[str, Any]:
    """A kind as plain values, without what is as in permutations."""
    made: dict[str, Any] = {
        "kind": kind.kind,
        "exponents": _powers(kind.exponents),
        "fixes_ones": kind.fixes_ones,
        "folds": [_plain_fold(fold) for fold in kind.folds],
        "scalings": [_powers(way) for way in kind.scalings],
        "signs": [_powers(way) for way in kind.signs],
        "larger": dict(kind.larger),
        "pairs": kind.pairs,
    }
    return {key: value for key, value in made.items() if value}


def _does(kind: GroupKind, *, any_order: bool = False) -> list[Any]:
    """What a kind does, as plain values; all but the ways in an order of its own.

    With `any_order` these too, and each as itself or its inverse.
    """
    matrix = {} if kind.kind in ("scaled", "signed") else kind.exponents  # of these a way
    folds = sorted([_place(f.scale), sorted(_powers(f.exponents)), sorted(f.biases.items())] for f in kind.folds)
    sets = ([matrix], kind.scalings, kind.signs)
    ways = [[sorted(_powers(_oriented(way) if any_order else way)) for way in each] for each in sets]
    ways = [sorted(each) for each in ways] if any_order else ways
    return [kind.kind, kind.fixes_ones, folds, *ways, *([kind.pairs] if kind.pairs else [])]


def _plain_fold(fold: Fold) -> dict[str, Any]:
    made: dict[str, Any] = {"scale": _place(fold.scale), "exponents": _powers(fold.exponents)}
    return made | ({"biases": dict(fold.biases)} if fold.biases else {})


def _powers(exponents: Exponents) -> list[list[Any]]:
    return [[*_place(place), e] for place, e in exponents.items()]


def _place(place: GroupPlace) -> list[Any]:
    return [place.tensor, place.axis, place.start]


def _group_kind(name: str, read: _KindJson) -> GroupKind:
    def exponents(powers: list[_PowerJson]) -> dict[GroupPlace, int]:
        return {GroupPlace(tensor, axis, start, name): e for tensor, axis, start, e in powers}

    return GroupKind(
        name,
        read.kind,
        exponents(read.exponents),
        read.fixes_ones,
        tuple(Fold(GroupPlace(*fold.scale, name), exponents(fold.exponents), fold.biases) for fold in read.folds),
        tuple(map(exponents, read.scalings)),
        tuple(map(exponents, read.signs)),
        read.larger,
        read.pairs,
    )
