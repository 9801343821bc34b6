"""Coordinate descent over the groups: each in turn takes the best permutation while all others are held."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from starcli.alignment.matching.costs import Costs, MatchingState
from starcli.alignment.matching.families import Family
from starcli.alignment.matching.linear_assignment import EPS, Floats, Indices, assign
from starcli.alignment.matching.nested import GainTerm, best_permutations
from starcli.alignment.matching.problem import MatchingProblem

ROUNDING = 16 * EPS
"""Rounding error of a float32 inner product, as a share of the product of the norms; beyond the errors measured."""


MAX_SWEEPS = 100
"""Largest number of sweeps of a descent that is to end at an optimum."""


class Descent:
    """Descent in progress: the permutations so far, and the number of sweeps."""

    def __init__(self, problem: MatchingProblem, costs: Sequence[Costs], index: Mapping[str, Indices]) -> None:
        """Start at the permutations `index`."""
        self.problem, self.costs = problem, costs
        self.place(index)
        self.families = problem.layout.families
        sizes = problem.layout.spec.groups
        self.free = {i for i, each in enumerate(self.families) if any(sizes[name].size > 1 for name in each.groups)}
        self.sweeps = 0

    def place(self, index: Mapping[str, Indices]) -> None:
        """Continue at the permutations `index`."""
        self.state = MatchingState(self.problem.layout, index)

    def run(
        self, generator: np.random.Generator, most: int = MAX_SWEEPS, weight: float = 1.0, *, forward: bool = False
    ) -> None:
        """Sweep over all groups until none gains or `most` sweeps are done: in random order, or from the input on.

        With a `weight` other than 1, what makes a unit counts that much more than what it feeds. The objective may then
        fall: such sweeps are a detour, from which a run with weight 1 comes back to an optimum.
        """
        stale = set(self.free)
        for _ in range(most):
            if not stale:
                return
            self.sweeps += 1
            order = generator.permutation(sorted(stale)).tolist()
            if forward:
                order.sort(key=lambda i: self.families[i].depth)
            for i in order:
                stale.discard(i)
                if self.improve(self.families[i], weight):
                    stale |= self.free & set(self.families[i].neighbours)

    def improve(self, family: Family, weight: float) -> bool:
        """Match one family anew and return whether it moved."""
        costs = [self.costs[number] for number in family.stacks]
        gains: list[Floats | None]
        index: Mapping[str, Indices]
        if family.nested:
            terms = [each.term(self.state, weight) for each in costs]
            gains = [term.gains if isinstance(term, GainTerm) else None for term in terms]
            index = best_permutations(terms, {name: self.state.index[name] for name in family.groups})[1]
        else:
            costs[0].update(self.state)
            matrix = costs[0].gains(weight)
            gains, index = [matrix], {family.root: assign(matrix)}
        if all((self.state.index[name] == each).all() for name, each in index.items()):
            return False
        if weight != 1 or self._raises(family, index, gains):
            self.state.set(family, index)
            return True
        return False

    def _raises(self, family: Family, index: Mapping[str, Indices], gains: Sequence[Floats | None]) -> bool:
        """Whether a move raises the objective beyond rounding: by the costs where these tell, else in float64."""
        trial = {**self.state.index, **index}
        if family.quadratic:
            # the costs hold the family's other axis where it was: only the objective itself tells
            now = self.problem.value(family, self.state)
            then = self.problem.value(family, MatchingState(self.problem.layout, trial))
            return then - now > 1e-12 * (abs(now) + abs(then))
        gain, scale, noise = 0.0, 0.0, 0.0
        chains = [(number, self.problem.layout.stacks[number].chain.flat(trial)) for number in family.stacks]
        for (number, after), matrix in zip(chains, gains, strict=True):
            scale += self.problem.scale(number)
            if matrix is None:
                gain += self.problem.difference(number, self.state, after)
                continue
            before = self.state.chain(number)
            moved = np.flatnonzero(before != after)
            gain += float((matrix[moved, after[moved]].astype(np.float64) - matrix[moved, before[moved]]).sum())
            # the costs of both places of every unit that moves
            noise += 2 * len(moved) * self.costs[number].error ** 2
        if noise or abs(gain) > ROUNDING * scale:
            return gain > math.sqrt(noise)
        exact = sum(self.problem.difference(number, self.state, after) for number, after in chains)
        return exact > 1e-12 * scale
