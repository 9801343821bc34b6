"""FlatNetwork: one vector, the same function, the same gradients, whatever the layout, ties and buffers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from starcli.errors import StarcliError
from starcli.evaluation.mixed_buffers import differing_buffers
from starcli.models.build import build_network
from starcli.models.flat_network import FlatNetwork

FORMATS = [torch.contiguous_format, torch.channels_last]


def network(seed: int = 0) -> nn.Module:
    return build_network("resnet", generator=torch.Generator().manual_seed(seed), width=4, in_channels=1, num_classes=3)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(6, 1, 8, 8, generator=generator), torch.randint(3, (6,), generator=generator)


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder's weight, a frozen scale, a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4, bias=False)
        self.decoder = nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight
        self.scale = nn.Parameter(torch.full((4,), 2.0), requires_grad=False)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("cache", torch.zeros(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decoder(torch.tanh(self.encoder(x))) * self.scale
        return out


@pytest.mark.parametrize("memory_format", FORMATS)
def test_same_function_and_every_parameter_is_a_view(memory_format: torch.memory_format) -> None:
    plain, flat = network(), FlatNetwork(network(), memory_format=memory_format)
    x, _ = batch()
    assert torch.allclose(flat.network.eval()(x), plain.eval()(x), atol=1e-6)
    names = [name for name, _ in plain.named_parameters()]
    assert [slot.name for slot in flat.layout] == names
    assert flat.parameters.numel() == sum(p.numel() for p in plain.parameters())
    for slot, (name, parameter) in zip(flat.layout, flat.network.named_parameters(), strict=True):
        assert name == slot.name
        assert parameter.data_ptr() == flat.parameters.data_ptr() + 4 * slot.offset
        if parameter.ndim == 4:
            assert parameter.is_contiguous(memory_format=memory_format)
    flat.parameters.zero_()
    assert all(not p.any() for p in flat.network.parameters())


@pytest.mark.parametrize("memory_format", FORMATS)
def test_gradients_and_steps_equal_those_of_the_plain_network(memory_format: torch.memory_format) -> None:
    plain, flat = network(), FlatNetwork(network(), memory_format=memory_format)
    x, y = batch()
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2, "nesterov": True}
    one = torch.optim.SGD(plain.parameters(), **options)
    other = torch.optim.SGD(flat.network.parameters(), **options)
    for _ in range(3):
        one.zero_grad()
        functional.cross_entropy(plain(x), y).backward()
        one.step()
        other.zero_grad()
        functional.cross_entropy(flat.network(x), y).backward()
        other.step()
    assert torch.allclose(flat.flatten(plain.state_dict()), flat.parameters, atol=1e-5)
    for mine, its in zip(flat.network.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine.grad, its.grad, atol=1e-5)
    assert torch.allclose(flat.network.bn1.running_mean, plain.bn1.running_mean, atol=1e-6)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_state_load_and_flatten_agree_over_layouts(memory_format: torch.memory_format) -> None:
    source = network(1).state_dict()
    flat = FlatNetwork(network(0), memory_format=memory_format)
    vector = flat.flatten(source)
    flat.load(source)
    assert torch.equal(vector, flat.parameters)
    state = flat.state()
    assert list(state) == list(source)
    assert all(torch.equal(state[name], source[name]) and state[name].is_contiguous() for name in source)
    assert state["bn1.num_batches_tracked"].dtype is torch.int64
    out = torch.zeros_like(vector)
    assert flat.flatten({k: v for k, v in source.items() if "running" not in k}, out=out) is out
    assert torch.equal(out, vector)
    state["conv1.weight"].zero_()
    assert flat.parameters.any()
    assert torch.equal(flat.views(vector)["conv1.weight"], source["conv1.weight"])


@pytest.mark.parametrize("memory_format", FORMATS)
def test_a_star_step_is_one_lerp(memory_format: torch.memory_format) -> None:
    flat = FlatNetwork(network(), memory_format=memory_format)
    a, b = network(1).state_dict(), network(2).state_dict()
    torch.lerp(flat.flatten(a), flat.flatten(b), 0.25, out=flat.parameters)
    for name, parameter in flat.network.named_parameters():
        assert torch.allclose(parameter, 0.75 * a[name] + 0.25 * b[name], atol=1e-7)
    x, y = batch()
    functional.cross_entropy(flat.network(x), y).backward()
    assert all(parameter.grad.any() for parameter in flat.network.parameters())


def test_tied_frozen_and_buffers() -> None:
    flat = FlatNetwork(Tied())
    assert [slot.name for slot in flat.layout] == ["encoder.weight", "decoder.bias"]
    assert flat.tied == (("encoder.weight", "decoder.weight"),)
    assert set(flat.buffers) == {"scale", "count"}
    assert flat.network.decoder.weight is flat.network.encoder.weight
    state = flat.state()
    assert set(state) == {"encoder.weight", "decoder.weight", "decoder.bias", "scale", "count"}
    assert state["encoder.weight"].data_ptr() != state["decoder.weight"].data_ptr()
    flat.network(torch.ones(2, 4)).sum().backward()
    assert flat.network.encoder.weight.grad.any()
    flat.load({**state, "count": torch.tensor(8), "scale": torch.ones(4)})
    assert int(flat.network.count) == 8
    assert torch.equal(flat.buffers["scale"], torch.ones(4))
    with pytest.raises(StarcliError, match=r"encoder\.weight, decoder\.weight are tied, but differ by up to 1"):
        flat.load({**state, "decoder.weight": state["decoder.weight"] + 1})


def test_load_reports_every_problem_unknown_names_first() -> None:
    flat = FlatNetwork(network())
    bad = {name: tensor + 1 for name, tensor in flat.state().items()}
    del bad["conv1.weight"]
    bad["linear.weight"] = torch.zeros(3, 3)
    bad["other"] = torch.zeros(1)
    bad["bn1.num_batches_tracked"] = torch.zeros(())  # torch takes floats for integers
    with pytest.raises(StarcliError) as caught:
        flat.load(bad)
    assert caught.value.problems == (
        "other: not in the network",
        "linear.weight: shape (3, 3), the network has (3, 16)",
        "conv1.weight: missing",
    )
    with pytest.raises(StarcliError, match=r"conv1\.weight: missing"):
        flat.flatten({})


class Keeps(nn.Module):
    """A layer that keeps a shift as extra state."""

    def __init__(self, shift: float = 1.0) -> None:
        super().__init__()
        self.layer, self.shift = nn.Linear(4, 3), torch.tensor(shift)

    def get_extra_state(self) -> Tensor:
        return self.shift.clone()

    def set_extra_state(self, state: Any) -> None:
        self.shift = state.clone()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) + self.shift
        return out


def test_extra_state_goes_with_the_buffers() -> None:
    models = [nn.Sequential(Keeps(shift)).state_dict() for shift in (2.0, 2.0, 4.0)]
    flat = FlatNetwork(nn.Sequential(Keeps()))
    assert flat.buffers == {}
    assert flat.extra_state.keys() == {"0._extra_state"}
    assert flat.load_buffers(models[:2], [0.5, 0.5]) == []
    assert float(flat.network[0].shift) == 2.0
    assert flat.load_buffers(models[1:], [0.25, 0.75]) == ["0._extra_state"]
    assert float(flat.network[0].shift) == 3.5
    flat.load(models[0])
    assert float(flat.network[0].shift) == 2.0
    assert differing_buffers(flat, models) == ["0._extra_state"]


def test_what_shared_memory_and_state_that_is_no_tensor_cannot_be_trained() -> None:
    flat = FlatNetwork(Tied())
    flat.check_trainable()
    network = Tied()
    network.register_buffer("first", network.decoder.bias.data[:1])
    network.other = nn.Parameter(network.encoder.weight.data.t())
    with pytest.raises(StarcliError, match="cannot be trained here") as caught:
        FlatNetwork(network).check_trainable()
    assert sorted(caught.value.problems) == [
        "decoder.bias, first: share memory, and training here would move one alone",
        "other, encoder.weight: share memory, and training here would move one alone",
    ]
    keeps = Keeps()
    keeps.get_extra_state = lambda: {"shift": 1.0}
    with pytest.raises(StarcliError) as caught:
        FlatNetwork(keeps).check_trainable()
    assert caught.value.problems == ("_extra_state: a dict, no tensor",)
