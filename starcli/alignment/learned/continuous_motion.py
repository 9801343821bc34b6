"""What is continuous in the symmetries of a network, moved by gradients: the factors of all groups at once."""

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from starcli.alignment.learned.falling_adam import FallingAdam
from starcli.alignment.learned.moving_factors import ComplexNumbers, Factor, Invertible, Rotations, Scales
from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derivatives import place_blocks, unit_view
from starcli.symmetry.kinds.group_kind import Exponents, GroupKind
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
        self._factors = [
            _factor(kinds, kind, way, entries, device) for kind in kinds.groups.values() for way in _ways(kind)
        ]
        sizes = [factor.coordinates.numel() for factor in self._factors]
        self._coordinates = torch.zeros(sum(sizes), device=device)
        for factor, part in zip(self._factors, torch.split(self._coordinates, sizes), strict=True):
            factor.coordinates = part.view(factor.coordinates.shape)
        self._optimizer = FallingAdam([self._coordinates], rate, steps=steps)

    def act(self, weights: Tensor, *, adjoint: bool = False) -> Tensor:
        """The weights (P,) after all factors have acted; `adjoint`: gradients by them, of gradients by the result."""
        made = weights.clone()
        for factor in self._factors:
            factor.act_(made, adjoint=adjoint)
        return made

    def follow(self, weights: Tensor, gradients: Tensor) -> None:
        """Take a step down the gradients (P,) of a loss by the `weights` (P,) after all factors have acted."""
        slopes = [factor.derivative(weights, gradients).reshape(-1) for factor in self._factors]
        self._optimizer.step([torch.cat([self._coordinates[:0], *slopes])])
        for factor in self._factors:
            factor.move()

    def state(self) -> dict[str, Tensor]:
        """What the optimiser knows of the steps before, as copies."""
        return self._optimizer.state()

    def resume(self, done: int, state: Mapping[str, Tensor]) -> None:
        """Go on after `done` steps from a `state`."""
        self._optimizer.resume(done, state)

    def place(self, element: Element) -> None:
        """Go on from the factors of an element."""
        scales = {name: iter(each) for name, each in element.scales.items()}
        for factor in self._factors:
            of_way = next(scales[factor.group]) if factor.group in scales else None
            factor.place(of_way if isinstance(factor, Scales) else element.matrices.get(factor.group))

    def element(self, permutation: Permutation) -> Element:
        """The element that permutes first, then acts by these factors."""
        matrices, scales = dict[str, Tensor](), defaultdict[str, list[Tensor]](list)
        for factor in self._factors:
            shape = self._kinds.spec.index_shape(factor.group)
            if isinstance(factor, Scales):
                scales[factor.group].append(factor.exact().view(shape))
            else:
                matrices[factor.group] = factor.exact().view(*shape, shape[-1])
        return Element(self._kinds, permutation, matrices, {name: torch.stack(each) for name, each in scales.items()})


def _ways(kind: GroupKind) -> tuple[Exponents, ...]:
    """The independent ways in which factors of a group act."""
    return (kind.exponents,) if kind.by_matrix else kind.scalings


def _factor(
    kinds: Kinds, kind: GroupKind, way: Exponents, entries: Mapping[str, Tensor], device: torch.device
) -> Factor:
    """The factor that acts in one way; `entries` are the positions of all weights in the vector."""
    *around, n = kinds.spec.index_shape(kind.group)
    parents = math.prod(around)
    at = defaultdict[int, list[Tensor]](list)
    for place, exponent in way.items():
        if place.tensor in entries:  # buffers are not learned on
            for block, k in place_blocks(kinds.spec, place):
                at[exponent].append(unit_view(block, k, entries[place.tensor]).reshape(parents, n, -1))
    places = {exponent: torch.cat(each, -1).to(device) for exponent, each in at.items()}
    ones = torch.ones(parents, n, device=device)
    match kind.kind:
        case "orthogonal":
            return Rotations(kind.group, places, torch.diag_embed(ones), fixes_ones=kind.fixes_ones)
        case "invertible":
            return Invertible(kind.group, places, torch.diag_embed(ones))
        case "complex" if kind.pairs:
            return ComplexNumbers(kind.group, places, torch.diag_embed(ones), kind.pairs)
    return Scales(kind.group, places, ones)
