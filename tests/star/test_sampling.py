"""Distributions of t."""

import pytest
import torch

from starcli.star.sampling import beta_t, constant_t, uniform_t
from starcli.training.seeds import generator


@pytest.mark.parametrize(("sampling", "mean", "variance"), [(uniform_t, 1 / 2, 1 / 12), (beta_t, 1 / 2, 1 / 20)])
def test_samplings(sampling, mean, variance):
    draws = torch.tensor([sampling(place) for place in [generator(0)] for _ in range(20_000)])
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert float(draws.mean()) == pytest.approx(mean, abs=0.01)
    assert float(draws.var()) == pytest.approx(variance, rel=0.05)


def test_constant_sampling():
    assert constant_t(generator(0)) == 0.5
