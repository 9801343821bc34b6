"""Matching of groups within groups: parents by the best that their children can do, then the children of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from starcli.alignment.matching.linear_assignment import Floats, Indices, assign
from starcli.alignment.matching.stacks import Chain

NESTED_ROUNDS = 8
"""Largest number of rounds in which children of one parent take turns."""
GroupIndices = dict[str, Indices]
"""Permutation of each group."""


@dataclass(frozen=True, eq=False)
class GainTerm:
    """Part of the gains of the groups of `chain`: `gains[new, old]`, (size, size) over the chain's positions."""

    chain: Chain
    gains: Floats

    def inside(self, new: int, old: int) -> "GainTerm":
        """Rest of a term with one root once that root's units `new` and `old` are chosen."""
        rest = _inner(self.chain)
        step = rest.size
        return GainTerm(rest, self.gains[new * step : (new + 1) * step, old * step : (old + 1) * step])

    def held(self, root: int, index: Mapping[str, Indices]) -> "GainTerm":
        """Term in which only the root at position `root` and what lies within it are free; `index` holds the others."""
        own, other = _split(self.chain, root)
        order = (*own.axes, *other.axes)
        count = len(order)
        shaped = self.gains.reshape(self.chain.sizes * 2).transpose(*order, *(k + count for k in order))
        spread = shaped.reshape(own.chain.size, other.chain.size, own.chain.size, other.chain.size)
        at = np.arange(other.chain.size)
        return GainTerm(own.chain, spread[:, at, :, other.chain.flat(index)].sum(axis=0))

    def value(self, index: Mapping[str, Indices]) -> float:
        """Gains of one permutation."""
        return float(self.gains[np.arange(self.chain.size), self.chain.flat(index)].sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class LowRankGains:
    """Term as the product that makes it, gains = a^T b, never written out: for chains whose gains would not fit."""

    chain: Chain
    a: NDArray[np.float32]
    b: NDArray[np.float32]
    """Both (rows, size)."""

    def inside(self, new: int, old: int) -> "GainTerm | LowRankGains":
        """As of `GainTerm`; written out once a single group, or one around the others, is left."""
        rest = _inner(self.chain)
        step = rest.size
        a, b = self.a[:, new * step : (new + 1) * step], self.b[:, old * step : (old + 1) * step]
        return LowRankGains(rest, a, b) if len(_roots(rest)) > 1 else GainTerm(rest, a.T @ b)

    def held(self, root: int, index: Mapping[str, Indices]) -> GainTerm:
        """As of `GainTerm`."""
        own, other = _split(self.chain, root)
        order = (0, *(k + 1 for k in (*other.axes, *own.axes)))
        a, b = (
            side.reshape(-1, *self.chain.sizes).transpose(order).reshape(-1, other.chain.size, own.chain.size)
            for side in (self.a, self.b)
        )
        moved = b[:, other.chain.flat(index)]
        return GainTerm(own.chain, a.reshape(-1, own.chain.size).T @ moved.reshape(-1, own.chain.size))

    def value(self, index: Mapping[str, Indices]) -> float:
        """As of `GainTerm`."""
        return float(np.einsum("ri,ri->i", self.a, self.b[:, self.chain.flat(index)]).sum(dtype=np.float64))


AnyTerm = GainTerm | LowRankGains


@dataclass(frozen=True)
class _Part:
    """Some positions of a chain as a chain, and which they are."""

    chain: Chain
    axes: tuple[int, ...]


@lru_cache(maxsize=1024)
def _roots(chain: Chain) -> tuple[int, ...]:
    """Positions of the groups that lie within no other of the chain."""
    return tuple(k for k, parents in enumerate(chain.parents) if not parents)


@lru_cache(maxsize=1024)
def _inner(chain: Chain) -> Chain:
    """Chain without its root."""
    return _part(chain, tuple(range(1, len(chain.groups))))


def _part(chain: Chain, axes: tuple[int, ...]) -> Chain:
    """Some positions of a chain; parents that are left out are forgotten."""
    return Chain(
        tuple(chain.groups[k] for k in axes),
        tuple(tuple(axes.index(parent) for parent in chain.parents[k] if parent in axes) for k in axes),
        tuple(chain.sizes[k] for k in axes),
    )


@lru_cache(maxsize=1024)
def _split(chain: Chain, root: int) -> tuple[_Part, _Part]:
    """Root at position `root` with what lies within it, and the rest."""
    own = tuple(k for k, parents in enumerate(chain.parents) if root in (k, *parents))
    other = tuple(k for k in range(len(chain.groups)) if k not in own)
    return _Part(_part(chain, own), own), _Part(_part(chain, other), other)


def best_permutations(terms: Sequence[AnyTerm], current: Mapping[str, Indices]) -> tuple[float, GroupIndices]:
    """Permutations of one root group, and of all groups within it, that gain most over `terms`, all of that root.

    For every pair of units (new, old) of the root the best of its children is found; the assignment over these values
    decides the root. Exact where no term has two children of one parent. There the children take turns, and only for
    pairs that the root may come to choose. `current` is where all are now, one of the starts of those turns.
    """
    chain = terms[0].chain
    root, size = chain.groups[0], chain.sizes[0]
    values = np.zeros((size, size), dtype=np.float64)
    inner: list[AnyTerm] = []
    for term in terms:
        if len(term.chain.groups) > 1:
            inner.append(term)
        elif isinstance(term, GainTerm):
            values += term.gains
    if not inner:
        order = assign(values)
        return float(values[np.arange(size), order].sum()), {root: order}
    pairs = _Pairs(inner, root, size, current)
    order = pairs.settle(values)
    chosen = [pairs.found[new, int(order[new])] for new in range(size)]
    found = {name: np.stack([each[name] for each in chosen]) for name in chosen[0]}
    total = values + pairs.values
    return float(total[np.arange(size), order].sum()), {root: order, **found}


class _Pairs:
    """For every pair of units (new, old) of a root: the best permutations of its children, and what they gain."""

    def __init__(self, terms: Sequence[AnyTerm], root: str, size: int, current: Mapping[str, Indices]) -> None:
        self.terms, self.root, self.current = terms, root, current
        self.shared = any(len(_roots(_inner(term.chain))) > 1 for term in terms)
        self.values = np.zeros((size, size), dtype=np.float64)
        self.found: dict[tuple[int, int], GroupIndices] = {}
        for new in range(size):
            for old in range(size):
                known = bool(old == current[root][new])
                self.solve(new, old, turns=known, known=known)

    def solve(self, new: int, old: int, turns: bool, known: bool) -> None:
        """Match the children of one pair; `known`: `current` is about this pair, and not about other units' names."""
        here = {name: index[new] for name, index in self.current.items() if name != self.root}
        terms = [term.inside(new, old) for term in self.terms]
        self.values[new, old], self.found[new, old] = _children(terms, here, turns, known)

    def settle(self, values: NDArray[np.float64]) -> Indices:
        """Best assignment of the root; every pair chosen has had its turns, if its children need any."""
        done = {(new, int(old)) for new, old in enumerate(self.current[self.root])}
        while True:
            order = assign(values + self.values)
            rough = [(new, int(old)) for new, old in enumerate(order) if (new, int(old)) not in done]
            if not rough or not self.shared:
                return order
            for new, old in rough:
                self.solve(new, old, turns=True, known=False)
                done.add((new, old))


def _children(
    terms: Sequence[AnyTerm], current: Mapping[str, Indices], turns: bool, known: bool
) -> tuple[float, GroupIndices]:
    """Best permutations of several groups beside each other."""
    roots = list(dict.fromkeys(term.chain.groups[k] for term in terms for k in _roots(term.chain)))
    shared = [term for term in terms if len(_roots(term.chain)) > 1]
    bound = {term.chain.groups[k] for term in shared for k in _roots(term.chain)}
    single = {root: [term for term in terms if term not in shared and term.chain.groups[0] == root] for root in roots}
    total = 0.0
    found: GroupIndices = {}
    alone = dict(current)
    for root in roots:
        if not single[root]:
            continue
        value, index = best_permutations(single[root], _below(single[root], current))
        if root in bound:
            alone |= index
        else:
            total += value
            found |= index
    if not shared:
        return total, found
    turning = sorted(bound, key=lambda root: (bool(single[root]), roots.index(root)))
    starts = [current, alone] if known else [alone]
    tried = [_turns(turning, single, shared, start, NESTED_ROUNDS if turns else 0) for start in starts]
    value, index = max(tried, key=lambda each: each[0])
    return total + value, found | index


def _below(terms: Sequence[AnyTerm], current: Mapping[str, Indices]) -> GroupIndices:
    """Those of `current` that `terms` are about."""
    names = {name for term in terms for name in term.chain.groups}
    return {name: index for name, index in current.items() if name in names}


def _turns(
    roots: Sequence[str],
    single: Mapping[str, Sequence[AnyTerm]],
    shared: Sequence[AnyTerm],
    start: Mapping[str, Indices],
    rounds: int,
) -> tuple[float, GroupIndices]:
    """Coordinate ascent, from `start`, over groups that some term has in common."""
    index = dict(start)
    everything = [*shared, *(term for root in roots for term in single[root])]
    names = {name for term in everything for name in term.chain.groups}
    value = sum(term.value(index) for term in everything)
    for _ in range(rounds):
        before = value
        for root in roots:
            terms: list[AnyTerm] = [*single[root]]
            terms += [
                term.held(k, index) for term in shared for k in _roots(term.chain) if term.chain.groups[k] == root
            ]
            trial = index | best_permutations(terms, _below(terms, index))[1]
            reached = sum(term.value(trial) for term in everything)
            if reached > value:
                index, value = trial, reached
        if value - before <= 1e-7 * abs(before):
            break
    return value, {name: index[name] for name in names}
