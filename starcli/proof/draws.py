"""Which permutations a proof tries: few, but such that what leaves the function alone under them does under all."""

import itertools

import torch
from torch import Tensor

from starcli.archspec import Resolved
from starcli.permutation import Permutation

SMALL = 4
"""Units of a group in which random permutations are likely to agree by chance with those of another group."""


def draws(spec: Resolved, generator: torch.Generator) -> list[Permutation]:
    """At least two permutations. Every group is moved by a random cycle through all its units in one of them, and in
    another by a swap of two units that follow each other in that cycle (in each parent; further ones are random).

    A cycle and such a swap generate every permutation: a function that both leave alone at generic weights has all of
    the group's symmetries, where random permutations leave alone with probability 1/n what has one unit less to move.
    All groups move together, but each of up to SMALL units in a choice of draws of its own: two of them that may only
    move together would always agree if both had two units and moved in each draw.
    """
    groups = [name for name, group in spec.groups.items() if group.size > 1]
    small = [name for name in groups if spec.groups[name].size <= SMALL]
    count = 2
    while 2**count - count - 1 < len(small):  # choices of two draws or more
        count += 1
    choices = (each for k in range(2, count + 1) for each in itertools.combinations(range(count), k))
    when = dict.fromkeys(groups, (0, 1)) | dict(zip(small, choices, strict=False))
    made = [dict(Permutation.identity(spec).index) for _ in range(count)]
    for name, chosen in when.items():
        for number, index in zip(chosen, _moves(spec.index_shape(name), len(chosen), generator), strict=True):
            made[number][name] = index
    return [Permutation(spec, index) for index in made]


def _moves(shape: tuple[int, ...], count: int, generator: torch.Generator) -> list[Tensor]:
    """A cycle, a swap and as many random permutations as it takes, each of the shape (parents..., n)."""
    order = torch.rand(shape, generator=generator, dtype=torch.float64).argsort(dim=-1)
    cycle = torch.empty_like(order).scatter_(-1, order, order.roll(-1, dims=-1))
    still = torch.arange(shape[-1]).expand(shape)
    swap = still.clone().scatter_(-1, order[..., :2], order[..., :2].flip(-1))
    if shape[-1] == 2 and len(shape) > 1:
        # the cycle is the same swap: here in some of the parents only, or none would tell them apart
        rows = swap.view(-1, 2)
        rows[torch.randperm(len(rows), generator=generator)[: len(rows) // 2]] = torch.arange(2)
    more = [torch.rand(shape, generator=generator, dtype=torch.float64).argsort(dim=-1) for _ in range(count - 2)]
    return [cycle, swap, *more]
