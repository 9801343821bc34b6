"""The mean on a sphere against a search for the point nearest to all, and its special cases."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from support.merging import SHAPE, arrays, close, merged

from starcli.merging.linear import KARCHER, SLERP, karcher_coefficients


def nearest(x, w):
    """The unit vector with the least weighted sum of squared angles to all x, by SciPy, times the mean length."""
    lengths, w = np.linalg.norm(x, axis=1), np.array(w) / np.sum(w)
    u = x / lengths[:, None]

    def squared_angles(c):
        m = c @ u
        return w @ np.arccos(np.clip(u @ m / np.linalg.norm(m), -1, 1)) ** 2

    c = minimize(squared_angles, w, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15}).x
    return (w @ lengths) * (c @ u) / np.linalg.norm(c @ u)


@pytest.mark.parametrize("w", [(1, 1, 1), (0.2, 3, 1), (0, 1, 2)])
def test_it_is_the_point_with_the_least_squared_angles(w):
    draws = torch.Generator().manual_seed(1)
    models = [(1 + n) * torch.randn(SHAPE, generator=draws).double() + 0.3 for n in range(3)]
    found = merged(KARCHER, [models[0], *models], weights=w)
    np.testing.assert_allclose(found, nearest(np.array(arrays(models)), w), atol=1e-5)


def test_of_two_of_one_length_it_is_a_point_of_their_arc(models):
    _, a, b, _ = models
    a, b = (each.double() / each.double().norm() for each in (a, b.flip(0)))
    for t in (0.5, 0.2):
        close(merged(KARCHER, [a, a, b], weights=(1 - t, t)), merged(SLERP, [a, a, b], t=t))


def test_its_length_is_the_mean_of_lengths_and_equal_models_give_themselves(models):
    _, *x = arrays(models)
    close(np.linalg.norm(merged(KARCHER, [m.double() for m in models])), np.mean(np.linalg.norm(x, axis=1)))
    close(merged(KARCHER, [models[0], *[models[1]] * 3], weights=(1, 2, 3)), x[0])
    close(merged(KARCHER, [models[0], models[1], 3 * models[1].double()]), 2 * x[0])


def test_the_order_of_models_does_not_matter(models):
    base, *sources = (each.double() for each in models)
    there = merged(KARCHER, [base, *sources], weights=(1, 2, 3))
    back = merged(KARCHER, [base, *sources[::-1]], weights=(3, 2, 1))
    np.testing.assert_allclose(there, back, rtol=0, atol=1e-13)


def test_zeros_have_no_direction_and_opposite_models_have_none_between_them(models):
    _, a, _, _ = arrays(models)
    model = models[1]
    close(merged(KARCHER, [model, model, 0 * model], weights=(3, 1)), 0.75 * a)
    close(merged(KARCHER, [model, 0 * model, 0 * model]), 0 * a)
    close(merged(KARCHER, [model, model, -model], weights=(3, 1)), 0.5 * a)  # of opposite ones their line
    close(merged(KARCHER, [model, model, -3 * model.double()], weights=(0.5, 0.5)), -a)


def test_directions_that_cancel_leave_the_mean():
    thirds = torch.linspace(0, 2, 4)[:3] * torch.pi  # three directions of a plane, 120 degrees apart
    directions = torch.stack([thirds.cos(), thirds.sin()]).double()
    found = karcher_coefficients(directions.T @ directions, torch.ones(3).double())
    np.testing.assert_allclose(found, [1 / 3] * 3)
