"""Which layers REPAIR takes: those before a nonlinearity, in networks of many kinds; no weight that is used twice."""

from collections.abc import Callable

import pytest
import torch
from support.tensors import same
from torch import Tensor, nn
from torch.nn.functional import glu, hardswish, linear
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import weight_norm

from starcli.errors import StarcliError
from starcli.evaluation.renormalise import Renormalise
from starcli.evaluation.repairable_layers import fold_, repairable_layers

REPAIR, WITH_LOGITS = Renormalise("repair"), Renormalise("repair", logits=True)


class Net(nn.Module):
    """Two layers `a` and `b`, and what a test makes of them and of an input (B, 6)."""

    def __init__(self, forward: Callable[["Net", Tensor], Tensor], a: nn.Module | None = None) -> None:
        super().__init__()
        self.a = a or nn.Linear(6, 6)
        self.b = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.does = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.does(self, x)


def names(network: nn.Module, how: Renormalise = REPAIR, shape: tuple[int, ...] = (6,)) -> list[str]:
    torch.manual_seed(0)
    return [layer.name for layer in repairable_layers(network, torch.randn(8, *shape), how)]


def gelu_by_hand(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x**3)))


@pytest.mark.parametrize(
    "activation",
    [
        *(torch.relu, torch.relu_, nn.GELU(), nn.SiLU(inplace=True), torch.tanh, nn.PReLU(6), hardswish, nn.ELU()),
        *(nn.LogSigmoid(), nn.Softplus(), gelu_by_hand, lambda x: x * torch.sigmoid(x), lambda x: x.clamp(min=0)),
        nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.ReLU()).eval(),
        lambda x: torch.relu(x.view(-1, 2, 3)).flatten(1),
    ],
)
def test_layers_before_any_nonlinearity_are_taken(activation: Callable[[Tensor], Tensor]) -> None:
    assert names(Net(lambda net, x: net.b(activation(net.a(x))))) == ["a"]
    assert names(Net(lambda net, x: net.b(activation(net.a(x)))), WITH_LOGITS) == ["a", "b"]
    assert names(Net(lambda net, x: net.b(activation(net.a(x)))), Renormalise(logits=True)) == ["b"]


@pytest.mark.parametrize(
    "between",
    [
        lambda net, x: net.norm(net.a(x)).relu(),
        lambda net, x: nn.functional.layer_norm(net.a(x), (6,)).relu(),
        lambda net, x: (x + net.a(x)).relu(),  # a residual stream
        lambda net, x: torch.lerp(x, net.a(x), 0.5).relu(),
        lambda net, x: glu(net.a(x)).repeat(1, 2),
        lambda net, x: net.a(x).softmax(1),
        lambda net, x: net.a(x),  # a linear network
        lambda net, x: net.a(x).relu() + net.a(x).mean(),
        lambda net, x: net.a(net.a(x).relu()).relu(),  # called twice
        lambda net, x: net.a(x).relu() + linear(x, net.a.weight),  # used elsewhere
    ],
)
def test_other_layers_are_left_out(between: Callable[[Net, Tensor], Tensor]) -> None:
    assert names(Net(lambda net, x: net.b(between(net, x)))) == []


@pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
def test_weights_that_are_computed_are_left_out(norm: Callable[[nn.Module], nn.Module]) -> None:
    assert names(Net(lambda net, x: net.b(net.a(x).relu()), norm(nn.Linear(6, 6)))) == []


def test_tied_and_frozen_weights_are_left_out() -> None:
    network = Net(lambda net, x: net.b(net.a(x).relu()))
    network.b.weight = network.a.weight
    assert names(network) == []
    network = Net(lambda net, x: net.b(net.a(x).relu()))
    network.a.weight.requires_grad_(False)
    assert names(network) == []


@pytest.mark.parametrize("tied", [False, True])
def test_before_a_head_of_zeros_only_weights_of_their_own_are_taken(tied: bool) -> None:
    """As freshly built its outputs depend on no layer, so that they would say nothing about any."""
    network = Net(lambda net, x: net.head(net.b(net.a(x).relu()).relu()))
    network.head = nn.Linear(6, 3)
    nn.init.zeros_(network.head.weight)
    if tied:
        network.b.weight = network.a.weight
    assert names(network) == ([] if tied else ["a", "b"])


def test_before_a_head_of_zeros_uses_elsewhere_are_seen() -> None:
    network = Net(lambda net, x: net.b(net.a(x).relu() + linear(x, net.a.weight)))
    nn.init.zeros_(network.b.weight)
    assert names(network) == []


def test_a_branch_of_zeros_is_seen_through() -> None:
    """Gates of zeros at initialisation, as of residual branches."""
    network = Net(lambda net, x: x + net.gate * net.b(net.a(x).relu()))
    network.gate = nn.Parameter(torch.zeros(6))
    assert names(network) == ["a"]


def test_a_layer_under_two_names_is_one_layer() -> None:
    network = Net(lambda net, x: net.b(net.a(x).relu()))
    network.again = nn.ModuleList([network.a])
    assert names(network) == ["a"]


def test_a_weight_that_a_module_without_a_call_holds_too_is_left_out() -> None:
    network = Net(lambda net, x: net.b(net.a(x).relu()))
    network.other = nn.Linear(6, 6)
    network.other.weight = network.a.weight
    assert names(network) == []


def test_a_layer_without_bias_is_taken() -> None:
    assert names(Net(lambda net, x: net.b(net.a(x).relu()), nn.Linear(6, 6, bias=False))) == ["a"]


def test_convolutions_and_their_order() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
        *(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(6 * 9, 5), nn.ReLU(), nn.Linear(5, 3)),
    )
    found = repairable_layers(network, torch.randn(8, 3, 12, 12), WITH_LOGITS)
    assert [(layer.name, layer.norm_follows, layer.is_last) for layer in found] == [
        ("0", True, False),
        ("7", False, False),
        ("9", False, True),
    ]


@pytest.mark.parametrize("norm_first", [True, False])
def test_of_transformers_the_hidden_layers_are_taken(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, norm_first=norm_first)
    assert names(nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 3)), shape=(4, 6)) == ["0.linear1"]


def test_the_network_is_left_as_it_was() -> None:
    network = Net(lambda net, x: net.b(net.norm(net.a(x).relu()))).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert names(network, WITH_LOGITS) == ["a", "b"]
    assert same(network.state_dict(), before)
    assert all(module.training and not module._forward_hooks for module in network.modules())


def test_logits_that_are_no_layers_outputs_are_refused() -> None:
    with pytest.raises(StarcliError, match="--renormalise-logits"):
        names(Net(lambda net, x: net.a(x).log_softmax(1)), WITH_LOGITS)
    assert names(Net(lambda net, x: net.a(x).flatten(1)), WITH_LOGITS) == ["a"]


@pytest.mark.parametrize("layer", [nn.Linear(4, 6), nn.Conv1d(4, 6, 3, groups=2), nn.Conv2d(4, 6, 3, bias=False)])
def test_folding_scales_and_shifts_the_outputs(layer: nn.Module) -> None:
    layer = layer.double()
    dims = layer.weight.dim() - 2
    x = torch.randn(5, 4, *[7] * dims, dtype=torch.float64)
    scale, shift = torch.rand(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    expected = layer(x) * scale.view(-1, *[1] * dims)
    if layer.bias is not None:
        expected = expected + shift.view(-1, *[1] * dims)
    fold_(layer, scale, shift)
    torch.testing.assert_close(layer(x), expected)
