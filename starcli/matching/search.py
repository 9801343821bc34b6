"""Which descents to make, and from where.

Plain descent stops early: while most groups are not matched yet, what they say of their neighbours is noise. A few
sweeps in which one side of each unit counts much less (what makes it, or what it feeds) carry a match from layer to
layer; a plain descent then ends at an optimum of the true objective. The search starts with such a detour and goes on
with others from the best point so far, each with a weight drawn anew. Gain over the identity, at equal time, from
plain descents (restarted at random) and from this: ResNet-18 of width 16 62.8 and 69.7, WRN-22-2 73.9 and 78.3, a
small ViT 326 and 330, DenseNet-40-12 1,074 and 1,142 (trained on digits; 0.8 to 1.5 s each).
"""

import math
from collections.abc import Mapping

import numpy as np

from starcli.matching.assignment import Indices
from starcli.matching.costs import Problem, State
from starcli.matching.descent import Descent

FIRST = (0.1, 4)
"""Weight of what makes a unit against what it feeds, and sweeps, of the first detour of a cold search."""
LATER = (0.05, 20.0, 2)
"""Range of weights, drawn log-uniformly, and sweeps of the later detours."""
COARSE_SWEEPS = 8
"""Costs in 8 bits need not agree between neighbours: descents on them could go round in circles."""


def search(
    problem: Problem,
    start: Mapping[str, Indices],
    generator: np.random.Generator,
    rounds: int,
    max_sweeps: int,
    cold: bool,
) -> tuple[dict[str, Indices], float, int]:
    """The best permutations found, their objective, and the number of sweeps. See `match_weights`."""
    point = Descent(problem, problem.exact, start)
    sweeps = 0
    if cold:
        weight, detour = FIRST
        point.state, swept = _detour(problem, point, generator, weight, min(detour, max_sweeps), max_sweeps)
        sweeps += swept
    elif rounds > 1:
        point.run(generator, max_sweeps)
    objective = problem.objective(point.state) if rounds > 1 else 0.0
    for _ in range(rounds - 1):
        low, high, detour = LATER
        weight = math.exp(generator.uniform(math.log(low), math.log(high)))
        state, swept = _detour(problem, point, generator, weight, min(detour, max_sweeps), max_sweeps)
        sweeps += swept
        reached = problem.objective(state)
        if reached > objective:
            point.state, objective = state, reached
    point.run(generator, max_sweeps)
    objective = problem.objective(point.state)
    if cold and objective < problem.at_identity + 1e-5 * abs(problem.at_identity):
        straight = Descent(problem, problem.exact, start)
        straight.run(generator, max_sweeps)
        sweeps += straight.sweeps
        reached = problem.objective(straight.state)
        if reached >= objective:
            return straight.state.index, reached, sweeps + point.sweeps
    return point.state.index, objective, sweeps + point.sweeps


def _detour(
    problem: Problem, point: Descent, generator: np.random.Generator, weight: float, detour: int, max_sweeps: int
) -> tuple[State, int]:
    """From `point` with a weight other than 1, and down again; on coarse costs. The end, and the sweeps made."""
    trial = Descent(problem, problem.coarse, point.state.index)
    trial.run(generator, detour, weight)
    trial.run(generator, max_sweeps if problem.coarse is problem.exact else min(COARSE_SWEEPS, max_sweeps))
    return trial.state, trial.sweeps
