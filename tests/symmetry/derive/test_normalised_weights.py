"""Weight normalisation and spectral normalisation, both styles of each: their units move as without them."""

from functools import cache

import pytest
import torch
from support.state_dict_networks import old_weight_norm
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from starcli.models.copies import copy_network
from starcli.models.spectral_norm import spectral_vector_names
from starcli.symmetry.derive import derive as derive_module
from starcli.symmetry.derive.derive import derive, derive_and_prove
from starcli.symmetry.derive.export import export
from starcli.symmetry.permutation import Permutation

STYLES = {
    "weight_norm, old": old_weight_norm,
    "weight_norm, old, whole": lambda layer: old_weight_norm(layer, dim=None),
    "weight_norm, new": parametrizations.weight_norm,
    "weight_norm, new, inputs": lambda layer: parametrizations.weight_norm(layer, dim=1),
    "weight_norm, new, whole": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "spectral_norm, old": nn.utils.spectral_norm,
    "spectral_norm, new": parametrizations.spectral_norm,
}


class Residual(nn.Module):
    def __init__(self, style):
        super().__init__()
        self.stem, self.norm = style(nn.Conv2d(1, 6, 3, padding=1)), nn.BatchNorm2d(6)
        self.inner, self.back = style(nn.Conv2d(6, 5, 3, padding=1)), style(nn.Conv2d(5, 6, 3, padding=1, bias=False))
        self.head = style(nn.Linear(6, 3))

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.back(torch.relu(self.inner(x)))
        return self.head(x.mean((2, 3)))


class Tied(nn.Module):
    """One layer, used twice."""

    def __init__(self, style):
        super().__init__()
        self.first, self.again, self.last = style(nn.Linear(7, 6)), style(nn.Linear(6, 6)), style(nn.Linear(6, 3))

    def forward(self, x):
        return self.last(torch.tanh(self.again(torch.tanh(self.again(torch.tanh(self.first(x)))))))


def perceptron(style):
    layers = [style(nn.Linear(7, 6)), nn.ReLU(), style(nn.Linear(6, 5)), nn.ReLU(), style(nn.Linear(5, 3))]
    return nn.Sequential(*layers)


def transposed(style):
    layers = [style(nn.ConvTranspose2d(1, 5, 3)), nn.ReLU(), style(nn.ConvTranspose2d(5, 4, 3)), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 64, 3))


def depthwise(style):
    layers = [style(nn.Conv2d(1, 6, 1)), nn.ReLU(), style(nn.Conv2d(6, 6, 3, groups=6)), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), style(nn.Linear(6 * 4, 3)))


def embedded(style):
    layers = [style(nn.Embedding(11, 6)), style(nn.Linear(6, 5)), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 4, 3)]
    return nn.Sequential(*layers)


NETWORKS = {
    "perceptron": (perceptron, torch.zeros(2, 7)),
    "residual": (Residual, torch.zeros(2, 1, 4, 4)),
    "tied": (Tied, torch.zeros(2, 7)),
    "transposed": (transposed, torch.zeros(2, 1, 4, 4)),
    "depthwise": (depthwise, torch.zeros(2, 1, 4, 4)),
    "embedded": (embedded, torch.zeros(2, 4, dtype=torch.int64)),
}


def sizes(derived):
    return {name: group.size for name, group in derived.resolved.groups.items()}


@cache
def plain_sizes(kind, *, apart):
    """Of the network without normalisation; `apart`: asked for where torch takes the operators apart."""
    build, example = NETWORKS[kind]
    return sizes(derive(build(lambda layer: layer), (example,)))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_groups_are_those_without_normalisation(kind, style):
    torch.manual_seed(0)
    build, example = NETWORKS[kind]
    found = derive_and_prove(build(STYLES[style]), (example,))
    assert sizes(found) == plain_sizes(kind, apart=False)
    assert set(found.proof.verdicts.values()) == {"proved"}
    assert not found.rejected
    assert not found.notes


@cache
def decompositions():
    """Torch's own, which it would gather anew for each network."""
    return dict(torch.export.default_decompositions())


APART = [style for style in STYLES if not style.startswith("weight_norm, old")]
"""Styles that differ in their operators: weight_norm calls the same one in the old style and in the new one."""


@pytest.mark.parametrize("style", APART)
@pytest.mark.parametrize("kind", ["perceptron", "residual", "transposed"])
def test_so_are_they_where_torch_takes_the_operators_apart(kind, style, monkeypatch):
    """As earlier versions of torch.export do, and any may one day."""
    monkeypatch.setattr(derive_module, "export", lambda *args: export(*args).run_decompositions(decompositions()))
    build, example = NETWORKS[kind]
    found = derive(build(STYLES[style]), (example,))
    assert sizes(found) == plain_sizes(kind, apart=True)
    assert not found.notes


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["residual", "depthwise"])
def test_a_permuted_network_computes_the_same(kind, style):
    """In torch's own module, whatever the vectors are."""
    torch.manual_seed(0)
    build, example = NETWORKS[kind]
    network = build(STYLES[style]).double()
    inputs = torch.randn(8, *example.shape[1:], dtype=torch.float64)
    network(inputs)
    spec = derive(network, (example.double(),)).resolved
    permutation = Permutation.random(spec, torch.Generator().manual_seed(1))
    assert permutation.moved() > 0
    permuted = copy_network(network)
    permuted.load_state_dict(permutation.apply(network.state_dict()))
    torch.testing.assert_close(permuted.eval()(inputs), network.eval()(inputs))
    if "spectral" in style:
        vectors = spectral_vector_names(network)
        moved = {n for n in vectors if not torch.equal(network.get_buffer(n), permuted.get_buffer(n))}
        assert len(moved) >= 3
        assert vectors <= spec.buffers  # moved along, never matched on


def test_the_axes_of_spectral_vectors():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.utils.spectral_norm(nn.Conv2d(1, 5, 3)), nn.ReLU(), nn.utils.spectral_norm(nn.Conv2d(5, 4, 2)), nn.Flatten()
    )
    axes = derive(network, (torch.zeros(2, 1, 4, 4),)).resolved.expressions
    assert axes["0.weight_u"] == ("units.0",)
    assert axes["0.weight_v"] == ("9",)
    assert axes["2.weight_orig"] == ("4", "units.0", "2", "2")
    assert axes["2.weight_v"] == ("(units.0 4)",)


@pytest.mark.parametrize(
    ("style", "apart"),
    [("weight_norm, old", True), ("weight_norm, new, whole", True), ("weight_norm, new, inputs", False),
     ("spectral_norm, old", False), ("spectral_norm, new", False)],
)  # fmt: skip
def test_grouped_convolutions(style, apart):
    """A length of each output leaves the inputs of each group free; one over all groups binds them together."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 1), nn.ReLU(), STYLES[style](nn.Conv2d(8, 8, 3, groups=2)), nn.ReLU(), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(8 * 4, 3))
    found = derive_and_prove(network, (torch.zeros(2, 1, 4, 4),))
    assert set(found.proof.verdicts.values()) == {"proved"}
    within = [group.within is not None for group in found.resolved.groups.values()]
    assert sorted(within) == ([False, True, True] if apart else [False, False, True])


def test_an_orthogonal_weight_is_fixed_with_a_reason():
    network = nn.Sequential(parametrizations.orthogonal(nn.Linear(7, 6)), nn.ReLU(), nn.Linear(6, 3))
    found = derive(network, (torch.zeros(2, 7),))
    assert found.resolved.groups == {}
    assert any("(_Orthogonal)" in note for note in found.notes)
    assert any("(_Orthogonal)" in each.reason for each in found.frozen)


class Centred(nn.Module):
    def forward(self, weight):
        return weight - weight.mean(1, keepdim=True)


def test_a_parametrisation_of_ones_own_is_traced():
    network = nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
    for layer in (network[0], network[2]):
        register_parametrization(layer, "weight", Centred())
    found = derive_and_prove(network, (torch.zeros(2, 7),))
    assert sizes(found) == {"units.0": 6}
    assert found.proof.proved


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["convolutions", "perceptron"])
def test_deep_networks_are_proved(kind, style):
    """At generic vectors, or one generic length of a whole weight, nothing of the input would be left at their ends."""
    torch.manual_seed(0)
    style = STYLES[style]
    if kind == "perceptron":
        layers = [
            style(nn.Linear(30, 32)),
            *(each for _ in range(18) for each in (nn.ReLU(), style(nn.Linear(32, 32)))),
        ]
        network, example = nn.Sequential(*layers, nn.ReLU(), nn.Linear(32, 10)), torch.zeros(2, 30)
    else:
        deep = [each for _ in range(10) for each in (nn.LeakyReLU(0.2), style(nn.Conv2d(16, 16, 3, padding=1)))]
        head = [nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), style(nn.Linear(16, 10))]
        network = nn.Sequential(style(nn.Conv2d(3, 16, 3, padding=1)), *deep, *head)
        example = torch.zeros(2, 3, 8, 8)
    found = derive_and_prove(network, (example,))
    assert list(found.proof.verdicts.values()) == ["proved"] * (19 if kind == "perceptron" else 11)


@pytest.mark.parametrize("style", ["weight_norm", "spectral_norm"])
def test_recurrent_weights(style):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 3)
            for name in ("weight_ih_l0", "weight_hh_l0"):
                getattr(parametrizations, style)(self.rnn, name)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    found = derive_and_prove(Recurrent(), (torch.zeros(2, 4, 5),))
    assert sizes(found) == {"rnn": 6}
    assert found.proof.proved
