"""The search beyond one descent: restarts, detours, and who makes them."""

import itertools

import pytest
import torch
from matching_support import CASES, case, draw

from starcli.matching import detours, match_weights
from starcli.matching.search import HEAVIEST, LIGHTEST, waves
from starcli.permutation import Permutation


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
    assert [detours(restarts) for restarts in (0, 1, 10)] == [0, 2, 11]
    drawn = sorted(detour.weight for wave in waves(8, cold=False) for _, detour in wave)
    assert LIGHTEST <= drawn[0] < drawn[-1] <= HEAVIEST
    # eight weights: none of them twice as near to the next as eighths of the range are
    assert all(b / a > (HEAVIEST / LIGHTEST) ** (1 / 16) for a, b in itertools.pairwise(drawn))


@pytest.mark.parametrize("name", CASES)
def test_threads_change_nothing(name: str) -> None:
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(match_weights(a, b, spec, seed=3, restarts=6))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    one, two = found
    assert one.objective == pytest.approx(two.objective, rel=1e-12)  # summed by one thread or by two
    assert one.sweeps == two.sweeps
    assert one.permutation.moved(two.permutation) == 0
