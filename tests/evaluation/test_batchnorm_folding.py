"""Folding BatchNorm into the layers before it: the same outputs, nothing left behind, nothing that is read twice."""

from collections.abc import Callable

import pytest
import torch
from support.tensors import same
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from starcli.evaluation.batchnorm_folding import Folding
from starcli.models.build import build_network, complete_arguments


def generic(network: nn.Module) -> nn.Module:
    """With weights and statistics at which no norm is the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            positive = name.endswith(("running_var", "bn.weight"))
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + (0.5 if positive else -0.5))
    return network


class Reads(nn.Module):
    """conv, bn and something else in a given way."""

    def __init__(self, way: Callable[["Reads", Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.bn, self.way = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x).flatten(1)


def image(count: int = 6) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


ALONE: dict[str, Callable[[Reads, Tensor], Tensor]] = {
    "one on the other": lambda net, x: net.bn(net.conv(x)),
    "something asks for the shape": lambda net, x: net.bn(y) if (y := net.conv(x)).dim() == 4 else y,
}
TOGETHER: dict[str, Callable[[Reads, Tensor], Tensor]] = {
    "added to the norm": lambda net, x: (y := net.conv(x)) + net.bn(y),
    "changed in between": lambda net, x: net.bn(net.conv(x).relu_()),
    "norm called twice": lambda net, x: net.bn(net.conv(x)) + net.bn(net.conv.weight.mean() * x.new_ones(1, 4, 1, 1)),
    "layer called twice": lambda net, x: net.bn(net.conv(x)) + net.conv(x),
    "weights looked at": lambda net, x: net.bn(net.conv(x)) * net.bn.weight.sum(),
    "weights of the layer used": lambda net, x: net.bn(net.conv(x)) + net.conv.weight.mean(),
    "norm first": lambda net, x: net.conv(net.bn(torch.cat([x, x[:, :1]], 1))[:, :3]),
}


@pytest.mark.parametrize("case", [*ALONE, *TOGETHER])
def test_a_norm_is_folded_where_it_alone_reads_the_layer(case: str) -> None:
    network = generic(Reads({**ALONE, **TOGETHER}[case])).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        expected = network(image())
        with Folding(network).applied(image()):
            assert isinstance(network.bn, nn.Identity) == (case in ALONE)
            torch.testing.assert_close(network(image()), expected, rtol=1e-5, atol=1e-5)
    assert same(network.state_dict(), before)


def test_weights_and_statistics_of_the_moment_are_folded() -> None:
    network = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3, bias=False))
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    network[1].train()
    folding = Folding(network)
    with folding.applied(x):
        assert [type(layer) for layer in network] == [nn.Linear, nn.Identity, nn.ReLU, nn.Linear]
    assert network[1].training
    generic(network).eval()
    layers = list(network)
    with torch.no_grad():
        expected = network(x)
        with folding.applied(x):
            torch.testing.assert_close(network(x), expected)
        with pytest.raises(ValueError, match="stopped"), folding.applied(x):
            raise ValueError("stopped")
    assert all(now is then for now, then in zip(network, layers, strict=True))


@pytest.mark.parametrize("name", ["resnet", "resnet18-cifar", "vgg11-bn"])
def test_our_networks_with_their_norms_folded(name: str) -> None:
    arguments = complete_arguments(name, {}, input_shape=(3, 32, 32), num_classes=10)
    network = build_network(name, generator=torch.Generator().manual_seed(0), **arguments).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(x)
        with Folding(network).applied(x):
            assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
            torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


def test_only_plain_layers_are_folded() -> None:
    layer = parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    network = nn.Sequential(layer, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    before = list(network)
    with Folding(network).applied(image()):
        assert list(network) == before
    sequence = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))  # (n, 4, 4): the norm's channels are not the layer's
    with Folding(sequence).applied(torch.randn(3, 4, 8)):
        assert isinstance(sequence[1], nn.BatchNorm1d)


class Pairs(nn.Sequential):
    """Takes batches of an odd number only."""

    def forward(self, input: Tensor) -> Tensor:
        if len(input) % 2 == 0:
            raise ValueError("odd numbers only")
        return super().forward(input)


def test_networks_that_refuse_the_first_examples_stay_as_they_are() -> None:
    network = Pairs(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    with Folding(network).applied(torch.zeros(5, 3)):
        assert isinstance(network[1], nn.BatchNorm1d)
    assert network(torch.zeros(5, 3)).requires_grad
