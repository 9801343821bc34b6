"""Positive scales of units that follow gradients, of all groups that have some at once.

A scale s of a unit multiplies its weights at a place by s^e, e the place's exponent. A step multiplies it by exp(x); at
x = 0 the derivative of a loss by x is the sum of e w g over all these weights w, with g the gradients by them as they
are after s has acted. As in `moving_factors`, but entry by entry: what all scales do together is one vector.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.alignment.learned.moving_factors import LARGEST_FACTOR
from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.symmetry.kinds.derivatives import unit_views
from starcli.symmetry.kinds.kinds import Kinds


@dataclass(frozen=True)
class _Place:
    """A block of weights that scales act on, (parents..., n, rest..., 1) in every vector of all weights."""

    exponent: int
    scales: Tensor
    """The scales to the power of the exponent, (parents..., n, 1...), a view."""
    entries: Tensor
    """View of what the weights are multiplied by."""
    products: Tensor
    """View of weights times gradients."""
    slopes: Tensor
    """View of the derivatives by x, (parents..., n)."""


class MovingScales:
    """A scale for each way to scale the units of a group, and for each unit of every combination of units around it."""

    def __init__(self, kinds: Kinds, layout: ParameterLayout, device: torch.device) -> None:
        """Scales of 1, of all groups on whose units no matrix acts."""
        self._shapes = {
            name: (len(kind.scalings), *kinds.spec.index_shape(name))
            for name, kind in kinds.groups.items()
            if kind.scalings and not kind.by_matrix
        }
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self._values = torch.ones(sum(self._sizes), device=device)
        self.coordinates = torch.zeros_like(self._values)
        """x, one for each scale, for an optimiser."""
        self.by_entry = torch.ones(layout.size, device=device)
        """What scales multiply each parameter (P,) by, all together."""
        self._products, self._slopes = torch.zeros_like(self.by_entry), torch.zeros_like(self._values)
        self._powers: dict[int, Tensor] = {}
        self._places = tuple(self._placed(kinds, layout))

    def _placed(self, kinds: Kinds, layout: ParameterLayout) -> Iterator[_Place]:
        """Every place of every way, in views of the vectors that are here."""
        entries, products = layout.views(self.by_entry), layout.views(self._products)
        slopes = self._by_group(self._slopes)
        for name in self._shapes:
            for number, way in enumerate(kinds.groups[name].scalings):
                for place, exponent in way.items():
                    if place.tensor not in entries:  # buffers are not learned on
                        continue
                    power = self._powers.setdefault(exponent, torch.ones_like(self._values))
                    scales = self._by_group(power)[name][number]
                    at = (unit_views(kinds.spec, place, each[place.tensor]) for each in (entries, products))
                    for entry, product in zip(*at, strict=True):
                        entry, product = entry.unsqueeze(-1), product.unsqueeze(-1)
                        spread = scales.reshape(*scales.shape, *[1] * (entry.dim() - scales.dim()))
                        yield _Place(exponent, spread, entry, product, slopes[name][number])

    def _by_group(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector of all scales, by group (ways, parents..., n)."""
        parts = torch.split(vector, self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def place(self, scales: Mapping[str, Tensor]) -> None:
        """Go on from the scales of groups (ways, parents..., n), from 1 where there are none."""
        for name, own in self._by_group(self._values).items():
            own.copy_(scales[name]) if name in scales else own.fill_(1.0)
        self._spread()

    def derivative(self, weights: Tensor, gradients: Tensor) -> Tensor:
        """The derivative of a loss by x, from its `gradients` by the `weights` after all scales have acted."""
        torch.mul(weights, gradients, out=self._products)
        self._slopes.zero_()
        for place in self._places:
            rest = tuple(range(place.slopes.dim(), place.products.dim()))
            place.slopes.add_(place.products.sum(rest), alpha=place.exponent)
        return self._slopes

    def move(self) -> None:
        """Multiply the scales by exp(x), and begin anew at x = 0."""
        self._values.mul_(self.coordinates.exp()).clamp_(1 / LARGEST_FACTOR, LARGEST_FACTOR)
        self.coordinates.zero_()
        self._spread()

    def _spread(self) -> None:
        """What each parameter is multiplied by, anew."""
        for exponent, power in self._powers.items():
            torch.pow(self._values, exponent, out=power)
        self.by_entry.fill_(1.0)
        for place in self._places:
            place.entries.mul_(place.scales)

    def exact(self) -> dict[str, Tensor]:
        """The scales of each group (ways, parents..., n), in float64 on the CPU."""
        return self._by_group(self._values.cpu().double())
