"""Complex numbers as matrices of pairs, against torch's arithmetic, a grid of angles, and a minimiser."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar

from starcli.symmetry.kinds.pairs import (
    balancing_pairs,
    nearest_phases,
    pair_matrices,
    pair_numbers,
    pair_slices,
    phase_values,
)

LAYOUTS = pytest.mark.parametrize("layout", ["halves", "neighbours"])


@LAYOUTS
def test_matrices_act_as_numbers_do(layout):
    z, w, x = torch.randn(3, 5, 3, dtype=torch.complex128)
    first, second = pair_slices(6, layout)
    units = torch.empty(5, 6).double()
    units[:, first], units[:, second] = x.real, x.imag
    made = (pair_matrices(z, layout) @ units.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(torch.complex(made[:, first], made[:, second]), z * x)
    torch.testing.assert_close(pair_matrices(z, layout) @ pair_matrices(w, layout), pair_matrices(z * w, layout))
    torch.testing.assert_close(torch.linalg.inv(pair_matrices(z, layout)).mT, pair_matrices(1 / z.conj(), layout))
    torch.testing.assert_close(pair_numbers(pair_matrices(z, layout), layout), z)


@LAYOUTS
def test_the_best_phase_is_that_of_a_grid(layout):
    gains = torch.randn(1, 4, 4).double()
    angles = torch.linspace(-torch.pi, torch.pi, 20_001).double()
    turned = pair_matrices(torch.polar(torch.ones_like(angles), angles).unsqueeze(-1), layout)
    first, second = pair_slices(4, layout)
    best = 0.0
    for i, j in zip(range(4)[first], range(4)[second], strict=True):
        best += float((turned * gains[0][[i, j]][:, [i, j]]).sum((-1, -2)).max())
    found = nearest_phases(gains, layout)
    assert float((found * gains).sum()) == pytest.approx(best, rel=1e-6) == float(phase_values(gains, layout))
    torch.testing.assert_close(found @ found.mT, torch.eye(4).double().unsqueeze(0))
    assert torch.equal(nearest_phases(torch.zeros(2, 2), layout), torch.eye(2))


@LAYOUTS
def test_scales_of_pairs_are_those_that_a_minimiser_finds(layout):
    written, read = torch.randn(2, 4, 7).double(), torch.randn(2, 4, 9).double()
    g, largest = balancing_pairs(written, read, layout)
    first, second = pair_slices(4, layout)
    for i, j in zip(range(4)[first], range(4)[second], strict=True):
        w, r = (float(each[0, [i, j]].square().sum()) for each in (written, read))
        best = minimize_scalar(lambda u, w=w, r=r: w * math.exp(2 * u) + r * math.exp(-2 * u))
        assert float(g[0, i, i].log()) == pytest.approx(best.x, abs=1e-6)
        assert float(g[0, j, j].log()) == pytest.approx(best.x, abs=1e-6)
    assert largest == pytest.approx(float(g.diagonal(dim1=-2, dim2=-1).log().abs().max()))
    assert balancing_pairs(torch.zeros(1, 2, 3), torch.ones(1, 2, 3), layout)[1] == 0.0
