"""How high weight matching can come at most: a bound that no permutation exceeds, and so an optimality gap.

The objective is a sum over blocks of weights. What a block gives depends on the permutations of all units along its
axes. With units i of A and j of B put at one place, it gives that place at most

    C[i, j] = max over sigma  <A_i, sigma(B_j)>,     sigma: any order of the units along the other axes,

whatever the neighbours do, each pair of units having them for itself. A block with several permuted axes is counted for
each of them, in equal parts; then each group of units takes its best assignment, on the sum of its C:

    max over pi  <A, pi(B)>  <=  sum over groups  max over pi_g  sum_i C_g[i, pi_g(i)].

Gilmore 1962 and Lawler 1963, of quadratic assignment. The maximum over sigma is an assignment too, for every pair of
units; where these are too many, each position within a kernel is ordered on its own, which is higher: with both sides
sorted the products are largest (Hardy, Littlewood and Polya 1934, the rearrangement inequality).
"""

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from starcli.alignment.matching.linear_assignment import assign
from starcli.alignment.matching.nested import GainTerm, best_permutations
from starcli.alignment.matching.stacks import Chain, ChainPlace, places_of
from starcli.errors import StarcliError
from starcli.models.state_dicts import computable
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation

Matrix = NDArray[np.float64]

FEW_PAIRS = 5_000_000
"""Largest (units x neighbours)^2 of a block for which an assignment is solved for every pair of units: seconds."""


def upper_bound(reference: Mapping[str, Tensor], model: Mapping[str, Tensor], spec: Resolved) -> float:
    """The inner product with `reference` that no permutation of `model` exceeds, up to rounding.

    Exact where no weight has units on two axes; equal to the objective where the model is a permuted reference. Between
    independent solutions it is loose, for neighbours would have to suit each pair of units.
    """
    rank = {name: number for number, name in enumerate(spec.groups)}
    total, gains = 0.0, dict[Chain, Matrix]()
    reference, model = spec.seen(reference), spec.seen(model)
    for name in spec.learnable():
        a, b = (computable(tensors[name].detach()).cpu().double() for tensors in (reference, model))
        if name not in spec.blocks:
            total += float((a * b).sum())
            continue
        for block in spec.blocks[name]:
            places = places_of(block, rank)
            if not places:
                total += float((block.view(a) * block.view(b)).sum())
            for place in places:
                others = [other for other in places if other is not place]
                parts = (_laid_out(block.view(side).numpy(), place, others) for side in (a, b))
                gains[place.chain] = gains.get(place.chain, 0.0) + _best_pairs(*parts) / len(places)
    return total + sum(_best({c: g for c, g in gains.items() if c.root == root}, spec) for root in spec.groups)


def check_bounded(method: str | None, *, uses_kinds: bool) -> None:
    """Raise StarcliError for an alignment that maximises something else than what the bound is of."""
    if uses_kinds:
        raise StarcliError("an upper bound is known over permutations, not over all kinds of symmetries")
    if method != "weight":
        raise StarcliError(
            f"an upper bound is known of the inner product that alignment by weight maximises, not of {method}"
        )


def optimality(
    reference: Mapping[str, Tensor], model: Mapping[str, Tensor], spec: Resolved, objective: float
) -> dict[str, float | None]:
    """`upper_bound`, and the `gap` to it, 1 - objective / upper_bound; None where the bound is not above 0."""
    bound = upper_bound(reference, model, spec)
    return {"upper_bound": bound, "gap": 1 - objective / bound if bound > 0 else None}


def _laid_out(values: Matrix, place: ChainPlace, others: list[ChainPlace]) -> Matrix:
    """A block as (units of `place`, units of all other places together, what is left: inputs and kernels)."""
    moving = [axis for other in others for axis in other.axes]
    still = [axis for axis in range(values.ndim) if axis not in place.axes and axis not in moving]
    neighbours = prod(values.shape[axis] for axis in moving)
    return values.transpose(*place.axes, *moving, *still).reshape(place.chain.size, neighbours, -1)


def _best_pairs(a: Matrix, b: Matrix) -> Matrix:
    """C[i, j] (units, units) of blocks (units, neighbours, rest): a bound of what i and j give beside each other."""
    units, neighbours, rest = a.shape
    if neighbours > 1 and rest > 1 and (units * neighbours) ** 2 <= FEW_PAIRS:
        order = np.arange(neighbours)
        found = np.empty((units, units))
        for i in range(units):
            for j in range(units):
                gains = a[i] @ b[j].T
                found[i, j] = gains[order, assign(gains)].sum()
        return found
    a, b = (np.sort(side, axis=1).reshape(units, -1) for side in (a, b))
    matrix: Matrix = a @ b.T
    return matrix


def _best(gains: Mapping[Chain, Matrix], spec: Resolved) -> float:
    """Largest sum of gains of one root and of the groups within it.

    Exact where no group has two others within it in one weight; else each weight may have permutations of its own.
    """
    if not gains:
        return 0.0
    if all(len(parents) == number for chain in gains for number, parents in enumerate(chain.parents)):
        names = {name for chain in gains for name in chain.groups}
        identity = {name: index.numpy() for name, index in Permutation.identity(spec).index.items() if name in names}
        return best_permutations([GainTerm(*each) for each in gains.items()], identity)[0]
    return sum(float(matrix[np.arange(len(matrix)), assign(matrix)].sum()) for matrix in gains.values())
