"""Summaries of barriers: an interval that counts models, not pairs, and which pairs are compared."""

import math
from collections import Counter

import pytest
import torch
from scipy import stats

from starcli.barriers.intervals import interval, summarise
from starcli.barriers.pairs import pairs_of
from starcli.barriers.star_report import STAR, regular_pairs
from starcli.errors import StarcliError


def to_the_star(count: int) -> list[tuple[int, int]]:
    return [(STAR, number) for number in range(count)]


def test_a_summary_is_the_plain_statistics() -> None:
    found = summarise([1.0, 2.0, 6.0], to_the_star(3), [range(3)])
    assert (found.count, found.mean, found.min, found.max) == (3, 3.0, 1.0, 6.0)
    assert found.std == pytest.approx(math.sqrt(7))
    # t(2) at 97.5% is 4.30265: of three numbers the interval is far wider than from the least to the greatest
    half = 4.30265 * math.sqrt(7 / 3)
    assert found.interval == pytest.approx((3 - half, 3 + half), rel=1e-5)
    assert summarise([1.0, 2.0, 6.0], to_the_star(3), [range(3)], least=0.0).interval[0] == 0


@pytest.mark.parametrize("count", [1, 2])
def test_of_fewer_than_three_models_there_is_no_interval(count: int) -> None:
    assert all(map(math.isnan, summarise([1.0, 2.0][:count], to_the_star(count), [range(count)]).interval))
    crossed = [(i, 3 + j) for i in range(3) for j in range(count)]
    assert all(map(math.isnan, interval([float(i * j) for i, j in crossed], crossed, [range(3), range(3, 3 + count)])))


def test_pairs_that_share_a_model_move_together() -> None:
    """One odd model among five spoils all its pairs: independent pairs would give far too narrow an interval."""
    pairs = pairs_of(5)
    values = [10.0 if 0 in pair else 0.0 for pair in pairs]
    wide, narrow = interval(values, pairs, [range(5)]), interval(values, to_the_star(10), [range(10)])
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    """Barriers made of an effect of each model and noise: at least 95% where models are few, and not wildly more."""
    crossed = [(i, 3 + j) for i in range(3) for j in range(3)]
    circle = regular_pairs(5, 3)
    designs = [
        (to_the_star(4), [range(4)]),
        (pairs_of(6), [range(6)]),
        (crossed, [range(3), range(3, 6)]),
        (circle, [range(5), range(5, 8)]),
    ]
    draws, generator = 400, torch.Generator().manual_seed(0)
    for pairs, strata in designs:
        hit = 0
        for _ in range(draws):
            effect = [*torch.randn(8, generator=generator).tolist(), 0.0]  # the last one, -1, is the star's
            noise = torch.randn(len(pairs), generator=generator).tolist()
            values = [effect[a] + effect[b] + 0.5 * n for (a, b), n in zip(pairs, noise, strict=True)]
            low, high = interval(values, pairs, strata)
            hit += low <= 0 <= high
        assert hit / draws >= 0.92, pairs


def test_a_model_is_left_out_with_all_its_pairs_however_many_it_has() -> None:
    """The jackknife computed as it is defined, where models have 1 to 4 pairs each and one has none."""
    pairs = [(0, 5), (0, 6), (0, 7), (1, 5), (1, 8), (2, 5), (2, 6), (3, 5)]
    values = [0.3, 1.2, 0.1, 2.5, 0.7, 0.2, 1.9, 0.4]
    strata = [range(4), range(5, 10)]
    parts = []
    for stratum in strata:
        left = [[v for v, pair in zip(values, pairs, strict=True) if model not in pair] for model in stratum]
        without = torch.tensor([sum(each) / len(each) for each in left], dtype=torch.float64)
        n = len(stratum)
        parts.append(((n - 1) / n * float((without - without.mean()).square().sum()), n - 1))
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / df for part, df in parts)
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    mean = sum(values) / len(values)
    assert interval(values, pairs, strata) == pytest.approx((mean - half, mean + half), rel=1e-9)


def test_equal_barriers_have_a_narrow_interval() -> None:
    assert interval([0.0] * 9, [(i, 3 + j) for i in range(3) for j in range(3)], [range(3), range(3, 6)]) == (0, 0)
    assert all(map(math.isnan, interval([1.0, math.nan, 1.0], to_the_star(3), [range(3)])))


@pytest.mark.parametrize("values", [[0.1, math.nan, 0.2], [math.nan, 0.1, 0.2], [0.1, 0.2, math.nan]])
def test_of_a_barrier_that_is_no_number_nothing_is_summed_up(values: list[float]) -> None:
    """Wherever it stands: the largest of the others would be read as the largest of all."""
    found = summarise(values, [(0, 1), (0, 2), (0, 3)], [[1, 2, 3]], least=0.0)
    assert all(map(math.isnan, (found.mean, found.std, found.min, found.max, *found.interval)))
    infinite = summarise([math.inf, -math.inf, 0.0], [(0, 1), (0, 2), (0, 3)], [[1, 2, 3]])
    assert math.isnan(infinite.mean)
    assert (infinite.min, infinite.max) == (-math.inf, math.inf)


def test_one_model_has_no_spread() -> None:
    assert math.isnan(summarise([2.0], [(STAR, 0)], [[0]]).std)
    with pytest.raises(StarcliError):
        summarise([], [], [])


@pytest.mark.parametrize(("sources", "held_out"), [(2, 2), (4, 1), (5, 3), (50, 5), (3, 7), (1, 1), (1, 4)])
def test_regular_pairs_take_as_many_models_as_they_can(sources: int, held_out: int) -> None:
    pairs = regular_pairs(sources, held_out)
    width = min(sources, max(held_out, 2))
    assert len(pairs) == len(set(pairs)) == width * held_out
    by_held_out = Counter(h for _, h in pairs)
    assert by_held_out == dict.fromkeys(range(sources, sources + held_out), width)
    by_source = Counter(r for r, _ in pairs)
    assert len(by_source) == min(sources, len(pairs))
    assert max(by_source.values()) - min(by_source.values()) <= 1
