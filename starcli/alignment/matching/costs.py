"""Cost matrices of weight matching, kept up to date while the permutations of neighbouring layers change."""

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from starcli.alignment.matching.families import Family, MatchingLayout
from starcli.alignment.matching.linear_assignment import Indices
from starcli.alignment.matching.nested import GainTerm, LowRankGains
from starcli.alignment.matching.stacks import WeightStack

WIDENED = {"cpu": 1 << 15, "cuda": 1 << 23}
"""Elements that are converted to float64 at once: few enough for the cache, or enough for each wait."""
CHEAP = 1 << 16
"""Stacks of up to this many elements are multiplied whole: finding out what moved would take longer."""
FEW = 64
"""Up to this many rows that never move are multiplied anew each time: a large matrix to keep would take more memory."""
WIDEST_CHAIN = 4096
"""Chains of nested groups with more positions than this are never written out (3 x 64 MB each would be)."""


def selected(table: Tensor, rows: Indices, axis: int = 0) -> Tensor:
    """Some rows of a table, or columns."""
    return table.index_select(axis, torch.from_numpy(rows).to(table.device))


class MatchingState:
    """Present permutations of all groups, and of all chains, concatenated."""

    def __init__(self, made: MatchingLayout, index: Mapping[str, Indices]) -> None:
        """Copy the permutations `index` of all groups."""
        self.layout = made
        self.index = {name: np.array(each, dtype=np.int64) for name, each in index.items()}
        self.flat = np.concatenate([np.zeros(0, np.int64), *(stack.chain.flat(self.index) for stack in made.stacks)])

    def chain(self, number: int) -> Indices:
        """Permutation of the chain of stack `number`, a view."""
        start = self.layout.offsets[number]
        return self.flat[start : start + self.layout.stacks[number].chain.size]

    def set(self, family: Family, index: Mapping[str, Indices]) -> None:
        """Set the permutations of some groups of `family`."""
        self.index.update(index)
        for number in family.stacks:
            self.chain(number)[:] = self.layout.stacks[number].chain.flat(self.index)


class Costs:
    """Cost matrix of one stack: what the objective gains by old unit j at new position i, over all its blocks.

    fixed + outputs + inputs, each (size, size): blocks beside nothing that moves, blocks that make the unit, blocks
    that it feeds. Rows whose neighbours moved are subtracted and added again where they are few. Where `split`, outputs
    and inputs can be weighed against each other.
    """

    def __init__(self, stack: WeightStack, a: Tensor, b: Tensor, split: bool) -> None:
        """`a` and `b` are the stack (rows, size) of the reference and of the model."""
        self.stack = stack
        still = stack.fixed_rows
        self.still = a[:still], b[:still]
        self.wide = len(stack.chain.groups) > 1 and stack.chain.size > WIDEST_CHAIN
        """Whether the matrix would be too large to write out."""
        keeps = still > FEW or stack.chain.size**2 <= CHEAP
        self.fixed = a[:still].T @ b[:still] if keeps and not self.wide else None
        self.a, self.b = a[still:], b[still:]
        middle = stack.output_rows - still
        self.ranges = (slice(0, middle), slice(middle, stack.rows)) if split else (slice(0, stack.rows),)
        self.parts = [a.new_zeros(1) for _ in self.ranges]
        self.unit = 1.0
        """What 1 in `parts` stands for."""
        self.error = 0.0
        """Of one of the gains, if they are coarse: one standard deviation."""
        self.source = np.full(stack.rows - still, -1, dtype=np.int64)

    def reset_copy(self) -> "Costs":
        """Copy that shares the weights, before any `update`."""
        made = copy.copy(self)
        made.parts = [self.still[0].new_zeros(1) for _ in self.ranges]
        made.source = np.full_like(self.source, -1)
        return made

    def forget(self) -> None:
        """Compute all anew at the next `update`: the weights were changed in place."""
        self.source.fill(-1)
        if self.fixed is not None:
            torch.mm(self.still[0].T, self.still[1], out=self.fixed)

    @property
    def size(self) -> int:
        """Bytes of the matrices."""
        return 0 if self.wide else 4 * len(self.ranges) * self.stack.chain.size**2

    def update(self, state: MatchingState) -> None:
        """Update the matrices to the present permutations of the other chains."""
        source = self.stack.source(state.flat)
        if self.a.numel() <= CHEAP:
            for k, rows in enumerate(self.ranges):
                if (source[rows] != self.source[rows]).any():
                    self.parts[k] = self._product(self.a[rows], source[rows])
            self.source = source
            return
        changed = np.flatnonzero(source != self.source)
        if not len(changed):
            return
        many = 2 * len(changed) >= len(source)
        for k, rows in enumerate(self.ranges):
            if not len(source[rows]):
                continue
            if many:
                self.parts[k] = self._product(self.a[rows], source[rows])
                continue
            first, last = np.searchsorted(changed, (rows.start, rows.stop))
            if last > first:
                some = changed[first:last]
                a = selected(self.a, some)
                self.parts[k] += self._product(a, source[some])
                self.parts[k] -= self._product(a, self.source[some])
        self.source = source

    def _product(self, a: Tensor, rows: Indices) -> Tensor:
        """a^T b[rows]."""
        return torch.mm(a.T, selected(self.b, rows))

    def term(self, state: MatchingState, weight: float) -> GainTerm | LowRankGains:
        """Gains in the form that `best_permutations` takes; those of a wide chain as a product."""
        chain = self.stack.chain
        if not self.wide:
            self.update(state)
            return GainTerm(chain, self.gains(weight))
        source, middle = self.stack.source(state.flat), self.stack.output_rows - self.stack.fixed_rows
        a = torch.cat([self.still[0], weight * self.a[:middle], self.a[middle:]])
        b = torch.cat([self.still[1], selected(self.b, source)])
        return LowRankGains(chain, a.cpu().numpy(), b.cpu().numpy())

    def gains(self, weight: float = 1.0) -> NDArray[np.float32]:
        """Cost matrix (size, size) in which the part of output axes counts `weight` times."""
        total = self.still[0].T @ self.still[1] if self.fixed is None else self.fixed.clone()
        for part, times in zip(self.parts, (weight, 1.0), strict=False):
            total.add_(part, alpha=times * self.unit)
        matrix: NDArray[np.float32] = total.cpu().numpy()
        return matrix


class CoarseCosts(Costs):
    """Costs of weights rounded to 8 bits: a third of the time, correlated 0.9998 with the exact ones."""

    def __init__(self, stack: WeightStack, a: Tensor, b: Tensor) -> None:
        """Round the moving rows of `a` and `b`."""
        super().__init__(stack, a, b, split=True)
        (self.a, a_unit), (self.b, b_unit) = round_to_int8(self.a), round_to_int8(self.b)
        self.unit = a_unit * b_unit
        # a sum over rows of (error of a) b + a (error of b): errors of 1 / sqrt(12) units, values of 127 / 6 units
        self.error = math.sqrt(len(self.a) / 6) * 127 / 6 * self.unit

    def _product(self, a: Tensor, rows: Indices) -> Tensor:
        """a^T b[rows] in units of both, exact."""
        return torch._int_mm(a.T, selected(self.b, rows))


def multiplies_bytes() -> bool:
    """Whether the processor has instructions for products of 8 bits; without them these are slower than float32."""
    return bool(getattr(torch.cpu, "_is_vnni_supported", lambda: False)())


def round_to_int8(values: Tensor) -> tuple[Tensor, float]:
    """Round `values` to int8 multiples of a unit; return them and the unit.

    127 units are 6 root mean squares; values beyond are cut.
    """
    unit = 6 / 127 * float(torch.linalg.vector_norm(values)) / max(1, values.numel()) ** 0.5
    narrow = torch.empty(values.shape, dtype=torch.int8)
    step = max(1, WIDENED["cpu"] // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        part = torch.mul(values[start : start + step], 1 / unit if unit else 0.0)
        narrow[start : start + step] = part.round_().clamp_(-127, 127)
    return narrow, unit
