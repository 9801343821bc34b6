"""Scales under which the weights of a network are least: all ways to scale at once, by Newton's method.

With u the logarithms of all scales, the sum of squares is f(u) = sum_r R_r exp(2 (E u)_r): R_r is the sum of squares of
those weights that the same scales act on, with the exponents E_r. f is convex (of networks of ReLUs: Stock et al. 2019,
"Equi-normalization of neural networks"), and steps damped as in Sun and Tran-Dinh 2019, "Generalized self-concordant
functions", need no search along the line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.symmetry.archspec.blocks import Block, spread_axes
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.kinds.group_kind import Exponents

STEPS = 100
SOLVED = 1e-12
"""Largest change of a logarithm after which no step follows."""
ROUNDS = 500
RESIDUAL = 1e-8
"""Most rounds of conjugate gradients in a step, and the share of the slope that may be left."""


def balanced_scales(
    spec: Resolved, tensors: Mapping[str, Tensor], ways: Sequence[tuple[str, Exponents]]
) -> list[Tensor]:
    """For each way to scale the units of a group, (group, exponents), the scales (parents..., n) of least weights.

    1 for units that nothing writes or nothing reads.
    """
    shapes = [spec.index_shape(group) for group, _ in ways]
    sizes = [torch.Size(shape).numel() for shape in shapes]
    numbers = [
        part.reshape(shape) for part, shape in zip(torch.split(torch.arange(sum(sizes)), sizes), shapes, strict=True)
    ]
    logs = _Sum(list(_terms(spec, tensors, ways, numbers)), sum(sizes)).least()
    return [part.reshape(shape).exp() for part, shape in zip(torch.split(logs, sizes), shapes, strict=True)]


@dataclass(frozen=True)
class _Term:
    """The part of f that one block of a tensor makes."""

    squares: Tensor
    """R, with an axis for each sub-axis whose units are scaled."""
    acting: Sequence[tuple[Tensor, int]]
    """For each scale that acts the numbers of its units, of as many axes, 1 long where they do not stand; exponent."""

    def at(self, logs: Tensor) -> Tensor:
        """E u, of the shape of R."""
        return torch.stack([(e * logs[numbers]).expand(self.squares.shape) for numbers, e in self.acting]).sum(0)

    def add_to_(self, made: Tensor, values: Tensor, weight: Callable[[int], int]) -> None:
        """Add E^T `values` (of the shape of R), with `weight` of the exponents in their place."""
        for numbers, e in self.acting:
            others = [axis for axis, length in enumerate(numbers.shape) if length == 1]
            part = values.sum(others, keepdim=True) if others else values
            made.index_add_(0, numbers.flatten(), weight(e) * part.flatten())


class _Sum:
    """f of all terms, for `count` scales."""

    def __init__(self, terms: Sequence[_Term], count: int) -> None:
        """Scales that only rising or only falling terms know are held: they would go to 0 or grow without end."""
        self.terms, self.count = terms, count
        there = [term.squares.gt(0).double() for term in terms]
        self.free = self._at_scales(there).abs() < self._at_scales(there, abs)

    def least(self) -> Tensor:
        """The logarithms u (count,) at which f is least, by steps from 0."""
        logs = torch.zeros(self.count, dtype=torch.float64)
        for _ in range(STEPS):
            values = [term.squares * (2 * term.at(logs)).exp() for term in self.terms]
            step = self._step(values)
            reach = max((2 * float(term.at(step).abs().max()) for term in self.terms), default=0.0)
            if reach < SOLVED:
                break
            logs = logs + step * (torch.tensor(reach, dtype=torch.float64).log1p() / reach)
        return logs

    def _at_scales(self, values: Sequence[Tensor], weight: Callable[[int], int] = int) -> Tensor:
        """E^T of values of all terms, (count,), with `weight` of the exponents in their place."""
        made = torch.zeros(self.count, dtype=torch.float64)
        for term, each in zip(self.terms, values, strict=True):
            term.add_to_(made, each, weight)
        return made

    def _step(self, values: Sequence[Tensor]) -> Tensor:
        """Newton's step, by conjugate gradients: the solution of E^T diag(2 w) E d = -E^T w among free scales."""
        left = -self._at_scales(values) * self.free
        size = 2 * self._at_scales(values, lambda e: e * e)
        inverse = torch.where(size > 0, 1 / size, 0.0)
        step, ahead = torch.zeros_like(left), inverse * left
        along = first = float(left @ ahead)
        for _ in range(ROUNDS):
            if not along > RESIDUAL**2 * first:
                break
            bent = [2 * value * term.at(ahead) for term, value in zip(self.terms, values, strict=True)]
            curve = self._at_scales(bent) * self.free
            share = along / float(ahead @ curve)
            step, left = step + share * ahead, left - share * curve
            before, along = along, float(left @ (inverse * left))
            ahead = inverse * left + along / before * ahead
        return step


def _terms(
    spec: Resolved, tensors: Mapping[str, Tensor], ways: Sequence[tuple[str, Exponents]], numbers: Sequence[Tensor]
) -> Iterator[_Term]:
    """The terms of all blocks on which some scale acts."""
    at = [(place, e, own) for (_, way), own in zip(ways, numbers, strict=True) for place, e in way.items()]
    for tensor in dict.fromkeys(place.tensor for place, _, _ in at):
        for block in spec.blocks[tensor]:
            acting = [(k, e, own) for place, e, own in at if place.tensor == tensor for k in place.sub_axes(block)]
            if acting:
                yield _term(block, tensors[tensor], acting)


def _term(block: Block, tensor: Tensor, acting: Sequence[tuple[int, int, Tensor]]) -> _Term:
    """The term of one block; `acting`: the sub-axis, exponent and numbers (parents..., n) of each scale there."""
    kept = sorted({axis for k, _, _ in acting for axis in (*block.parents[k], k)})
    others = [axis for axis in range(len(block.shape)) if axis not in kept]
    squares = block.view(tensor.double()).square()
    placed = []
    for k, e, numbers in acting:
        axes = (*block.parents[k], k)
        placed.append((spread_axes(numbers, tuple(map(kept.index, axes)), len(kept)), e))
    return _Term(squares.sum(others) if others else squares, placed)
