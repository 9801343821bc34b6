"""Planes in weight space: an origin and two directions, in float64.

A point is origin + x u + y v. Of a plane through models u and v are orthonormal (Gram-Schmidt), so that x and y are L2
distances; Garipov et al. 2018, appendix. Of random directions they are in units of the filters' norms; Li et al. 2018,
"Visualizing the loss landscape of neural nets", section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.models.flat_network import FlatNetwork

NEARLY_ONE_LINE = 1e-4
"""Three models are taken for a line where the third lies as near to it as this part of its distance."""

OnPlane = tuple[float, float]
"""x and y of a point."""


@dataclass(frozen=True)
class WeightPlane:
    """Points origin + x u + y v, vectors (P,) in float64 on the CPU; u and v of any lengths and angle."""

    origin: Tensor
    u: Tensor
    v: Tensor

    @classmethod
    def through(cls, first: Tensor, second: Tensor, third: Tensor) -> "WeightPlane":
        """The plane through three vectors (P,): the first is its origin, the second on the x axis, the third above.

        u = (b - a) / |b - a|,    v = w / |w|  with  w = (c - a) - <c - a, u> u.
        StarcliError where two of them are the same, or all lie on one line.
        """
        a, b, c = (vector.detach().cpu().double() for vector in (first, second, third))
        along, aside = b - a, c - a
        if not (along.any() and aside.any() and (c - b).any()):
            raise StarcliError("a plane goes through three different models, and two of these have the same weights")
        u = along / along.norm()
        rest = aside - (aside @ u) * u
        rest -= (rest @ u) * u  # once more: the first time leaves rounding errors of a long vector
        if rest.norm() < NEARLY_ONE_LINE * aside.norm():
            raise StarcliError("a plane goes through three models that do not lie on one straight line")
        return cls(a, u, rest / rest.norm())

    @classmethod
    def random(cls, flat: FlatNetwork, origin: Tensor, seed: int) -> "WeightPlane":
        """Two random directions at `origin` (P,), normal ones that are scaled filter by filter to the weights' norms.

        d_i <- d_i / |d_i| |w_i| for each filter i, a row of the first axis of a tensor. Tensors of one axis (biases,
        scales of norms) stay as they are. Li et al. 2018.
        """
        generator, origin = torch.Generator().manual_seed(seed), origin.detach().cpu()
        weights, directions = flat.views(origin), []
        for _ in range(2):
            direction = torch.zeros_like(origin)
            for name, part in flat.views(direction).items():
                if part.dim() > 1:
                    part.copy_(_like_filters(weights[name], generator))
            directions.append(direction.double())
        return cls(origin.double(), *directions)

    def point(self, x: float, y: float) -> Tensor:
        """The vector at (x, y), float64."""
        return self.origin + x * self.u + y * self.v

    def place(self, vector: Tensor) -> OnPlane:
        """The place of the nearest point of the plane to a vector (P,)."""
        offset = vector.detach().cpu().double() - self.origin
        axes = torch.stack([self.u, self.v])
        x, y = torch.linalg.solve(axes @ axes.T, axes @ offset).tolist()
        return x, y

    def distance(self, vector: Tensor) -> float:
        """How far a vector (P,) lies from the plane, L2."""
        return float((vector.detach().cpu().double() - self.point(*self.place(vector))).norm())


def _like_filters(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape of `weights`, each filter with the norm that it has there."""
    drawn = torch.randn(weights.shape, generator=generator, dtype=torch.float32)
    shape = (-1, *[1] * (weights.dim() - 1))
    wanted, own = (each.flatten(1).double().norm(dim=1).view(shape) for each in (weights, drawn))
    scaled: Tensor = drawn * (wanted / own)
    return scaled


def mean_weights(corners: Sequence[OnPlane], x: float, y: float) -> tuple[float, ...]:
    """Weights of three models at `corners` of which (x, y) is the mean; they sum to 1, and may be negative.

    >>> mean_weights([(0, 0), (2, 0), (0, 4)], 1.0, 1.0)
    (0.25, 0.5, 0.25)
    """
    (x0, y0), (x1, y1), (x2, y2) = corners
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    second = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
    third = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
    return 1 - second - third, second, third
