"""Leading singular vectors, against torch's decomposition and torch's own modules."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from starcli.models import spectral_norm
from starcli.models.spectral_norm import (
    approach_spectral_norms_,
    normalised_weights,
    singular_pair,
    solve_spectral_norms_,
    spectral_vector_names,
)

STYLES = {"old": nn.utils.spectral_norm, "new": parametrizations.spectral_norm}

LAYERS = {
    "linear": lambda: nn.Linear(6, 4),
    "tall": lambda: nn.Linear(3, 9),
    "one output": lambda: nn.Linear(6, 1),
    "conv": lambda: nn.Conv2d(3, 4, 3),
    "grouped": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(3, 4, 3),
    "embedding": lambda: nn.Embedding(7, 3),
}


def matrix_of(layer, weight):
    """The weight as the papers see it: outputs by everything else."""
    first = 1 if isinstance(layer, nn.modules.conv._ConvTransposeNd) else 0
    return weight.movedim(first, 0).flatten(1)


def normalised(layer, style):
    """The layer's weight before and after normalisation, in eval mode."""
    name = "weight_orig" if style == "old" else "parametrizations.weight.original"
    layer.eval()
    if style == "old":  # computed in a hook before the forward pass
        [hook] = layer._forward_pre_hooks.values()
        hook(layer, ())
    return layer.get_parameter(name), layer.weight


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", LAYERS)
def test_the_largest_singular_value_becomes_one(style, kind):
    torch.manual_seed(0)
    layer = STYLES[style](LAYERS[kind]())
    solve_spectral_norms_(layer)
    before, after = normalised(layer, style)
    sigma = torch.linalg.matrix_norm(matrix_of(layer, before), 2)
    torch.testing.assert_close(after, before / sigma)


@pytest.mark.parametrize("style", STYLES)
def test_the_vectors_are_where_power_iteration_ends(style):
    torch.manual_seed(0)
    layer = STYLES[style](nn.Linear(6, 4), n_power_iterations=500)
    layer.train()(torch.zeros(2, 6))
    u, v = (layer.get_buffer(name).clone() for name in next(normalised_weights(layer)).names)
    solve_spectral_norms_(layer)
    found = [layer.get_buffer(name) for name in next(normalised_weights(layer)).names]
    sign = torch.sign(u @ found[0])
    torch.testing.assert_close(found, [sign * u, sign * v])


def test_another_dimension_and_several_weights_of_one_module():
    torch.manual_seed(0)
    layer = nn.utils.spectral_norm(nn.Conv2d(3, 4, 3), dim=1)
    solve_spectral_norms_(layer)
    before, after = normalised(layer, "old")
    torch.testing.assert_close(after, before / torch.linalg.matrix_norm(before.movedim(1, 0).flatten(1), 2))
    recurrent = nn.LSTM(4, 3)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        parametrizations.spectral_norm(recurrent, name)
    solve_spectral_norms_(recurrent.eval())
    for name in ("weight_ih_l0", "weight_hh_l0"):
        assert torch.linalg.matrix_norm(getattr(recurrent, name), 2).item() == pytest.approx(1, rel=1e-5)


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight + 1


def test_a_weight_that_is_made_from_another_first():
    layer = nn.Linear(6, 4)
    register_parametrization(layer, "weight", Doubled())
    parametrizations.spectral_norm(layer)
    solve_spectral_norms_(layer.eval())
    assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, rel=1e-5)
    assert spectral_vector_names(layer) == {"parametrizations.weight.1._u", "parametrizations.weight.1._v"}


def test_what_keeps_no_vectors():
    plain = nn.Sequential(nn.Linear(3, 2), parametrizations.weight_norm(nn.Linear(2, 2)))
    parametrizations.spectral_norm(plain[0], "bias")  # of a vector it is the length
    assert list(normalised_weights(plain)) == []


SHAPES = [(4, 30), (30, 4), (30, 31)]


@pytest.mark.parametrize(
    ("shape", "largest"), [(s, 512) for s in ((1, 5), (5, 1), (2, 2), *SHAPES)] + [(s, 0) for s in SHAPES]
)
def test_pairs_are_those_of_the_decomposition(shape, largest, monkeypatch):
    monkeypatch.setattr(spectral_norm, "LARGEST_GRAM", largest)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, v = singular_pair(matrix)
    left, values, right = torch.linalg.svd(matrix.double())
    sign = torch.sign(u @ left[:, 0])
    torch.testing.assert_close((u, v), (sign * left[:, 0], sign * right[0]), rtol=1e-6, atol=1e-6)
    assert (u @ matrix.double() @ v).item() == pytest.approx(values[0].item(), rel=1e-9)
    again = singular_pair(matrix.clone())
    assert torch.equal(again[0], u)
    assert torch.equal(again[1], v)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (4, 30), (30, 4), (200, 150)])
def test_approaching_comes_near(shape):
    torch.manual_seed(0)
    degenerate = [torch.eye(40), torch.ones(40, 50), torch.diag(torch.tensor([1.0, -3.0] + 38 * [0.0]))]
    for matrix in (torch.randn(shape), *degenerate):
        layer = nn.utils.spectral_norm(nn.Linear(*matrix.shape[::-1]))
        layer.weight_orig.data.copy_(matrix)
        approach_spectral_norms_(normalised_weights(layer))
        sigma = torch.linalg.matrix_norm(matrix, 2)
        torch.testing.assert_close(layer.weight_u @ matrix @ layer.weight_v, sigma, rtol=1e-4, atol=0)
        assert layer.weight_u.norm().item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("largest", [512, 0])
def test_degenerate_matrices(largest, monkeypatch):
    monkeypatch.setattr(spectral_norm, "LARGEST_GRAM", largest)
    for matrix in (torch.ones(20, 30), torch.eye(20), torch.diag(torch.tensor([1.0, -3.0] + 18 * [0.0]))):
        u, v = singular_pair(matrix)
        expected = torch.linalg.matrix_norm(matrix.double(), 2)
        assert (u @ matrix.double() @ v).item() == pytest.approx(expected.item(), rel=1e-9)
    zeros = singular_pair(torch.zeros(20, 30))
    assert all(vector.isfinite().all() for vector in zeros)
