"""Coordinate descent over the groups: each in turn takes the best permutation while all others are held."""

from collections.abc import Mapping

import numpy as np

from starcli.matching.assignment import Indices, assign
from starcli.matching.costs import EPS, Problem, State
from starcli.matching.layout import Family
from starcli.matching.nested import Term, best


class Descent:
    """A point of the search: the permutations so far, and the families with neighbours that moved since."""

    def __init__(self, problem: Problem, index: Mapping[str, Indices]) -> None:
        self.problem = problem
        self.state = State(problem.layout, index)
        self.families = problem.layout.families
        self.stale = {i for i, family in enumerate(self.families) if self._free(family)}

    def _free(self, family: Family) -> bool:
        return any(self.problem.layout.spec.groups[name].size > 1 for name in family.groups)

    def run(self, generator: np.random.Generator, max_sweeps: int, weight: float = 1.0) -> int:
        """Sweep, in random order, until no family gains; returns the number of sweeps.

        With a `weight` other than 1 the blocks that make a unit count that much more than those that it feeds; the
        objective may then fall, so such sweeps end after `max_sweeps` at the latest and a plain run should follow.
        """
        for sweep in range(max_sweeps):
            todo = sorted(self.stale)
            if not todo:
                return sweep
            for i in generator.permutation(todo).tolist():
                self.stale.discard(i)
                if self.improve(self.families[i], weight):
                    self.stale |= {k for k in self.families[i].neighbours if self._free(self.families[k])}
        return max_sweeps

    def improve(self, family: Family, weight: float = 1.0) -> bool:
        """Match one family anew; whether it moved."""
        costs = [self.problem.costs[number] for number in family.stacks]
        for each in costs:
            each.update(self.state)
        gains = [each.gains(weight).numpy() for each in costs]
        if family.nested:
            terms = [Term.of(each.stack.chain, gain) for each, gain in zip(costs, gains, strict=True)]
            current = {name: self.state.index[name] for name in family.groups}
            index = best(terms, current)[1]
        else:
            index = {family.root: assign(gains[0])}
        if all(np.array_equal(self.state.index[name], each) for name, each in index.items()):
            return False
        if weight != 1 or self._gains(family, index):
            self.state.set(family, index)
            return True
        return False

    def _gains(self, family: Family, index: Mapping[str, Indices]) -> bool:
        """Whether a move raises the objective beyond rounding: by the costs where that is clear, else in float64."""
        problem, old = self.problem, self.state
        if not family.quadratic:
            gain, doubt = 0.0, 0.0
            for number in family.stacks:
                chain, costs = problem.layout.stacks[number].chain, problem.costs[number]
                before, after = old.chain(number), chain.flat({**old.index, **index})
                moved = np.flatnonzero(before != after)
                matrix = costs.gains().numpy()
                gain += float((matrix[moved, after[moved]].astype(np.float64) - matrix[moved, before[moved]]).sum())
                a, b = problem.reference.norms[number], problem.model.norms[number]
                doubt += float((a[moved] * (b[after[moved]] + b[before[moved]])).sum())
            if abs(gain) > 64 * EPS * doubt:
                return gain > 0
        trial = State(problem.layout, {**old.index, **index})
        before_value = problem.family_value(family, old)
        after_value = problem.family_value(family, trial)
        return after_value - before_value > 1e-12 * (abs(before_value) + abs(after_value))
