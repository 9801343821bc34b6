"""The search beyond one descent: restarts, detours, and who makes them."""

import itertools
from functools import partialmethod
from typing import Any

import numpy as np
import pytest
import torch
from support.matching import CASES, case, draw

from starcli.alignment.matching.descent import Descent
from starcli.alignment.matching.problem import MatchingProblem
from starcli.alignment.matching.restarts import HEAVIEST, LIGHTEST, Detour, DetourEnd, wave_sizes, waves
from starcli.alignment.matching.weight_matching import match_weights
from starcli.runtime.progress import Interrupted, Progress
from starcli.symmetry.permutation import Permutation


def test_restarts_are_never_worse_and_often_better() -> None:
    spec = case("mlp")
    pairs = [(draw(spec, 2 * i), draw(spec, 2 * i + 1)) for i in range(5)]
    once = [match_weights(a, b, spec, restarts=1).objective for a, b in pairs]
    often = [match_weights(a, b, spec, restarts=8).objective for a, b in pairs]
    assert all(more >= less for more, less in zip(often, once, strict=True))
    assert sum(more > less for more, less in zip(often, once, strict=True)) >= 3


def test_no_restarts_are_one_descent_from_the_identity() -> None:
    spec = case("residual")
    a, b = draw(spec, 0), draw(spec, 1)
    none = match_weights(a, b, spec, seed=3, restarts=0)
    start = match_weights(a, b, spec, seed=3, start=Permutation.identity(spec))
    assert none.permutation.moved(start.permutation) == 0
    assert none.sweeps == start.sweeps
    assert none.sweeps < match_weights(a, b, spec, seed=3).sweeps


@pytest.mark.parametrize("name", CASES)
def test_same_seed_same_result(name: str) -> None:
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    one, two = (match_weights(a, b, spec, seed=3, restarts=2) for _ in range(2))
    assert one.objective == two.objective
    assert one.permutation.moved(two.permutation) == 0


def test_waves_hold_every_detour_once_whatever_the_machine() -> None:
    assert [len(wave) for wave in waves(30, cold=True)] == [2, 1, 1, 2, 4, 8, 8, 6]
    for rounds, cold in ((0, True), (1, False), (9, True), (30, True)):
        numbers = [number for wave in waves(rounds, cold) for number, _ in wave]
        assert numbers == list(range(0 if cold else 2, rounds + 2))
    assert [wave_sizes(restarts) for restarts in (0, 1, 10)] == [[], [2], [2, 1, 1, 2, 4, 1]]
    drawn = sorted(detour.weight for wave in waves(8, cold=False) for _, detour in wave)
    assert LIGHTEST <= drawn[0] < drawn[-1] <= HEAVIEST
    # eight weights: none of them twice as near to the next as eighths of the range are
    assert all(b / a > (HEAVIEST / LIGHTEST) ** (1 / 16) for a, b in itertools.pairwise(drawn))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", CASES)
def test_threads_change_nothing(name: str) -> None:
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(match_weights(a, b, spec, seed=3, restarts=6))
        assert torch.get_num_threads() == count
    one, two = found
    assert one.objective == pytest.approx(two.objective, rel=1e-12)  # summed by one thread or by two
    assert one.sweeps == two.sweeps
    assert one.permutation.moved(two.permutation) == 0


@pytest.mark.usefixtures("threads")
def test_the_best_end_of_each_wave_is_kept_and_every_detour_draws_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no sweeps to make, the result is the best end; each wave begins where the best one before ended."""
    spec = case("mlp")
    a, b = draw(spec, 0), draw(spec, 1)
    values = [3.0, 5.0, 4.0, 6.0, 9.0, 7.0, 8.0, 1.0, 2.0, 0.0]  # waves of 2, 1, 1, 2 and 4
    ends = [
        DetourEnd(value, {n: i.numpy() for n, i in Permutation.random(spec, generator(number)).index.items()}, 0)
        for number, value in enumerate(values)
    ]
    begun, drawn = [], []

    def go(self: Detour, problem: object, costs: object, start: object, own: np.random.Generator) -> DetourEnd:
        begun.append(start)
        drawn.append(own.integers(2**60))
        return ends[len(begun) - 1]

    monkeypatch.setattr(Detour, "go", go)
    monkeypatch.setattr(MatchingProblem, "objective", lambda self, state: 10.0)
    torch.set_num_threads(1)  # the ends come in order
    monkeypatch.setattr(Descent, "run", partialmethod(Descent.run, most=0))
    found = match_weights(a, b, spec, seed=3, restarts=9).permutation
    assert found.moved(Permutation(spec, {n: torch.from_numpy(i) for n, i in ends[4].index.items()})) == 0
    for start, k in zip(begun[2:], [1, 1, 3, 3, 4, 4, 4, 4], strict=True):
        assert all((start[name] == each).all() for name, each in ends[k].index.items())
    assert len({*drawn, np.random.default_rng(3).integers(2**60)}) == 11


def test_where_no_detour_leads_above_the_identity_a_plain_descent_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two units have changed places: from the identity that is found, from a random end of detours it is not."""
    spec = case("residual")
    a, still = draw(spec, 0), Permutation.identity(spec).index
    group = min(still)
    planted = Permutation(spec, {**still, group: torch.cat([still[group][:2].flip(0), still[group][2:]])})
    far = Permutation.random(spec, generator(2))
    assert match_weights(a, planted.apply(a), spec, start=far).permutation.moved(planted.inverse()) > 0
    end = {name: index.numpy() for name, index in far.index.items()}
    monkeypatch.setattr(Detour, "go", lambda *_: DetourEnd(0.0, end, 0))
    monkeypatch.setattr(MatchingProblem, "at_identity", property(lambda _: 1e9))  # above whatever is found
    found = match_weights(a, planted.apply(a), spec)
    assert found.permutation.moved(planted.inverse()) == 0


@pytest.mark.parametrize("other", [0, 1])
def test_the_sweeps_of_all_descents_are_counted(monkeypatch: pytest.MonkeyPatch, other: int) -> None:
    """Of a model against itself too, where detours lead nowhere better and a plain descent has the last word."""
    spec, made, run = case("mlp"), list[int](), Descent.run

    def counting(self: Descent, *args: Any, **how: Any) -> None:
        before = self.sweeps
        run(self, *args, **how)
        made.append(self.sweeps - before)

    monkeypatch.setattr(Descent, "run", counting)
    found = match_weights(draw(spec, 0), draw(spec, other), spec, restarts=4)
    assert found.sweeps == sum(made) > 0


def test_a_wish_to_stop_is_granted_before_the_next_detour() -> None:
    spec = case("mlp")
    a, b = draw(spec, 0), draw(spec, 1)
    progress = Progress()
    match_weights(a, b, spec, progress=progress)
    progress.stop_signal = 15
    with pytest.raises(Interrupted) as caught:
        match_weights(a, b, spec, progress=progress)
    assert caught.value.signal == 15


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
