"""The continuous part of a network's symmetries, scales and matrices, learned by gradients, of all groups at once."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.alignment.learned.falling_adam import FallingAdam
from starcli.alignment.learned.moving_factors import ComplexNumbers, Factor, Invertible, Rotations
from starcli.alignment.learned.moving_scales import MovingScales
from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derivatives import unit_views
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.permutation import Permutation


class ContinuousMotion:
    """Factors of all groups that have continuous ones, acting on a network's learnable parameters as a vector (P,).

    They follow gradients by Adam, its rate a cosine. Between normal forms, where norms' scales are 1.
    """

    def __init__(self, kinds: Kinds, *, steps: int, rate: float, device: torch.device) -> None:
        """Factors that do nothing yet; `steps` steps are to be taken."""
        self._kinds, self.layout = kinds, ParameterLayout(kinds.spec)
        entries = self.layout.views(torch.arange(self.layout.size))
        self._scales = MovingScales(kinds, self.layout, device)
        self._factors = [_factor(found, device) for found in _alike(kinds, entries)]
        self._parts: list[MovingScales | Factor] = [self._scales, *self._factors]
        sizes = [part.coordinates.numel() for part in self._parts]
        self._coordinates = torch.zeros(sum(sizes), device=device)
        for part, own in zip(self._parts, torch.split(self._coordinates, sizes), strict=True):
            part.coordinates = own.view(part.coordinates.shape)
        self._optimizer = FallingAdam([self._coordinates], rate, steps=steps)

    def act(self, weights: Tensor, *, adjoint: bool = False) -> Tensor:
        """The weights (P,) after all factors have acted; `adjoint`: gradients by them, of gradients by the result."""
        made = weights * self._scales.by_entry
        for factor in self._factors:
            factor.act_(made, adjoint=adjoint)
        return made

    def follow(self, weights: Tensor, gradients: Tensor) -> None:
        """Take a step down the gradients (P,) of a loss by the `weights` (P,) after all factors have acted."""
        slopes = [part.derivative(weights, gradients).reshape(-1) for part in self._parts]
        self._optimizer.step([torch.cat(slopes)])
        for part in self._parts:
            part.move()

    def state(self) -> dict[str, Tensor]:
        """Copies of the optimiser's state."""
        return self._optimizer.state()

    def resume(self, done: int, state: Mapping[str, Tensor]) -> None:
        """Go on after `done` steps from a `state`."""
        self._optimizer.resume(done, state)

    def place(self, element: Element) -> None:
        """Go on from the factors of an element."""
        self._scales.place(element.scales)
        for factor in self._factors:
            factor.place(element.matrices)

    def element(self, permutation: Permutation) -> Element:
        """The element that permutes first, then acts by these factors."""
        matrices = dict[str, Tensor]()
        for factor in self._factors:
            for group, found in factor.by_group(factor.exact()).items():
                matrices[group] = found.view(*self._kinds.spec.index_shape(group), found.shape[-1])
        return Element(self._kinds, permutation, matrices, self._scales.exact())


@dataclass
class _Matrices:
    """Where the matrices of a group act, or of several groups of one kind that can move together.

    places: by exponent the positions (parents, n, rest) in a vector of all weights.
    """

    kind: GroupKind
    groups: dict[str, int]
    places: dict[int, Tensor]

    def joined(self, other: "_Matrices") -> "_Matrices | None":
        """Both together; None where their matrices are not alike, or act on the same weights."""
        how = [(k.kind, k.fixes_ones, k.pairs) for k in (self.kind, other.kind)]
        sizes = [{e: at.shape[1:] for e, at in each.places.items()} for each in (self, other)]
        if how[0] != how[1] or sizes[0] != sizes[1]:
            return None
        places = {exponent: torch.cat([at, other.places[exponent]]) for exponent, at in self.places.items()}
        if any(int(torch.bincount(at.reshape(-1)).max()) > 1 for at in places.values()):
            return None
        return _Matrices(self.kind, self.groups | other.groups, places)


def _alike(kinds: Kinds, entries: Mapping[str, Tensor]) -> list[_Matrices]:
    """The matrices of all groups, as many groups together as can be; `entries` are the weights' positions."""
    found: list[_Matrices] = []
    for kind in kinds.groups.values():
        if not kind.by_matrix:
            continue
        own = _matrices(kinds, kind, entries)
        for number, other in enumerate(found):
            if (joined := other.joined(own)) is not None:
                found[number] = joined
                break
        else:
            found.append(own)
    return found


def _matrices(kinds: Kinds, kind: GroupKind, entries: Mapping[str, Tensor]) -> _Matrices:
    """Where the matrices of one group act."""
    *around, n = kinds.spec.index_shape(kind.group)
    parents = math.prod(around)
    at = defaultdict[int, list[Tensor]](list)
    for place, exponent in kind.exponents.items():
        if place.tensor in entries:  # buffers are not learned on
            views = unit_views(kinds.spec, place, entries[place.tensor])
            at[exponent] += [view.reshape(parents, n, -1) for view in views]
    return _Matrices(kind, {kind.group: parents}, {e: torch.cat(each, -1) for e, each in at.items()})


def _factor(found: _Matrices, device: torch.device) -> Factor:
    """The factor of this kind, at the identity: rotations, complex numbers, or invertible matrices."""
    places = {exponent: at.to(device) for exponent, at in found.places.items()}
    parents, n, _ = next(iter(places.values())).shape
    one = torch.eye(n, device=device).repeat(parents, 1, 1)
    if found.kind.kind == "orthogonal":
        return Rotations(found.groups, places, one, fixes_ones=found.kind.fixes_ones)
    if found.kind.pairs:
        return ComplexNumbers(found.groups, places, one, found.kind.pairs)
    return Invertible(found.groups, places, one)
