"""Factors of a symmetry that follow gradients: rotations, matrices, complex numbers and scales of units of one group.

A factor g acts on the weights W of a place, units first, as g W or as g^-T W. A step multiplies it by exp(X), with X in
the Lie algebra of its kind: skew matrices, all matrices, complex numbers, diagonals. At X = 0 the derivative of a loss
by X is G W^T where g acts and -W G^T where g^-T acts, projected onto the algebra; G is the gradient by W as it is after
g has acted. An optimiser follows it from X = 0 anew in each step: "dynamic trivialization", Lezcano-Casado 2019; of
invertible matrices it is the relative gradient of Cardoso and Laheld 1996.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from starcli.symmetry.archspec.kind_names import PairLayout
from starcli.symmetry.kinds.elements import complement_of_ones
from starcli.symmetry.kinds.pairs import pair_matrices, pair_numbers

LARGEST_FACTOR = 1e3**0.5
"""Largest scale and singular value, and one over the smallest: condition numbers are 1,000 at most."""


class Factor:
    """Base of the kinds: g of one group for every combination of units around it."""

    def __init__(self, group: str, places: Mapping[int, Tensor], one: Tensor, coordinates: Tensor) -> None:
        """Begin at `one`, which does nothing.

        places: by exponent the positions (parents, n, rest) in a vector of all weights at which g acts.
        coordinates: zeros, the coordinates of X for an optimiser.
        """
        self.group, self._one = group, one
        self._places = {exponent: (index.reshape(-1), index.shape) for exponent, index in places.items()}
        self.coordinates = coordinates
        self.place(None)

    def place(self, value: Tensor | None) -> None:
        """Go on from a value (parents..., n) or (parents..., n, n); None: from one that does nothing."""
        self._value = self._one if value is None else value.to(self._one).reshape(self._one.shape)

    def act_(self, weights: Tensor, *, adjoint: bool) -> None:
        """Act on a vector of all weights; `adjoint`: turn their gradients into those by what g acts on."""
        for exponent, (index, shape) in self._places.items():
            acted = self._acted(exponent, weights.index_select(0, index).view(shape), adjoint)
            weights.scatter_(0, index, acted.reshape(-1))

    def derivative(self, weights: Tensor, gradients: Tensor) -> Tensor:
        """The derivative of a loss by the coordinates, from its `gradients` by the `weights` after g has acted."""
        terms = []
        for exponent, (index, shape) in self._places.items():
            at_place = (each.index_select(0, index).view(shape) for each in (weights, gradients))
            terms.append(self._term(exponent, *at_place))
        return self._projected(torch.stack(terms).sum(0))

    def move(self) -> None:
        """Multiply g by exp(X), and begin anew at X = 0."""
        self._multiply(self.coordinates)
        self.coordinates.zero_()

    def exact(self) -> Tensor:
        """The value in float64 on the CPU, exactly of its kind."""
        return self._value.cpu().double()

    def _acted(self, exponent: int, weights: Tensor, adjoint: bool) -> Tensor:
        raise NotImplementedError

    def _term(self, exponent: int, weights: Tensor, gradients: Tensor) -> Tensor:
        raise NotImplementedError

    def _projected(self, derivative: Tensor) -> Tensor:
        return derivative

    def _multiply(self, x: Tensor) -> None:
        raise NotImplementedError


class Scales(Factor):
    """Positive scales (parents, n)."""

    def __init__(self, group: str, places: Mapping[int, Tensor], one: Tensor) -> None:
        """One scale for each unit."""
        super().__init__(group, places, one, torch.zeros_like(one))

    def _acted(self, exponent: int, weights: Tensor, adjoint: bool) -> Tensor:
        return (self._value**exponent).unsqueeze(-1) * weights

    def _term(self, exponent: int, weights: Tensor, gradients: Tensor) -> Tensor:
        return exponent * (weights * gradients).sum(-1)

    def _multiply(self, x: Tensor) -> None:
        self._value = (self._value * x.exp()).clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR)


class Invertible(Factor):
    """Invertible matrices (parents, n, n) of positive determinant."""

    def __init__(self, group: str, places: Mapping[int, Tensor], one: Tensor) -> None:
        """All entries of X are coordinates."""
        super().__init__(group, places, one, torch.zeros_like(one))

    def place(self, value: Tensor | None) -> None:
        """Go on from a value."""
        super().place(value)
        self._bound()

    def _acted(self, exponent: int, weights: Tensor, adjoint: bool) -> Tensor:
        g = self._value if exponent > 0 else self._inverse.mT
        return (g.mT if adjoint else g) @ weights

    def _term(self, exponent: int, weights: Tensor, gradients: Tensor) -> Tensor:
        return gradients @ weights.mT if exponent > 0 else -weights @ gradients.mT

    def _multiply(self, x: Tensor) -> None:
        longest = torch.linalg.matrix_norm(x, keepdim=True).clamp(min=math.log(LARGEST_FACTOR))
        self._value = torch.linalg.matrix_exp(x * (math.log(LARGEST_FACTOR) / longest)) @ self._value
        self._bound()

    def _bound(self) -> None:
        """Bring singular values back between the bounds, where the norms do not tell that they are there."""
        self._inverse = torch.linalg.inv(self._value)
        if max(float(torch.linalg.matrix_norm(each).max()) for each in (self._value, self._inverse)) > LARGEST_FACTOR:
            u, values, v = torch.linalg.svd(self._value)
            self._value = u * values.clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR).unsqueeze(-2) @ v
            self._inverse = torch.linalg.inv(self._value)


class ComplexNumbers(Invertible):
    """Complex numbers that act on pairs of units, as matrices (parents, n, n)."""

    def __init__(self, group: str, places: Mapping[int, Tensor], one: Tensor, layout: PairLayout) -> None:
        """The coordinates (parents, n / 2, 2) are of the logarithm: of the size, and the angle."""
        self._layout = layout
        super().__init__(group, places, one)
        self.coordinates = one.new_zeros(*one.shape[:-2], one.shape[-1] // 2, 2)

    def _projected(self, derivative: Tensor) -> Tensor:
        return 2 * torch.view_as_real(pair_numbers(derivative, self._layout))

    def _multiply(self, x: Tensor) -> None:
        z, bound = pair_numbers(self._value, self._layout), math.log(LARGEST_FACTOR)
        z = torch.polar((z.abs().log() + x[..., 0]).clamp(-bound, bound).exp(), z.angle() + x[..., 1])
        self._value, self._inverse = (pair_matrices(each, self._layout) for each in (z, 1 / z))

    def _bound(self) -> None:
        self._multiply(torch.zeros_like(self._value[..., ::2, :2]))


class Rotations(Factor):
    """Orthogonal matrices (parents, n, n) of determinant 1; all of them, or those that leave (1, ..., 1) alone."""

    def __init__(self, group: str, places: Mapping[int, Tensor], one: Tensor, *, fixes_ones: bool) -> None:
        """The entries of X, or of X in a basis of what is orthogonal to (1, ..., 1), are coordinates."""
        n = one.shape[-1]
        self._basis = complement_of_ones(n) if fixes_ones else torch.eye(n, dtype=torch.float64)
        self._working = self._basis.to(one)
        m = self._basis.shape[-1]
        super().__init__(group, places, one, one.new_zeros(*one.shape[:-2], m, m))

    def _acted(self, exponent: int, weights: Tensor, adjoint: bool) -> Tensor:
        return (self._value.mT if adjoint else self._value) @ weights  # its own inverse transpose

    def _term(self, exponent: int, weights: Tensor, gradients: Tensor) -> Tensor:
        return gradients @ weights.mT

    def _projected(self, derivative: Tensor) -> Tensor:
        inner = self._working.mT @ derivative @ self._working
        return (inner - inner.mT) / 2

    def _multiply(self, x: Tensor) -> None:
        self._value = torch.linalg.matrix_exp(self._working @ x @ self._working.mT) @ self._value

    def exact(self) -> Tensor:
        """The nearest orthogonal matrices, in float64."""
        basis, value = self._basis, super().exact()
        u, _, v = torch.linalg.svd(basis.mT @ value @ basis)
        n, m = basis.shape
        nearest: Tensor = basis @ u @ v @ basis.mT + (n - m) / n  # what (1, ..., 1) has where it is fixed
        return nearest
