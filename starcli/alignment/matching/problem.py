"""Matching problems: the weights of a reference and of a model side by side, and the objective of any permutation."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from starcli.alignment.matching.costs import WIDENED, CoarseCosts, Costs, MatchingState, multiplies_bytes, selected
from starcli.alignment.matching.families import Family, matching_layout
from starcli.alignment.matching.linear_assignment import Indices
from starcli.symmetry.archspec.resolved import Resolved

LARGE_PRODUCT = 1 << 22
"""Problems of at least this many elements are worth rounding to 8 bits, or handing to a GPU."""
GPU_COPIES, GPU_SHARE = 6, 8
"""A model that is matched on a GPU takes so many times its memory there; all at a time no more than 1 / GPU_SHARE."""


def costs_device(spec: Resolved, device: torch.device, precision: str) -> torch.device:
    """Where models of a network on `device` are matched: on a GPU large ones, as many at a time as there are threads.

    A rule of sizes alone, not of what is free, so that the same line computes in the same place each time. Never in
    TF32, whose products tell too little.
    """
    count = sum(math.prod(spec.shapes[name]) for name in spec.learnable())
    if device.type != "cuda" or precision == "tf32" or count < LARGE_PRODUCT:
        return torch.device("cpu")
    _, whole = torch.cuda.mem_get_info(device)
    fits = torch.get_num_threads() * GPU_COPIES * 4 * count <= whole // GPU_SHARE
    return device if fits else torch.device("cpu")


class StackedModel:
    """A model's weights, laid out as stacks for matching. Serves any number of matchings."""

    def __init__(self, spec: Resolved, tensors: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Fill the stacks of `spec` from the learnable parameters among `tensors`, on a device of their own."""
        self.layout, tensors = matching_layout(spec), spec.seen(tensors)
        self.tensors = {name: tensors[name].detach().to(device) for name in spec.learnable()}
        self.stacks = tuple(stack.fill(self.tensors) for stack in self.layout.stacks)

    def refill_(self) -> None:
        """Lay the weights out anew, which are contiguous and were changed in place."""
        self.__dict__.pop("norms", None)
        torch._foreach_copy_(*self._parts)

    @cached_property
    def _parts(self) -> tuple[list[Tensor], list[Tensor]]:
        """Parts of the stacks, and the weights that belong there."""
        filled = zip(self.layout.stacks, self.stacks, strict=True)
        parts = [part for stack, tensor in filled for part in stack.parts(tensor, self.tensors)]
        return [part for part, _ in parts], [values for _, values in parts]

    @cached_property
    def norms(self) -> tuple[float, ...]:
        """L2 norm of each stack."""
        return tuple(float(torch.linalg.vector_norm(stack)) for stack in self.stacks)


class MatchingProblem:
    """A reference and a model under one spec: what descents work on."""

    def __init__(self, reference: StackedModel, model: StackedModel) -> None:
        """Pair the stacks of the two."""
        self.layout = reference.layout
        self.sides = reference, model
        self.pairs = tuple(zip(self.layout.stacks, reference.stacks, model.stacks, strict=True))

    @cached_property
    def constant(self) -> float:
        """Part of the objective that nothing moves."""
        reference, model = self.sides
        return _constant(self.layout.spec, reference.tensors, model.tensors)

    @cached_property
    def exact(self) -> tuple[Costs, ...]:
        """Costs in float32; split where detours use them too."""
        return tuple(Costs(*pair, split=not self.uses_int8) for pair in self.pairs)

    @cached_property
    def uses_int8(self) -> bool:
        """Whether detours use costs in 8 bits: on large problems, where the processor multiplies those faster."""
        stacks = self.sides[0].stacks
        large = sum(stack.numel() for stack in stacks) >= LARGE_PRODUCT
        return large and stacks[0].device.type == "cpu" and multiplies_bytes()

    @cached_property
    def coarse(self) -> tuple[Costs, ...]:
        """Costs for detours, in 8 bits or exact; each detour works on copies, so that several can go side by side."""
        if not self.uses_int8:
            return self.exact
        return tuple(
            costs if costs.wide else CoarseCosts(*pair) for costs, pair in zip(self.exact, self.pairs, strict=True)
        )

    @cached_property
    def at_identity(self) -> float:
        """Objective where nothing moves, approximately: summed in float32."""
        reference, model = (side.tensors for side in self.sides)
        return sum(
            float(torch.dot(each.float().flatten(), model[name].float().flatten())) for name, each in reference.items()
        )

    def scale(self, number: int) -> float:
        """Product of the norms of the two stacks: a bound of every inner product of parts of them."""
        reference, model = self.sides
        return reference.norms[number] * model.norms[number]

    def objective(self, state: MatchingState) -> float:
        """Inner product of the reference and the permuted model over all learnable parameters, in float64."""
        total = self.constant
        for number, (stack, a, b) in enumerate(self.pairs):
            total += _product(a, b, stack.counted, stack.rows_of(state.flat), state.chain(number))
        return total

    def value(self, family: Family, state: MatchingState) -> float:
        """Part of the objective in which a family takes part, in float64."""
        total = 0.0
        for number in family.stacks:
            stack, a, b = self.pairs[number]
            rows = stack.rows_of(state.flat)
            total += _product(a, b, [(0, len(rows))], rows, state.chain(number), stack.share)
        return total

    def difference(self, number: int, state: MatchingState, after: Indices) -> float:
        """Gain of the stack's blocks, in float64, when its chain moves from where it is to `after`."""
        (stack, a, b), before = self.pairs[number], state.chain(number)
        moved = np.flatnonzero(before != after)
        rows = stack.rows_of(state.flat)
        new, old = (selected(selected(b, each[moved], 1), rows) for each in (after, before))
        return float((selected(a, moved, 1).double() * (new.double() - old)).sum())


def _product(
    a: Tensor,
    b: Tensor,
    ranges: Sequence[tuple[int, int]],
    rows: Indices,
    columns: Indices,
    share: NDArray[np.float64] | None = None,
) -> float:
    """Compute sum over r in `ranges` and i of share[r] a[r, i] b[rows[r], columns[i]], in float64."""
    total, step = 0.0, max(1, WIDENED[a.device.type] // max(1, a.shape[1]))
    chosen, order = (torch.from_numpy(each).to(a.device) for each in (rows, columns))
    weights = None if share is None else torch.from_numpy(share).to(a.device)
    for start, stop in ranges:
        for first in range(start, stop, step):
            part = slice(first, min(stop, first + step))
            here = a[part].double()
            if weights is not None:
                here *= weights[part, None]
            there = b.index_select(0, chosen[part]).index_select(1, order).double()
            total += float(torch.dot(here.view(-1), there.view(-1)))
    return total


def _constant(spec: Resolved, reference: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> float:
    """Inner product over learnable parameters that nothing moves."""
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
