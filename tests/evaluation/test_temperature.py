"""Fitted temperatures against a grid, scipy's minimiser, LBFGS as published, and labels drawn at a known one."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

from starcli.errors import StarcliError
from starcli.evaluation.confidence import confidence
from starcli.evaluation.temperature import check_temperature, fit_temperature, scaled


def drawn(count: int, classes: int, temperature: float, seed: int) -> tuple[Tensor, Tensor]:
    """Logits, and labels drawn from their softmax at `temperature`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(torch.softmax(logits / temperature, dim=1), 1, generator=generator).squeeze(1)
    return logits, labels


def loss(logits: Tensor, labels: Tensor, temperature: float) -> float:
    return float(torch.nn.functional.cross_entropy(logits / temperature, labels))


@given(st.integers(0, 10**6), st.floats(0.3, 5.0), st.integers(2, 6), st.floats(-50, 50))
def test_it_is_the_minimum_that_scipy_and_a_grid_find(seed: int, true: float, classes: int, shift: float) -> None:
    logits, labels = drawn(60, classes, true, seed)
    found = fit_temperature(logits, labels)
    if found is None:
        slowest, fastest = loss(logits, labels, 1e4), loss(logits, labels, 1e-2)
        grid = min(loss(logits, labels, float(t)) for t in np.geomspace(0.02, 5e3, 200))
        assert grid >= min(slowest, fastest) - 1e-9  # the least loss lies at an end
        return
    least = loss(logits, labels, found)
    assert least <= min(loss(logits, labels, float(t)) for t in np.geomspace(0.01, 100, 400)) + 1e-12
    by_scipy = minimize_scalar(
        lambda b: loss(logits, labels, 1 / b), bounds=(1e-3, 50), method="bounded", options={"xatol": 1e-10}
    )
    if 1 / 50 < found < 100:
        assert 1 / found == pytest.approx(by_scipy.x, rel=1e-4)
    # what is added to all logits of an example changes nothing
    assert fit_temperature(torch.log_softmax(logits + shift, 1), labels) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found_again(true: float) -> None:
    logits, labels = drawn(40_000, 5, true, seed=1)
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.03)


def test_logits_times_a_factor_have_a_temperature_times_that_factor() -> None:
    logits, labels = drawn(500, 4, 1.0, seed=2)
    plain, times = fit_temperature(logits, labels), fit_temperature(7.5 * logits, labels)
    assert times == pytest.approx(7.5 * plain, rel=1e-9)


def test_the_published_way_finds_the_same() -> None:
    """L-BFGS on T itself, as in the code of Guo et al."""
    logits, labels = drawn(500, 4, 2.0, seed=3)
    t = torch.ones(1, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([t], lr=0.5, max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> Tensor:
        search.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / t, labels)
        value.backward()
        return value

    search.step(closure)
    assert fit_temperature(logits, labels) == pytest.approx(float(t.detach()), rel=1e-5)


def test_scaling_changes_confidence_and_no_prediction() -> None:
    logits, labels = drawn(3000, 5, 2.0, seed=4)
    before = confidence(torch.log_softmax(logits, 1), labels)
    after = confidence(scaled(torch.log_softmax(logits, 1), 2.0), labels)
    torch.testing.assert_close(scaled(torch.log_softmax(logits, 1), 2.0), torch.log_softmax(logits / 2, 1))
    assert after.errors == before.errors
    assert after.ece < 0.03 < before.ece
    assert after.nll < before.nll


def test_no_finite_temperature_is_none() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert fit_temperature(logits, torch.tensor([0, 1])) is None  # no error: the surer the better
    assert fit_temperature(logits, torch.tensor([1, 0])) is None  # worse than a guess: the less sure the better
    assert fit_temperature(logits * math.nan, torch.tensor([0, 1])) is None
    assert fit_temperature(torch.zeros(2, 2, dtype=torch.float64), torch.tensor([0, 1])) is None


@pytest.mark.parametrize("wrong", [0, -1.0, math.inf, math.nan, True, "cold"])
def test_what_is_no_temperature_is_refused(wrong: object) -> None:
    with pytest.raises(StarcliError, match="expected a number above 0"):
        check_temperature(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("right", [None, "fit", 1, 2.5])
def test_what_is_one_is_not(right: object) -> None:
    check_temperature(right)  # type: ignore[arg-type]
