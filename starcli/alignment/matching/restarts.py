"""Search for the best permutations: which descents to make, and from where.

Plain descent stops early: while most groups are not matched yet, what they say of their neighbours is noise. A few
sweeps in which one side of each unit counts much less (what makes it, or what it feeds) carry a match from layer to
layer; a plain descent then ends at an optimum of the true objective. A cold search makes one such detour in each
direction and keeps the better end; further rounds make detours from the best point so far with other weights.

Gain over the identity at equal time (0.5 to 1.2 s on one core), trained on digits, plain descents with random restarts
against this: ResNet-18 of width 16 62.8 and 68.2, WRN-22-2 73.9 and 78.3, DenseNet-40-12 1,074 and 1,145, a small ViT
326 and 330. Tried and left: noise on the costs (64.7, 74.5, -, 323), random permutations of some groups as detours
(67.6, 77.2, -, 318), all sweeps in network order (68.1, 78.0, 1,138, 324).

Waves (see `WAVES`) against one detour after the other, 10 rounds, mean of 16 seeds: ResNet-18 -0.1% ± 0.5%, WRN 0.0%,
DenseNet -0.1%, ViT 0.0%, MLP 0.0%; waves of 4 from the first on -1.4%, -0.2%, -0.4%, +0.1%, -0.1%. Weights in a fixed
order, far from each other, end 1% higher on ResNet-18 than weights drawn at random, if waves are wide.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from starcli.alignment.matching.costs import Costs
from starcli.alignment.matching.descent import MAX_SWEEPS, Descent
from starcli.alignment.matching.linear_assignment import Indices
from starcli.alignment.matching.problem import MatchingProblem
from starcli.runtime import sharing
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.threads import in_threads

COARSE_SWEEPS = 8
"""Largest number of sweeps on costs in 8 bits.

These need not agree between neighbours: descents on them could go round in circles.
"""


@dataclass(frozen=True)
class DetourEnd:
    """End of a detour: permutations by group, their objective, and the sweeps that led there."""

    objective: float
    index: Mapping[str, Indices]
    sweeps: int


@dataclass(frozen=True)
class Detour:
    """Sweeps in which what makes a unit counts `weight` times; `forward` in network order, else in random order."""

    weight: float
    sweeps: int
    forward: bool = False

    def go(
        self,
        problem: MatchingProblem,
        costs: Sequence[Costs],
        start: Mapping[str, Indices],
        generator: np.random.Generator,
    ) -> DetourEnd:
        """Make the detour from `start` and descend again, on copies of the coarse `costs`."""
        descent = Descent(problem, [each.reset_copy() for each in costs], start)
        descent.run(generator, self.sweeps, self.weight, forward=self.forward)
        descent.run(generator, COARSE_SWEEPS if problem.uses_int8 else MAX_SWEEPS)
        return DetourEnd(problem.objective(descent.state), descent.state.index, descent.sweeps)


FIRST = (Detour(0.1, 4), Detour(16.0, 2, forward=True))
"""Detours of a cold search: one in each direction."""
SIDE_BY_SIDE = 2**32
"""Bytes that the matrices of all detours on this machine's threads may take: 0.9 GB each on a ViT-B/16."""
LIGHTEST, HEAVIEST = 0.05, 20.0
"""Range of the weights of further detours."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Golden ratio: its multiples, modulo 1, lie far from each other."""
WAVES = (1, 1, 2, 4, 8)
"""Detours that begin at one point, in the first waves and in all after the last.

At first most find a better point, later few do. The numbers do not follow the machine, so that the result does not
either.
"""


def search(
    problem: MatchingProblem,
    start: Mapping[str, Indices],
    seed: int,
    rounds: int,
    cold: bool,
    progress: Progress = SILENT,
) -> tuple[dict[str, Indices], float, int]:
    """Find the best permutations; return them, their objective, and the number of sweeps. See `match_weights`.

    The detours of a wave are shared out over ranks and threads, which changes nothing in the result but rounding.
    Raises Interrupted before a detour where `progress` asks to stop.
    """
    generator = np.random.default_rng(seed)
    point = Descent(problem, problem.exact, start)
    sweeps, objective = 0, -math.inf
    if not cold and rounds > 1:
        point.run(generator)
        objective = problem.objective(point.state)
    for wave in waves(rounds - 1, cold):
        ends = _ends(problem, point.state.index, wave, seed, progress)
        sweeps += sum(end.sweeps for end in ends)
        best = max(ends, key=lambda end: end.objective)
        if best.objective > objective:
            point.place(best.index)
            objective = best.objective
    point.run(generator)
    objective = problem.objective(point.state)
    if cold and objective < problem.at_identity + 1e-5 * abs(problem.at_identity):
        plain = Descent(problem, problem.exact, start)
        plain.run(generator)
        sweeps += plain.sweeps
        reached = problem.objective(plain.state)
        if reached >= objective:
            return plain.state.index, reached, sweeps + point.sweeps
    return point.state.index, objective, sweeps + point.sweeps


def wave_sizes(restarts: int) -> list[int]:
    """Number of detours in each wave of a cold search: pieces that ranks can share."""
    return [len(wave) for wave in waves(restarts - 1, cold=restarts > 0)]


def waves(rounds: int, cold: bool) -> Iterator[list[tuple[int, Detour]]]:
    """All detours of a search, numbered, those of a wave together; weights as far from each other as they can be."""
    if cold:
        yield list(enumerate(FIRST))
    first, wave = len(FIRST), 0
    while rounds > 0:
        count = min(rounds, WAVES[min(wave, len(WAVES) - 1)])
        numbers = range(first, first + count)
        yield [(n, Detour(LIGHTEST * (HEAVIEST / LIGHTEST) ** ((0.5 + n * GOLDEN) % 1), 2)) for n in numbers]
        first, wave, rounds = first + count, wave + 1, rounds - count


def _ends(
    problem: MatchingProblem,
    start: Mapping[str, Indices],
    wave: Sequence[tuple[int, Detour]],
    seed: int,
    progress: Progress,
) -> list[DetourEnd]:
    """Ends of the detours of a wave, each of which draws from a generator of its own."""
    costs = problem.coarse

    def end(numbered: tuple[int, Detour]) -> DetourEnd:
        progress.stop_if_asked()
        number, detour = numbered
        # not [seed, 0], which is the stream of `seed` itself
        return detour.go(problem, costs, start, np.random.default_rng([seed, 1 + number]))

    threads = min(torch.get_num_threads(), max(1, SIDE_BY_SIDE // max(1, sum(each.size for each in costs))))
    return sharing.share_pieces(wave, lambda own: list(in_threads(end, own, threads)))
