"""Groups within groups: parents matched by the best that their children can do, then the children of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from starcli.matching.assignment import Floats, Indices, assign
from starcli.matching.layout import Chain

ROUNDS = 8
Found = dict[str, Indices]


@dataclass(frozen=True)
class Term:
    """A part of the gains: `gains[new..., old...]`, one axis for each group, first all new, then all old."""

    groups: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    gains: Floats

    @classmethod
    def of(cls, chain: Chain, gains: Floats) -> "Term":
        return cls(chain.groups, chain.parents, gains.reshape(chain.sizes * 2))

    @property
    def roots(self) -> tuple[int, ...]:
        """Positions of the groups that lie within no other of this term."""
        return tuple(k for k, parents in enumerate(self.parents) if not parents)

    def inside(self, new: int, old: int) -> "Term":
        """What is left of a term with one root once that root's units `new` and `old` are chosen."""
        own = len(self.groups)
        picked = self.gains[new].take(old, axis=own - 1)
        parents = tuple(tuple(k - 1 for k in each if k) for each in self.parents[1:])
        return Term(self.groups[1:], parents, picked)

    def held(self, root: int, index: Mapping[str, Indices]) -> "Term":
        """The term with only the root at position `root` and what lies within it free; `index` holds the others."""
        count = len(self.groups)
        own = [k for k in range(count) if root in (k, *self.parents[k])]
        other = [k for k in range(count) if k not in own]
        sizes = self.gains.shape[:count]
        order = [*own, *other, *(k + count for k in own), *(k + count for k in other)]
        mine, theirs = prod(sizes[k] for k in own), prod(sizes[k] for k in other)
        spread = self.gains.transpose(order).reshape(mine, theirs, mine, theirs)
        chain = _part(self, other)
        gains = spread[:, np.arange(theirs), :, chain.flat(index)].sum(axis=0)
        kept = _part(self, own)
        return Term.of(kept, gains)

    def value(self, index: Mapping[str, Indices]) -> float:
        """The gains of one permutation."""
        count = len(self.groups)
        chain = _part(self, list(range(count)))
        square = self.gains.reshape(chain.size, chain.size)
        return float(square[np.arange(chain.size), chain.flat(index)].sum(dtype=np.float64))


def _part(term: Term, axes: list[int]) -> Chain:
    """Some axes of a term, closed under parents, as a chain."""
    return Chain(
        tuple(term.groups[k] for k in axes),
        tuple(tuple(axes.index(parent) for parent in term.parents[k]) for k in axes),
        tuple(term.gains.shape[k] for k in axes),
    )


def best(terms: list[Term], current: Mapping[str, Indices]) -> tuple[float, Found]:
    """The permutation of one root group, and of all groups within it, that gains most over `terms`, all of that root.

    For every pair of units (new, old) of the root the best of its children is found; the assignment over these values
    decides the root. Exact where no term bears two children of one parent; there the children take turns.
    `current` is where they are now, one of the starts of those turns.
    """
    root = terms[0].groups[0]
    leaves = [term.gains for term in terms if len(term.groups) == 1]
    inner = [term for term in terms if len(term.groups) > 1]
    size = terms[0].gains.shape[0]
    values = np.zeros((size, size), dtype=np.float64)
    for leaf in leaves:
        values += leaf
    if not inner:
        order = assign(values)
        return float(values[np.arange(size), order].sum()), {root: order}
    children: dict[tuple[int, int], Found] = {}
    for new in range(size):
        here = {name: index[new] for name, index in current.items() if name != root}
        for old in range(size):
            known = old == current[root][new]
            value, children[new, old] = _children([term.inside(new, old) for term in inner], here, known)
            values[new, old] += value
    order = assign(values)
    chosen = [children[new, int(order[new])] for new in range(size)]
    found = {name: np.stack([each[name] for each in chosen]) for name in chosen[0]}
    return float(values[np.arange(size), order].sum()), {root: order, **found}


def _children(terms: list[Term], current: Mapping[str, Indices], known: bool) -> tuple[float, Found]:
    """The best permutations of several groups beside each other.

    `current` is one more start for groups that some term bears together, if it is `known` to be of this pair of units:
    names of units mean nothing between others.
    """
    roots = list(dict.fromkeys(term.groups[k] for term in terms for k in term.roots))
    single = {root: [term for term in terms if len(term.roots) == 1 and term.groups[0] == root] for root in roots}
    shared = [term for term in terms if len(term.roots) > 1]
    bound = {term.groups[k] for term in shared for k in term.roots}
    total = 0.0
    found: Found = {}
    for root in roots:
        if root not in bound:
            value, index = best(single[root], _below(root, single[root], current))
            total += value
            found |= index
    if not shared:
        return total, found
    turning = sorted((root for root in roots if root in bound), key=lambda root: bool(single[root]))
    alone = dict(current)
    for root in turning:
        if single[root]:
            alone |= best(single[root], _below(root, single[root], current))[1]
    tried = [_turns(turning, single, shared, start) for start in ([current, alone] if known else [alone])]
    value, index = max(tried, key=lambda each: each[0])
    return total + value, found | index


def _below(root: str, terms: list[Term], current: Mapping[str, Indices]) -> Found:
    names = {name for term in terms for name in term.groups} | {root}
    return {name: index for name, index in current.items() if name in names}


def _turns(
    roots: list[str],
    single: Mapping[str, list[Term]],
    shared: list[Term],
    start: Mapping[str, Indices],
) -> tuple[float, Found]:
    """Coordinate ascent, from `start`, over groups that some term bears together."""
    index = dict(start)
    everything = [*shared, *(term for root in roots for term in single[root])]
    names = {name for term in everything for name in term.groups}
    value = sum(term.value(index) for term in everything)
    for _ in range(ROUNDS):
        before = value
        for root in roots:
            terms = single[root] + [
                term.held(k, index) for term in shared for k in term.roots if term.groups[k] == root
            ]
            trial = index | best(terms, _below(root, terms, index))[1]
            reached = sum(term.value(trial) for term in everything)
            if reached > value:
                index, value = trial, reached
        if value <= before * (1 + 1e-9) if before > 0 else value <= before + 1e-12:
            break
    return value, {name: index[name] for name in names}
