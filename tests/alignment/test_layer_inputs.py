"""What layers read, against hooks of torch's own; which units that is, by the layers' own weights."""

from collections.abc import Callable

import pytest
import torch
from support.tensors import same
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import starcli as sc
from starcli.alignment.layer_inputs import channel_axis, layer_inputs
from starcli.fusion.input_products import input_products
from starcli.models.build import build_network
from starcli.models.flat_network import FlatNetwork
from starcli.symmetry.archspec.expression import text
from starcli.symmetry.archspec.parse_expression import parse_axis


def parameters(network: nn.Module) -> set[str]:
    return set(dict(network.named_parameters()))


def hooked(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Inputs (channels, positions) of all plain layers, BatchNorm in train mode."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            axis = -1 if isinstance(module, nn.Linear) else 1
            found[f"{name}.weight"] = given[0].movedim(axis, 0).flatten(1)

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv1d | nn.ConvTranspose2d):
            module.register_forward_pre_hook(keep(name))
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    with torch.no_grad():
        network(inputs)
    return found


NETWORKS = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Dropout(0.9), nn.Linear(4, 3)), (6, 5)),
    "tokens": (lambda: nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.LayerNorm(4), nn.Linear(4, 3)), (2, 7, 5)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1, groups=2),
            nn.Conv2d(6, 6, 3, groups=6), nn.ConvTranspose2d(6, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 3),
        ),
        (5, 2, 8, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NETWORKS)
def test_they_are_what_hooks_see(kind: str) -> None:
    torch.manual_seed(0)
    build, shape = NETWORKS[kind]
    network, inputs = build(), torch.randn(shape)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = layer_inputs(network, inputs, parameters(network))
    assert network.training
    assert same(network.state_dict(), before)
    expected = hooked(network, inputs)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name].values, values)


def test_attention_reads_its_input_and_what_its_heads_give() -> None:
    torch.manual_seed(0)
    network = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    found = layer_inputs(network, inputs := torch.randn(3, 5, 8), parameters(network))
    read, given = found["self_attn.in_proj_weight"].values, inputs.flatten(0, 1).T
    torch.testing.assert_close(read @ read.T, given @ given.T)  # in an order of its own
    assert found["self_attn.out_proj.weight"].values.shape == (8, 15)
    assert found["linear2.weight"].values.shape == (16, 15)
    assert torch.backends.mha.get_fastpath_enabled()


class Products(nn.Module):
    """Products that no module makes, the weight on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.right, self.left = nn.Parameter(torch.randn(5, 5)), nn.Parameter(torch.randn(4, 5))

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.left @ (inputs @ self.right).relu().T).T


def test_products_with_bare_parameters() -> None:
    torch.manual_seed(0)
    network, inputs = Products(), torch.randn(3, 5)
    found = layer_inputs(network, inputs, parameters(network))
    torch.testing.assert_close(found["right"].values, inputs.T)
    torch.testing.assert_close(found["left"].values, (inputs @ network.right).relu().T)
    assert (found["right"].axis, found["left"].axis) == (0, 1)


class Tied(nn.Module):
    """A decoder that is its encoder transposed, before a classifier."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(units, 6)), nn.Parameter(torch.randn(units))
        self.last = nn.Linear(6, 3)

    def hidden(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs @ self.weight.T + self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.hidden(inputs) @ self.weight)


@pytest.mark.parametrize("units", [6, 10])
def test_a_weight_that_is_multiplied_from_either_side_reads_two_things(units: int) -> None:
    torch.manual_seed(0)
    network, inputs = Tied(units), torch.randn(30, 6)
    found = layer_inputs(network, inputs, parameters(network))
    one, other = found["weight"], found["weight (transposed)"]
    assert (one.weight, one.axis, other.weight, other.axis) == ("weight", 1, "weight", 0)
    torch.testing.assert_close(one.values, inputs.T)
    torch.testing.assert_close(other.values, network.hidden(inputs).T)
    shuffled = sc.permute(network, seed=1, input_shape=(6,))
    data, how = (inputs, torch.arange(30) % 3), sc.Alignment("activation", share=1.0)
    back = sc.align(network, shuffled, method=how, data=data)
    assert same(back.tensors, network.state_dict())
    assert "weight" not in input_products(FlatNetwork(network), [inputs])  # no regression is of both


@pytest.mark.parametrize(
    "style", [parametrizations.weight_norm, parametrizations.spectral_norm, nn.utils.spectral_norm]
)
def test_layers_whose_weights_are_computed(style: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(style(nn.Linear(4, 4)), nn.ReLU(), style(nn.Linear(4, 3)))
    found = layer_inputs(network, inputs := torch.randn(4, 4), parameters(network))
    first, second = found
    torch.testing.assert_close(found[first].values, inputs.T)
    with torch.no_grad():
        torch.testing.assert_close(found[second].values, network.eval()[:2](inputs).T)
    assert {name.partition(".")[0] for name in found} == {"0", "2"}


def test_only_the_names_that_are_asked_for() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    assert list(layer_inputs(network, torch.zeros(2, 4), {"1.weight"})) == ["1.weight"]


@pytest.mark.parametrize(
    ("axes", "shape", "axis", "channels", "expected"),
    [
        (("a", "b"), (4, 6), 1, 6, "b"),
        (("a", "b"), (4, 6), 0, 4, "a"),  # transposed
        (("c", "1", "9", "9"), (6, 1, 3, 3), 1, 6, "c"),  # depthwise
        (("(g o)", "i", "1", "1"), (6, 2, 1, 1), 1, 4, "(g i)"),
        (("(g o)", "i", "3", "3"), (8, 4, 3, 3), 1, 8, "(g i)"),  # as many outputs as inputs
        (("6", "2", "1", "1"), (6, 2, 1, 1), 1, 4, None),  # groups that cannot move
        (("a", "b", "1", "1"), (8, 4, 1, 1), 1, 8, None),
    ],
)
def test_the_units_that_are_read(
    axes: tuple[str, ...], shape: tuple[int, ...], axis: int, channels: int, expected: str | None
) -> None:
    found = channel_axis([parse_axis(each) for each in axes], shape, axis, channels)
    assert (None if found is None else text(found)) == expected


def test_padding_of_texts_is_no_position() -> None:
    gpt = build_network("gpt", dim=8, heads=2, depth=1, mlp_dim=5, length=6, vocab_size=9, num_classes=9).double()
    tokens = torch.randint(9, (3, 6), generator=torch.Generator().manual_seed(0))
    padded = torch.where(torch.arange(6) < torch.tensor([[6], [4], [1]]), tokens, -1)
    found = layer_inputs(gpt, padded, {"blocks.0.attn.qkv.weight", "blocks.0.mlp.fc2.weight"})
    whole = layer_inputs(gpt, tokens, found.keys())
    for name, each in found.items():
        assert torch.allclose(each.values, whole[name].values[:, (padded >= 0).flatten()])
