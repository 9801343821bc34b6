"""Factors of a symmetry that follow gradients: rotations, matrices and complex numbers, of groups that are alike.

A factor g acts on the weights W of a place, units first, as g W or as g^-T W. A step multiplies it by exp(X), with X in
the Lie algebra of its kind: skew matrices, all matrices, complex numbers. At X = 0 the derivative of a loss
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


Groups = Mapping[str, int]
"""Groups that move together, and how many matrices each has: one for every combination of units around it."""


class Factor:
    """Base of the kinds: every g of some groups, (parents, n, n), those of one group after those of the other."""

    def __init__(self, groups: Groups, places: Mapping[int, Tensor], one: Tensor, coordinates: Tensor) -> None:
        """Begin at `one`, which does nothing.

        places: by exponent the positions (parents, n, rest) in a vector of all weights at which g acts.
        coordinates: zeros, the coordinates of X for an optimiser.
        """
        self._groups, self._one = groups, one
        self._places = {exponent: (index.reshape(-1), index.shape) for exponent, index in places.items()}
        self.coordinates = coordinates
        self.place({})

    def place(self, values: Mapping[str, Tensor]) -> None:
        """Go on from the values of groups (parents..., n, n); where there is none, from one that does nothing."""
        parts = self.by_group(self._one).items()
        self._value = torch.cat([values.get(group, one).to(one).reshape(one.shape) for group, one in parts])

    def by_group(self, matrices: Tensor) -> dict[str, Tensor]:
        """The matrices (parents, n, n) of each group among those of all."""
        return dict(zip(self._groups, torch.split(matrices, list(self._groups.values())), strict=True))

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


class Invertible(Factor):
    """Invertible matrices (parents, n, n) of positive determinant."""

    def __init__(self, groups: Groups, places: Mapping[int, Tensor], one: Tensor) -> None:
        """All entries of X are coordinates."""
        super().__init__(groups, places, one, torch.zeros_like(one))

    def place(self, values: Mapping[str, Tensor]) -> None:
        """Go on from values."""
        super().place(values)
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
        both = torch.linalg.matrix_norm(torch.stack([self._value, self._inverse]))
        if both.max() > LARGEST_FACTOR:
            u, values, v = torch.linalg.svd(self._value)
            self._value = u * values.clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR).unsqueeze(-2) @ v
            self._inverse = torch.linalg.inv(self._value)


class ComplexNumbers(Invertible):
    """Complex numbers that act on pairs of units, as matrices (parents, n, n)."""

    def __init__(self, groups: Groups, places: Mapping[int, Tensor], one: Tensor, layout: PairLayout) -> None:
        """The coordinates (parents, n / 2, 2) are of the logarithm: of the size, and the angle."""
        self._layout = layout
        super().__init__(groups, places, one)
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

    def __init__(self, groups: Groups, places: Mapping[int, Tensor], one: Tensor, *, fixes_ones: bool) -> None:
        """The entries of X, or of X in a basis of what is orthogonal to (1, ..., 1), are coordinates."""
        n = one.shape[-1]
        self._basis = complement_of_ones(n) if fixes_ones else torch.eye(n, dtype=torch.float64)
        self._working = self._basis.to(one)
        m = self._basis.shape[-1]
        super().__init__(groups, places, one, one.new_zeros(*one.shape[:-2], m, m))

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
