"""Linear layers of several networks in one product: the outputs and gradients of `vmap`, or nothing at all."""

import warnings

import pytest
import torch
from torch import nn

from starcli.training.batched import batched_forward, batched_network

COUNT, BATCH = 3, 5


class Shared(nn.Module):
    """One layer used twice, one without a bias, tokens along a second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.last = nn.Linear(6, 6), nn.Linear(6, 4, bias=False)

    def forward(self, x):
        return self.last(x + self.twice(torch.tanh(self.twice(x)))).flatten(1)


def perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(inplace=True), nn.Linear(7, 4))


def outcome(forward, weights, inputs):
    """Outputs (K, B, ...), and the gradients of a nonlinear sum of them."""
    for weight in weights.values():
        weight.grad = None
    found = forward(inputs)
    found.float().square().sum().backward()
    return [found.detach().float(), *(weight.grad.clone() for weight in weights.values())]


def both_ways(network, inputs):
    weights = {
        name: torch.randn(COUNT, *each.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        for name, each in network.named_parameters()
    }
    together = batched_network(network, weights)

    def one(parameters, inputs):
        return torch.func.functional_call(network, parameters, (inputs,))

    return (
        outcome(lambda inputs: together(inputs.flatten(0, 1)).unflatten(0, (COUNT, BATCH)), weights, inputs),
        outcome(lambda inputs: torch.vmap(one)(weights, inputs), weights, inputs),
    )


@pytest.mark.parametrize(("make", "shape"), [(perceptron, (3, 2, 2)), (Shared, (2, 6))], ids=["perceptron", "shared"])
def test_outputs_and_gradients_are_those_of_vmap(make, shape):
    for found, expected in zip(*both_ways(make(), torch.randn(COUNT, BATCH, *shape)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_mixed_precision_takes_the_products_in_bf16():
    inputs = torch.randn(COUNT, BATCH, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = both_ways(perceptron(), inputs)
    exact, _ = both_ways(perceptron(), inputs)
    for mixed, other, expected in zip(ours, theirs, exact, strict=True):
        assert mixed.dtype == other.dtype == torch.float32
        torch.testing.assert_close(mixed, other, rtol=0.05, atol=0.05 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(7),
        nn.LayerNorm(7),
        nn.utils.parametrizations.weight_norm(nn.Linear(7, 7)),
        nn.utils.spectral_norm(nn.Linear(7, 7)),
    ],
    ids=str,
)
def test_networks_with_other_weights_are_left_to_vmap(layer):
    network = nn.Sequential(nn.Linear(12, 7), layer, nn.Linear(7, 4))
    assert batched_network(network, {name: each[None] for name, each in network.named_parameters()}) is None


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch: vmap has no rule of its own
def test_weights_that_a_hook_computes_are_left_to_vmap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it old
        layer = nn.utils.weight_norm(nn.Linear(7, 7))
    network = nn.Sequential(nn.Linear(12, 7), layer, nn.Linear(7, 4))
    weights = {name: torch.stack([each.detach(), each.detach() + 0.1]) for name, each in network.named_parameters()}
    assert batched_network(network, weights) is None
    inputs = torch.randn(2, 5, 12)
    found = batched_forward(network, weights, {}, inputs)(inputs)
    for number in range(2):
        one = {name: each[number] for name, each in weights.items()}
        torch.testing.assert_close(found[number], torch.func.functional_call(network, one, inputs[number]))


def test_frozen_layers_are_left_to_vmap():
    network = perceptron()
    network[1].requires_grad_(False)
    learnable = {name: each[None] for name, each in network.named_parameters() if each.requires_grad}
    assert batched_network(network, learnable) is None


class Centred(nn.Module):
    """Not what a network does with each example by itself: the mean is over its own batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer((x - x.mean(0)).flatten(1))


class Fixed(Centred):
    """The size of a batch is written into its forward pass."""

    def forward(self, x):
        return self.layer(x.reshape(BATCH, 64))


class Asking(Centred):
    """A layer is asked for its size."""

    def forward(self, x):
        return self.layer(x.reshape(-1, self.layer.in_features))


@pytest.mark.parametrize("make", [Centred, Fixed, Asking])
def test_vmap_is_taken_where_examples_are_not_on_their_own(make):
    network, inputs = make(), torch.randn(COUNT, BATCH, 1, 8, 8)
    weights = {name: torch.stack([each.detach()] * COUNT) for name, each in network.named_parameters()}
    expected = torch.stack([network(part) for part in inputs])
    torch.testing.assert_close(batched_forward(network, weights, {}, inputs)(inputs), expected)
