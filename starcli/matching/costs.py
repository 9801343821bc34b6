"""Two models laid out for matching, and cost matrices that are kept up to date where neighbours moved."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from starcli.archspec import Resolved
from starcli.matching.assignment import Indices
from starcli.matching.layout import Family, Layout, Stack, layout

EPS = float(np.finfo(np.float32).eps)
CHUNK = 1 << 20
"""Elements that are widened to float64 at once."""


class Side:
    """One model's stacks, and the share of the objective that nothing can change. Serves any number of matchings."""

    def __init__(self, spec: Resolved, tensors: Mapping[str, Tensor]) -> None:
        self.layout = layout(spec)
        self.tensors = tensors
        self.stacks = tuple(stack.fill(tensors) for stack in self.layout.stacks)
        self.norms = tuple(stack.norm(dim=0).numpy().astype(np.float64) for stack in self.stacks)


class State:
    """The permutations of all groups, and those of all chains, concatenated."""

    def __init__(self, made: Layout, index: Mapping[str, Indices]) -> None:
        self.layout = made
        self.index = {name: np.array(each, dtype=np.int64) for name, each in index.items()}
        self.flat = np.concatenate([np.zeros(0, np.int64), *(stack.chain.flat(self.index) for stack in made.stacks)])

    def chain(self, number: int) -> Indices:
        """The permutation of the chain of stack `number`."""
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
        self.updates = 0

    def update(self, state: State) -> None:
        """Bring the matrices up to the other chains' present permutations."""
        source = self.stack.source(state.flat)
        still, middle = self.stack.fixed_rows, self.stack.output_rows
        for part, start, stop in ((0, 0, middle - still), (1, middle - still, len(source))):
            changed = np.flatnonzero(source[start:stop] != self.source[start:stop])
            if not len(changed):
                continue
            if 2 * len(changed) < stop - start and self.source[start] >= 0:
                self._add(part, changed + start, source)
            else:
                self._fill(part, start, stop, source)
        self.source = source

    def _gather(self, rows: Indices) -> Tensor:
        out = self.scratch[: len(rows) * self.stack.chain.size].view(len(rows), -1)
        return torch.index_select(self.b, 0, torch.from_numpy(rows), out=out)

    def _fill(self, part: int, start: int, stop: int, source: Indices) -> None:
        a = self.a[self.stack.fixed_rows :][start:stop]
        torch.mm(a.T, self._gather(source[start:stop]), out=self.parts[part])
        self.updates = 0

    def _add(self, part: int, changed: Indices, source: Indices) -> None:
        a = self.a.index_select(0, torch.from_numpy(changed + self.stack.fixed_rows))
        difference = self._gather(source[changed]) - self.b.index_select(0, torch.from_numpy(self.source[changed]))
        self.parts[part].addmm_(a.T, difference)
        self.updates += 1

    def gains(self, weight: float = 1.0) -> Tensor:
        """The cost matrix (size, size) with the parts of output axes taken `weight` times."""
        return torch.add(self.fixed, self.parts[1]).add_(self.parts[0], alpha=weight)

    def rows(self) -> Tensor:
        """For every row of the reference the row of the model that belongs there, at the last update."""
        return torch.from_numpy(np.concatenate([np.arange(self.stack.fixed_rows), self.source]))


class Problem:
    """A reference and a model under one spec: what a descent works on. Not shared between threads."""

    def __init__(self, reference: Side, model: Side) -> None:
        self.layout = reference.layout
        self.reference, self.model = reference, model
        scratch = torch.empty(max((stack.numel() for stack in reference.stacks), default=0))
        self.costs = tuple(
            Costs(stack, a, b, scratch)
            for stack, a, b in zip(self.layout.stacks, reference.stacks, model.stacks, strict=True)
        )
        self.constant = _constant(self.layout.spec, reference.tensors, model.tensors)

    def objective(self, state: State) -> float:
        """The inner product of the reference and the permuted model over all learnable parameters, in float64."""
        total = self.constant
        for number, costs in enumerate(self.costs):
            costs.update(state)
            rows, columns = costs.rows(), torch.from_numpy(state.chain(number))
            for piece in costs.stack.pieces:
                if piece.counted:
                    total += product(costs.a, costs.b, torch.arange(piece.start, piece.stop), rows, columns)
        return total

    def family_value(self, family: Family, state: State) -> float:
        """The part of the objective that a family takes part in, in float64."""
        total = 0.0
        for number in family.stacks:
            costs = self.costs[number]
            costs.update(state)
            rows, columns = costs.rows(), torch.from_numpy(state.chain(number))
            share = torch.from_numpy(costs.stack.share)
            total += product(costs.a, costs.b, torch.arange(len(rows)), rows, columns, share)
        return total


def product(a: Tensor, b: Tensor, at: Tensor, rows: Tensor, columns: Tensor, share: Tensor | None = None) -> float:
    """sum over r in `at` and i of share[r] a[r, i] b[rows[r], columns[i]], in float64."""
    total = 0.0
    for part in torch.split(at, max(1, CHUNK // max(1, a.shape[1]))):
        permuted = b.index_select(0, rows[part]).index_select(1, columns)
        each = (a.index_select(0, part).double() * permuted).sum(dim=1)
        total += float(each.sum() if share is None else each @ share[part])
    return total


def _constant(spec: Resolved, reference: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> float:
    """The inner product over learnable parameters that nothing moves."""
    total = 0.0
    for name in spec.learnable():
        if name not in spec.blocks:
            total += float(reference[name].detach().double().flatten() @ model[name].detach().double().flatten())
            continue
        for block in spec.blocks[name]:
            if not any(block.groups):
                total += float((block.view(reference[name].detach()).double() * block.view(model[name].detach())).sum())
    return total
