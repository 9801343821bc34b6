"""Elements of the whole symmetry group of a network: permutations of units, and what else acts on them.

An element acts on a model as, one after the other: the permutation; a matrix g for every group that rotates or is
acted on by invertible matrices; positive scales, one for each way in which they act on a group; signs likewise.
Rotations of a stream whose norms have scales gamma act between them: as D g D^-1, where D holds the model's gamma
before and the one of the result after. The shifts of these norms go into the biases behind them before, and come out
of them after, where they can. The function that a network computes is the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from starcli.errors import StarcliError, few
from starcli.symmetry.archspec.stacked import unstacked
from starcli.symmetry.element_checks import element_problems
from starcli.symmetry.kinds.elements import (
    Acts,
    acted,
    conjugated,
    matrix_acts,
    random_matrix,
    random_signs,
)
from starcli.symmetry.kinds.group_kind import Fold, GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.kinds.member_scales import member_scales, moved_scales
from starcli.symmetry.kinds.shifts import moved_shifts
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.proof.places import GroupPlace

MILD = 2.0
"""Largest scale and singular value of a random element, and one over the smallest: float32 weights bear that."""
PARTS = ("matrix", "scales", "signs", "frame", "before")
"""What a file holds besides permutations, under names `PART:GROUP` or `PART:TENSOR`."""


@dataclass(frozen=True, eq=False, repr=False)
class Element:
    """One element of the group that `kinds` describes.

    permutation: of units, by group.
    matrices: of groups of kind orthogonal, complex or invertible, by name, float64 (parents..., n, n): g of every new
        unit's combination of units around it. A group without one is left alone.
    scales: positive, by group, (ways, parents..., n), one for each of `GroupKind.scalings`: of groups without a matrix.
    signs: 1 or -1, by group, (ways, parents..., n), one for each of `GroupKind.signs`.
    frame: values of kept scales and shifts (`Kinds.kept`), by tensor, that the result has but for signs; others stay as
        they are.
    before: what these were, so that the element has an inverse.

    >>> import starcli as sc
    >>> network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> kinds = sc.derive_kinds(network, (torch.zeros(2, 4),))
    >>> element = Element.random(kinds, torch.Generator().manual_seed(0))
    >>> sorted(element.to_tensors())
    ['scales:units.0', 'units.0']
    >>> x, weights = torch.randn(5, 4), element.apply(network.state_dict())
    >>> bool(torch.allclose(torch.func.functional_call(network, weights, x), network(x), atol=1e-5))
    True
    >>> element.compose(element.inverse()).is_identity(tolerance=1e-12)
    True
    """

    kinds: Kinds
    permutation: Permutation
    matrices: Mapping[str, Tensor] = field(default_factory=dict)
    scales: Mapping[str, Tensor] = field(default_factory=dict)
    signs: Mapping[str, Tensor] = field(default_factory=dict)
    frame: Mapping[str, Tensor] = field(default_factory=dict)
    before: Mapping[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        """The permutation, and the groups of all else, in one line."""
        others = {"matrices": self.matrices, "scales": self.scales, "signs": self.signs}
        found = "".join(f", {name} of {few([*each], 3)}" for name, each in others.items() if each)
        return f"Element({self.permutation!r}{found})"

    @classmethod
    def of(cls, kinds: Kinds, permutation: Permutation) -> "Element":
        """A permutation of the same groups, as an element."""
        still = Permutation.identity(kinds.spec).index  # of what does not change places
        return cls(kinds, Permutation(kinds.spec, {**still, **permutation.index}))

    @classmethod
    def identity(cls, kinds: Kinds) -> "Element":
        """The element that does nothing."""
        return cls(kinds, Permutation.identity(kinds.spec))

    @classmethod
    def random(cls, kinds: Kinds, generator: torch.Generator) -> "Element":
        """An element drawn from all of the group: scales and singular values between 1 / MILD and MILD."""

        def mild(*shape: int) -> Tensor:
            return MILD ** (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)

        matrices, scales, signs = {}, {}, {}
        for name, kind in kinds.groups.items():
            shape = kinds.spec.index_shape(name)
            if kind.by_matrix:
                matrices[name] = random_matrix(kind, shape, generator, wide=1.0)
            elif kind.scalings:
                scales[name] = mild(len(kind.scalings), *shape)
            if kind.signs:
                signs[name] = torch.stack([random_signs(shape, generator) for _ in kind.signs])
        permutation = cls.of(kinds, Permutation.random(kinds.permuted, generator)).permutation
        return cls(kinds, permutation, matrices, scales, signs)

    @classmethod
    def from_tensors(cls, kinds: Kinds, tensors: Mapping[str, Tensor]) -> "Element":
        """The element that the tensors of a file hold; a file of permutations alone is one.

        StarcliError lists what does not belong to these kinds.
        """
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in PARTS}
        index = {}
        for name, tensor in tensors.items():
            part, colon, rest = name.partition(":")
            if colon and part in parts and name not in kinds.spec.groups:
                parts[part][rest] = tensor
            else:
                index[name] = tensor
        permutation = cls.of(kinds, Permutation.from_tensors(kinds.permuted, index)).permutation
        if problems := list(element_problems(kinds, parts)):
            raise StarcliError("these tensors are no element of the network's symmetries", problems)
        matrices, scales, signs, frame, before = (parts[name] for name in PARTS)
        return cls(kinds, permutation, matrices, scales, signs, frame, before)

    def to_tensors(self) -> dict[str, Tensor]:
        """The tensors of a file: the permutations under the names of their groups, all else with its part before."""
        parts = (self.matrices, self.scales, self.signs, self.frame, self.before)
        return {name: self.permutation.index[name] for name in self.kinds.permuted.groups} | {
            f"{part}:{name}": tensor for part, each in zip(PARTS, parts, strict=True) for name, tensor in each.items()
        }

    def is_identity(self, tolerance: float = 0.0) -> bool:
        """Whether nothing moves, but for `tolerance` in any entry."""

        def off(tensor: Tensor, still: Tensor) -> bool:
            return bool(((tensor - still).abs() > tolerance).any())

        return (
            self.permutation.is_identity()
            and not any(off(g, torch.eye(g.shape[-1], dtype=g.dtype)) for g in self.matrices.values())
            and not any(off(each, torch.ones_like(each)) for each in (*self.scales.values(), *self.signs.values()))
            and not any(name not in self.before or off(to, self.before[name]) for name, to in self.frame.items())
        )

    def inverse(self) -> "Element":
        """The element that undoes this one."""
        back = self.permutation.inverse()
        return Element(
            self.kinds,
            back,
            {name: _moved_matrix(back, name, torch.linalg.inv(g)) for name, g in self.matrices.items()},
            {name: _moved(back, name, 1 / scales) for name, scales in self.scales.items()},
            {name: _moved(back, name, signs) for name, signs in self.signs.items()},
            back.apply(self._signed(self.permutation.apply(self.before))),
            self._signed(self.frame),
        )

    def compose(self, then: "Element") -> "Element":
        """This element first, `then` after it. StarcliError where the two belong to different networks."""
        by, back = then.permutation, self.permutation.inverse()
        matrices = {name: _moved_matrix(by, name, g) for name, g in self.matrices.items()}
        scales = {name: _moved(by, name, each) for name, each in self.scales.items()}
        signs = {name: _moved(by, name, each) for name, each in self.signs.items()}
        first = Element(self.kinds, Permutation.identity(self.kinds.spec), signs=signs)
        seen = {name: tensor for name, tensor in then.before.items() if name not in self.frame}
        return Element(
            self.kinds,
            self.permutation.compose(by),
            matrices | {name: g @ matrices[name] if name in matrices else g for name, g in then.matrices.items()},
            _products(scales, then.scales),
            _products(signs, then.signs),
            by.apply(self.frame) | first._signed(then.frame),
            back.apply(self._signed(seen)) | dict(self.before),
        )

    def _signed(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Kept scales with the signs of this element."""
        acts = {place: act for place, act in self._diagonals().items() if place.tensor in kept}
        return {**kept, **acted(self.kinds.spec, kept, acts)}

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors after this element has acted: those that nothing touches as they are, others new ones.

        In float64, rounded to the type of each tensor. All parameters of the network are needed where something
        rotates. StarcliError where the tensors do not fit, and where a scale that a rotation has to pass is 0.
        """
        spec, seen = self.kinds.spec, self.kinds.spec.seen(tensors)
        permuted = self.permutation.apply(seen)
        turned = [kind for kind in self.kinds.groups.values() if self._turns(kind)]
        folds = [fold for kind in turned for fold in kind.folds if fold.biases]
        listed = member_scales(spec, (fold for kind in turned for fold in kind.folds))
        kept = self._signed({name: self.frame.get(name, permuted[name]) for kind in turned for name in kind.kept})
        out = moved_shifts(spec, permuted, folds)
        out |= moved_scales(spec, {**permuted, **out}, listed)
        folded = {**permuted, **out}
        acts: dict[GroupPlace, Tensor] = {}
        for kind in turned:
            acts |= self._rotation(kind, folded)
        acts |= {place: _times(act, acts.get(place)) for place, act in self._diagonals().items()}
        moved = acted(spec, folded, acts)
        scaled = moved_scales(spec, {**folded, **moved}, listed, kept)
        _check_passed(listed, ", ".join({fold.scale.group for fold in listed}), scaled.items())
        moved |= scaled
        back = moved_shifts(spec, {**folded, **moved}, folds, kept)
        under = dict(spec.under_all_names({**out, **moved, **kept, **back}))
        made = {name: under[name].to(tensor.dtype) if name in under else tensor for name, tensor in permuted.items()}
        named = made if seen is tensors else unstacked(made, seen.keys() - tensors.keys())
        return {name: named[name] for name in tensors}

    def _turns(self, kind: GroupKind) -> bool:
        """Whether something rotates, or changes what rotations keep."""
        return kind.group in self.matrices or any(name in self.frame for name in kind.kept)

    def _diagonals(self) -> dict[GroupPlace, Tensor]:
        """The scales and signs at each place, (parents..., n)."""
        acts: dict[GroupPlace, Tensor] = {}
        for name, kind in self.kinds.groups.items():
            for ways, factors in ((kind.scalings, self.scales.get(name)), (kind.signs, self.signs.get(name))):
                for way, factor in zip(ways, [] if factors is None else factors, strict=factors is not None):
                    for place, e in way.items():
                        acts[place] = _times(factor**e, acts.get(place))
        return acts

    def _rotation(self, kind: GroupKind, tensors: Mapping[str, Tensor]) -> Acts:
        """What the matrix of a group does at each place of the permuted tensors, from their kept scales to others."""
        spec, g = self.kinds.spec, self.matrices.get(kind.group)
        at = {place: e for place, e in kind.exponents.items() if place.tensor not in kind.kept}
        before = conjugated(spec, tensors, at, kind.folds)
        after = conjugated(spec, {**tensors, **self.frame}, at, kind.folds)
        acts = {place: after[place] / before[place] for place in at} if g is None else matrix_acts(g, at, before, after)
        _check_passed(kind.folds, kind.group, ((place.tensor, act) for place, act in acts.items()))
        return acts


def _check_passed(folds: Sequence[Fold], group: str, made: Iterable[tuple[str, Tensor]]) -> None:
    """Raise StarcliError where a rotation had to pass a scale of 0, and left no numbers."""
    if bad := sorted({name for name, tensor in made if not bool(tensor.isfinite().all())}):
        scales = ", ".join(fold.scale.tensor for fold in folds)
        raise StarcliError(f"group {group} cannot rotate: a scale of {scales} is 0", bad)


def _moved(by: Permutation, group: str, factors: Tensor) -> Tensor:
    """Factors (ways, parents..., n) of the units of a group, in their new order."""
    around, index = by.sources(group), by.index[group]
    return torch.stack([each[around].gather(-1, index) for each in factors])


def _moved_matrix(by: Permutation, group: str, g: Tensor) -> Tensor:
    """P g P^-1: a matrix (parents..., n, n) among the units of a group, in their new order."""
    around, index = by.sources(group), by.index[group]
    rows = g[around].gather(-2, index.unsqueeze(-1).expand(g.shape))
    return rows.gather(-1, index.unsqueeze(-2).expand(g.shape))


def _products(first: Mapping[str, Tensor], then: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Factors of either, multiplied where both have some."""
    return {**first, **{name: each * first[name] if name in first else each for name, each in then.items()}}


def _times(factor: Tensor, act: Tensor | None) -> Tensor:
    """A diagonal (parents..., n), behind what acts already: a diagonal, or a matrix."""
    if act is None:
        return factor
    return factor * act if act.dim() == factor.dim() else factor.unsqueeze(-1) * act
