"""Linear assignment equals brute force and scipy alone, with prices and without, and proofs tell an optimum."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from starcli.alignment.matching.linear_assignment import DENSE_UP_TO, SPARSE_FROM, Transport, _optimal, _sparse, assign


def value(gains: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    return float(gains[np.arange(len(gains)), order].sum(dtype=np.float64))


@pytest.mark.parametrize("n", range(8))
def test_equals_brute_force(n: int) -> None:
    rng = np.random.default_rng(n)
    gains = rng.standard_normal((n, n))
    best = max((value(gains, np.array(order, dtype=np.int64)) for order in itertools.permutations(range(n))), default=0)
    assert value(gains, assign(gains)) == pytest.approx(best, abs=1e-12)


def instances(n: int) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((2, n, 40))
    hidden = rng.permutation(n)
    return {
        "independent": a @ b.T,
        "near": a @ (a[hidden] + 0.1 * b).T,
        "rank one": np.outer(a[:, 0], b[:, 0]) * 30 + a @ b.T,
        "popular columns": a @ b.T + 100 * rng.random(n),
        "outliers": np.where(rng.random((n, n)) < 1e-3, 1e6, 0) + a @ b.T,
        "constant": np.ones((n, n)),
        "zero": np.zeros((n, n)),
        "ties": rng.integers(0, 3, (n, n)).astype(float),
        "dead units": (a * (np.arange(n) % 3 == 0)[:, None]) @ b.T,
        "rows apart": a @ b.T + 1e5 * b[:, :1],
        "rows of unequal norm": np.exp(b[:, :1]) * (a @ b.T),
        "near ties": np.round(a @ b.T) + 1e-9 * rng.standard_normal((n, n)),
        "all far from zero": a @ b.T + 1e5,
        "backwards": (a @ b.T)[::-1],
        "tiny": 1e-30 * (a @ b.T),
        "tinier": 1e-39 * (a @ b.T),
        "huge": 1e30 * (a @ b.T),
    }


@pytest.mark.parametrize("n", [DENSE_UP_TO, DENSE_UP_TO + 1, 200, SPARSE_FROM])
@pytest.mark.parametrize("name", instances(2))
def test_prices_do_not_change_the_optimum(n: int, name: str) -> None:
    for gains in (instances(n)[name], instances(n)[name].astype(np.float32)):
        order = assign(gains)
        assert sorted(order.tolist()) == list(range(n))
        known = linear_sum_assignment(gains, maximize=True)[1]
        scale = float(np.abs(gains).max()) * n
        assert value(gains, order) == pytest.approx(value(gains, known), abs=1e-12 * scale)


def test_prices_are_finite_and_nearly_a_bound() -> None:
    """max_i (gain - price) summed with the prices bounds the optimum, and for good ones by little."""
    for name, gains in instances(200).items():
        prices = Transport(gains.astype(np.float32)).prices
        assert np.isfinite(prices).all(), name
        bound = float((gains - prices).max(axis=1).sum() + prices.sum())
        best = value(gains, assign(gains))
        assert bound >= best - 1e-5 * abs(best) - 1e-25, name
        if name in ("independent", "near", "rank one"):
            assert bound - best < 0.05 * abs(best), name


@pytest.mark.parametrize("name", ["independent", "near", "popular columns"])
def test_a_proof_tells_the_optimum_from_the_next_best(name: str) -> None:
    gains = instances(300)[name]
    candidates = Transport(gains).candidates()
    found = _sparse(candidates)
    assert found is not None
    assert value(gains, found) == pytest.approx(value(gains, linear_sum_assignment(gains, maximize=True)[1]))
    assert _optimal(gains, candidates, found)
    for i, j in ((0, 1), (7, 200)):
        other = found.copy()
        other[[i, j]] = found[[j, i]]
        assert not _optimal(gains, candidates, other)
        # nothing known but the wrong one: what was left out must speak against it
        own = gains[np.arange(300), other] - candidates.prices[other]
        alone = replace(candidates, rows=np.arange(300), columns=other, net=own, elsewhere=np.full(300, np.inf))
        assert not _optimal(gains, alone, other)
