"""Two models laid out for matching, and cost matrices that are kept up to date where neighbours moved."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from starcli.archspec import Resolved
from starcli.matching.assignment import Indices
from starcli.matching.layout import Family, Layout, Stack, layout

EPS = float(np.finfo(np.float32).eps)
WIDENED = 1 << 15
"""Elements that are widened to float64 at once: few enough for the cache."""
CHEAP = 1 << 16
"""Stacks of up to this many elements are multiplied whole: finding out what moved would take longer."""


class Side:
    """One model's stacks. Serves any number of matchings."""

    def __init__(self, spec: Resolved, tensors: Mapping[str, Tensor]) -> None:
        self.layout = layout(spec)
        self.tensors = {name: tensors[name].detach().cpu() for name in spec.learnable()}
        self.stacks = tuple(stack.fill(self.tensors) for stack in self.layout.stacks)


class State:
    """The permutations of all groups, and those of all chains, concatenated."""

    def __init__(self, made: Layout, index: Mapping[str, Indices]) -> None:
        self.layout = made
        self.index = {name: np.array(each, dtype=np.int64) for name, each in index.items()}
        self.flat = np.concatenate([np.zeros(0, np.int64), *(stack.chain.flat(self.index) for stack in made.stacks)])

    def chain(self, number: int) -> Indices:
        """The permutation of the chain of stack `number`, a view."""
        start = self.layout.offsets[number]
        return self.flat[start : start + self.layout.stacks[number].chain.size]

    def set(self, family: Family, index: Mapping[str, Indices]) -> None:
        """New permutations of some groups of `family`."""
        self.index.update(index)
        for number in family.stacks:
            self.chain(number)[:] = self.layout.stacks[number].chain.flat(self.index)


class Costs:
    """The cost matrices of one stack: what is gained by old unit j at new position i, over all its blocks.

    fixed + outputs + inputs, each (size, size) float32: blocks beside nothing that moves, blocks that make the unit,
    blocks that it feeds. Rows whose neighbours moved are subtracted and added again where they are few.
    """

    def __init__(self, stack: Stack, a: Tensor, b: Tensor, scratch: Tensor) -> None:
        self.stack, self.a, self.b, self.scratch = stack, a, b, scratch
        size, still = stack.chain.size, stack.fixed_rows
        self.fixed = a[:still].T @ b[:still]
        self.parts = torch.zeros(2, size, size)
        self.source = np.full(stack.rows - still, -1, dtype=np.int64)

    @cached_property
    def scale(self) -> float:
        """The product of the norms: what bounds every inner product of parts of the two."""
        return float(torch.linalg.vector_norm(self.a) * torch.linalg.vector_norm(self.b))

    def update(self, state: State) -> None:
        """Bring the matrices up to the other chains' present permutations."""
        source = self.stack.source(state.flat)
        changed = np.flatnonzero(source != self.source)
        if not len(changed):
            return
        middle = self.stack.output_rows - self.stack.fixed_rows
        if 2 * len(changed) >= len(source) or self.a.numel() <= CHEAP:
            self._fill(0, 0, middle, source)
            self._fill(1, middle, len(source), source)
        else:
            split = int(np.searchsorted(changed, middle))
            self._add(0, changed[:split], source)
            self._add(1, changed[split:], source)
        self.source = source

    def _gather(self, rows: Indices) -> Tensor:
        out = self.scratch[: len(rows) * self.stack.chain.size].view(len(rows), -1)
        return torch.index_select(self.b, 0, torch.from_numpy(rows), out=out)

    def _fill(self, part: int, start: int, stop: int, source: Indices) -> None:
        if stop > start:
            still = self.stack.fixed_rows
            torch.mm(self.a[still + start : still + stop].T, self._gather(source[start:stop]), out=self.parts[part])

    def _add(self, part: int, changed: Indices, source: Indices) -> None:
        if len(changed):
            a = self.a.index_select(0, torch.from_numpy(changed + self.stack.fixed_rows))
            difference = self._gather(source[changed])
            difference -= self.b.index_select(0, torch.from_numpy(self.source[changed]))
            self.parts[part].addmm_(a.T, difference)

    def gains(self, weight: float = 1.0) -> NDArray[np.float32]:
        """The cost matrix (size, size) with the part of output axes taken `weight` times."""
        matrix: NDArray[np.float32] = torch.add(self.fixed, self.parts[1]).add_(self.parts[0], alpha=weight).numpy()
        return matrix

    def rows(self, state: State) -> Tensor:
        """For every row of the reference the row of the model that belongs there."""
        return torch.from_numpy(np.concatenate([np.arange(self.stack.fixed_rows), self.stack.source(state.flat)]))


class Problem:
    """A reference and a model under one spec: what a descent works on. Not shared between threads."""

    def __init__(self, reference: Side, model: Side) -> None:
        self.layout = reference.layout
        scratch = torch.empty(max((stack.numel() for stack in reference.stacks), default=0))
        self.costs = tuple(
            Costs(stack, a, b, scratch)
            for stack, a, b in zip(self.layout.stacks, reference.stacks, model.stacks, strict=True)
        )
        self.at_identity = sum(
            float(torch.dot(reference.tensors[name].float().flatten(), model.tensors[name].float().flatten()))
            for name in reference.tensors
        )
        """The objective where nothing moves, roughly: summed in float32."""
        self.constant = _constant(self.layout.spec, reference.tensors, model.tensors)

    def objective(self, state: State) -> float:
        """The inner product of the reference and the permuted model over all learnable parameters, in float64."""
        total = self.constant
        for number, costs in enumerate(self.costs):
            rows, columns = costs.rows(state), torch.from_numpy(state.chain(number))
            total += _product(costs, costs.stack.counted, rows, columns)
        return total

    def value(self, family: Family, state: State) -> float:
        """The part of the objective that a family takes part in, in float64."""
        total = 0.0
        for number in family.stacks:
            costs = self.costs[number]
            rows, columns = costs.rows(state), torch.from_numpy(state.chain(number))
            total += _product(costs, [(0, len(rows))], rows, columns, torch.from_numpy(costs.stack.share))
        return total

    def difference(self, number: int, state: State, after: Indices) -> float:
        """What the stack's blocks gain, in float64, when its chain goes from where it is to `after`."""
        costs, before = self.costs[number], state.chain(number)
        moved = np.flatnonzero(before != after)
        a = costs.a.index_select(1, torch.from_numpy(moved)).double()
        b, rows = costs.b, costs.rows(state)
        new, old = (b.index_select(1, torch.from_numpy(each[moved])).index_select(0, rows) for each in (after, before))
        return float((a * (new.double() - old)).sum())


def _product(
    costs: Costs, ranges: Sequence[tuple[int, int]], rows: Tensor, columns: Tensor, share: Tensor | None = None
) -> float:
    """sum over r in `ranges` and i of share[r] a[r, i] b[rows[r], columns[i]], in float64."""
    total, step = 0.0, max(1, WIDENED // max(1, costs.a.shape[1]))
    for start, stop in ranges:
        for first in range(start, stop, step):
            part = slice(first, min(stop, first + step))
            b = costs.b.index_select(0, rows[part]).index_select(1, columns).double()
            a = costs.a[part].double()
            if share is not None:
                a *= share[part, None]
            total += float(torch.dot(a.view(-1), b.view(-1)))
    return total


def _constant(spec: Resolved, reference: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> float:
    """The inner product over learnable parameters that nothing moves."""
    total = 0.0
    for name in spec.learnable():
        a, b = reference[name], model[name]
        if name not in spec.blocks:
            total += float(a.double().flatten() @ b.double().flatten())
            continue
        for block in spec.blocks[name]:
            if not any(block.groups):
                total += float((block.view(a).double() * block.view(b)).sum())
    return total
