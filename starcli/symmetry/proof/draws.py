"""The permutations that a proof tries: few, but a function that they leave unchanged is unchanged by all."""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation

SMALL_GROUP = 4
"""Most units of a group whose random permutations are likely to agree by chance with those of another group."""

CHANCE = 1e-6
"""Chance that two groups within others move alike, from which on they do not leave it to chance."""


def proof_permutations(spec: Resolved, generator: torch.Generator) -> list[Permutation]:
    """The permutations that a proof tries, at least two.

    Every group is moved by a random cycle through all its units in one of them, and in another by a swap of two units
    that follow each other in that cycle (in each parent; further ones are random; of two units the swap is the cycle).

    A cycle and such a swap generate every permutation: a function that both leave alone at generic weights has all of
    the group's symmetries, where random permutations leave alone with probability 1/n what has one unit less to move.
    All groups move together, but no two of as many units, up to SMALL_GROUP, in the same way at all times, or it would
    not show that they may only move together: each has a cycle of its own, or draws of its own in which it moves. So do
    groups within others, where these are so few that random moves in all of them are likely to agree.
    """
    groups = [name for name, group in spec.groups.items() if group.size > 1]
    sizes = range(2, SMALL_GROUP + 1)
    small = {n: [name for name in groups if spec.index_shape(name) == (n,)] for n in sizes}
    inner = {n: [name for name in groups if _agrees_by_chance(spec.index_shape(name), n)] for n in sizes}
    count = 2
    while any(len(names) > sum(1 for _ in _ways(n, count)) for n, names in small.items()) or any(
        len(names) > sum(1 for _ in _times(count)) for names in inner.values()
    ):
        count += 1
    ways, times = {n: _ways(n, count) for n in sizes}, {n: _times(count) for n in sizes}
    made = [dict(Permutation.identity(spec).index) for _ in range(count)]
    for name in groups:
        n = spec.groups[name].size
        order = torch.rand(spec.index_shape(name), generator=generator, dtype=torch.float64).argsort(dim=-1)
        chosen: Sequence[int] = (0, 1)
        if name in small.get(n, ()):
            chosen, own = next(ways[n])
            order = torch.tensor(own)
        elif name in inner.get(n, ()):
            chosen = next(times[n])
        for number, index in zip(chosen, _moves(order, generator, len(chosen)), strict=True):
            made[number][name] = index
    return [Permutation(spec, index) for index in made]


def _agrees_by_chance(shape: tuple[int, ...], n: int) -> bool:
    """Whether random moves of two groups of n units, of this shape (parents..., n), agree with a chance of note.

    Of two units half of the parents' are swapped, of more a cycle is drawn for each parent, and where it is swapped.
    """
    parents = math.prod(shape[:-1])
    ways = math.comb(parents, parents // 2) if n == 2 else (math.factorial(n - 1) * n) ** parents
    return len(shape) > 1 and shape[-1] == n and ways < 1 / CHANCE


def _times(count: int) -> Iterator[tuple[int, ...]]:
    """Sets of two draws or more, in which a group may move."""
    for k in range(2, count + 1):
        yield from itertools.combinations(range(count), k)


def _ways(n: int, count: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ways for n units to move in `count` draws, no two alike: in which draws, and in which order the cycle goes.

    Of two units a cycle is a swap, which generates all: one draw may do.
    """
    orders = [(0, 1)] if n == 2 else list(itertools.permutations(range(n)))
    for k in range(min(n, 3) - 1, count + 1):
        for chosen in itertools.combinations(range(count), k):
            yield from ((chosen, order) for order in orders)


def _moves(order: Tensor, generator: torch.Generator, count: int) -> list[Tensor]:
    """A cycle in the given order (parents..., n), a swap, and then random permutations, `count` in all."""
    cycle = torch.empty_like(order).scatter_(-1, order, order.roll(-1, dims=-1))
    swap = torch.arange(order.shape[-1]).expand(order.shape).clone()
    swap = swap.scatter_(-1, order[..., :2], order[..., :2].flip(-1))
    if order.shape[-1] == 2 and order.dim() > 1:
        # the cycle is the same swap: here in some of the parents only, or none would tell them apart
        rows = swap.view(-1, 2)
        rows[torch.randperm(len(rows), generator=generator)[: len(rows) // 2]] = torch.arange(2)
    made = [cycle, swap]
    while len(made) < count:
        made.append(torch.rand(order.shape, generator=generator, dtype=torch.float64).argsort(dim=-1))
    return made[:count]
