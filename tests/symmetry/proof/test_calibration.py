"""What one pass of inputs sets at generic weights: statistics, and weights of layers that are loud or normalised."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import utils
from torch.nn.utils import parametrizations

from starcli.symmetry.proof.redraw import LOUD, calibrate_, has_norms


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rms(x: Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


def calibrated(network: nn.Module, *inputs: Tensor, size: float = 1.0) -> nn.Module:
    network.eval()
    calibrate_(network, lambda given: network(*given), [(each,) for each in inputs], 0, size)
    return network


NORMS: dict[str, tuple[Callable[[int], nn.Module], tuple[int, ...]]] = {
    "vectors": (nn.BatchNorm1d, ()),
    "images": (nn.BatchNorm2d, (3, 2)),
}


@pytest.mark.parametrize("size", [1.0, 0.01])
@pytest.mark.parametrize("kind", NORMS)
def test_running_statistics_are_near_those_of_all_inputs(kind: str, size: float) -> None:
    """Variances by a factor from 0.7 to 1.3, none below that of the layer, means by 0.3 deviations."""
    make, places = NORMS[kind]
    shape = (1, 800, *(1 for _ in places))
    spread, offset = torch.rand(shape, generator=torch.Generator().manual_seed(1)), 2 * normal(*shape, seed=2)
    inputs = [size * (normal(20, 800, *places, seed=seed) * spread + offset) for seed in (3, 4)]
    norm = calibrated(make(800), *inputs)
    by_channel = torch.cat(inputs).movedim(1, 0).flatten(1).double()
    variance, average = by_channel.var(1, correction=0), by_channel.mean(1)
    of_layer = float(by_channel.var(correction=0)) + 1e-6  # that of all values: within channels and between them
    variance = variance.clamp(min=of_layer)
    factor, moved = norm.running_var / variance, (norm.running_mean - average) / variance.sqrt()
    assert [float(each) for each in factor.aminmax()] == pytest.approx([0.7, 1.3], abs=0.02)
    assert float(moved.std()) == pytest.approx(0.3, rel=0.1)
    assert abs(float(moved.mean())) < 0.05


def test_draws_are_those_of_the_seed() -> None:
    for network in (nn.BatchNorm1d(6), nn.Linear(6, 6)):
        states = [calibrated(copy.deepcopy(network), normal(9, 6)).state_dict() for _ in range(2)]
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


class OnlyFour(nn.Module):
    """Takes four examples, no more."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.reshape(4, 5))


def test_of_a_network_that_takes_no_larger_batch_the_first_input_alone_gives_them() -> None:
    first, second = 100 + normal(4, 5), normal(4, 5, seed=1)
    norm = calibrated(OnlyFour(), first, second).norm
    assert float((norm.running_mean - 100).abs().max()) < 5
    with pytest.raises(RuntimeError, match="shape"):
        calibrated(OnlyFour(), normal(3, 5), second)


class Own(nn.Module):
    """A norm of its own, which takes a single example without a batch as well."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.running_mean) / self.running_var.sqrt()


@pytest.mark.parametrize("shape", [(1, 4), (1, 1), (4,)])
def test_a_single_example_gives_finite_ones_too(shape: tuple[int, ...]) -> None:
    network = nn.Sequential(nn.Linear(shape[-1], shape[-1]), Own(shape[-1]))
    calibrated(network, normal(*shape))
    assert network[1].running_mean.any()
    assert float(network[1].running_var.min()) > 0
    layer = calibrated(nn.Linear(shape[-1], shape[-1]), normal(*shape))
    assert all(each.isfinite().all() for each in (*network.state_dict().values(), *layer.parameters()))


class Twice(nn.Module):
    """Calls a module twice, the second time with much larger values; `keyword`: by the name of its argument."""

    def __init__(self, module: nn.Module, keyword: str = "") -> None:
        super().__init__()
        self.module, self.keyword = module, keyword

    def forward(self, x: Tensor) -> Tensor:
        if self.keyword:
            return self.module(**{self.keyword: x})
        return self.module(x) + self.module(100 * x + 100)


@pytest.mark.parametrize("make", [nn.BatchNorm1d, lambda width: nn.Linear(width, 5)])
def test_the_first_call_of_a_module_counts_and_nothing_is_left_behind(make: Callable[[int], nn.Module]) -> None:
    once, twice = (make(6) for _ in range(2))
    twice.load_state_dict(once.state_dict())
    network, x = Twice(twice), normal(9, 6)
    calibrated(once, x)
    calibrated(network, x)
    assert all(torch.equal(tensor, once.state_dict()[name]) for name, tensor in twice.state_dict().items())
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in network.modules())
    calibrated(Twice(make(6), "input"), x)


class Centred(nn.Module):
    """Something of its own, with a mean and no variance."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.running_mean


def test_a_mean_without_a_variance_stays() -> None:
    assert torch.equal(calibrated(Centred(), normal(4, 5)).running_mean, torch.ones(5))


LAYERS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...], int]] = {
    "linear": (lambda **how: nn.Linear(6, 300, **how), (50, 7, 6), -1),
    "conv": (lambda **how: nn.Conv1d(6, 300, 1, **how), (50, 6, 7), 1),
}


@pytest.mark.parametrize(("loudness", "size", "expected"), [(10, 1, 1), (0.9, 1, None), (10, 2, 2), (0.1, 2, 2)])
@pytest.mark.parametrize("kind", LAYERS)
def test_layers_that_are_loud_are_damped(kind: str, loudness: float, size: float, expected: float | None) -> None:
    make, shape, _ = LAYERS[kind]
    layer, x = make(bias=False), normal(*shape)
    with torch.no_grad():
        layer.weight.mul_(loudness * LOUD / rms(layer(x)))
    found = rms(calibrated(layer, x, size=size)(x))
    assert found == pytest.approx(loudness * LOUD if expected is None else expected, rel=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_biases_leave_units_on_for_some_inputs_and_off_for_others(kind: str) -> None:
    make, shape, channel = LAYERS[kind]
    x = normal(*shape) + 5
    found = calibrated(make(), x)(x).detach().movedim(channel, 0).flatten(1)
    moved = found.mean(1) / found.std(1)
    assert float(moved.std()) == pytest.approx(0.3, rel=0.15)
    assert abs(float(moved.mean())) < 0.06


def test_a_layer_that_gives_nothing_stays() -> None:
    layer = nn.Linear(3, 4)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    assert not any(parameter.any() for parameter in calibrated(layer, normal(5, 3), size=2.0).parameters())


WRAPPED = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "weight norm, old": utils.weight_norm,
    "spectral norm, old": utils.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("size", [1.0, 3.0])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", WRAPPED)
def test_normalised_weights_let_their_outputs_vary_by_the_size(kind: str, layer: str, size: float) -> None:
    make, shape, channel = LAYERS[layer]
    x = normal(*shape)
    network = calibrated(nn.Sequential(WRAPPED[kind](make())), x, size=size)
    found = network(x).detach().movedim(channel, 0).flatten(1)
    assert float(found.var(1, correction=0).mean().sqrt()) == pytest.approx(size, rel=1e-4)


def test_a_normalised_weight_of_nothing_stays() -> None:
    layer = parametrizations.weight_norm(nn.Linear(3, 4))
    nn.init.zeros_(layer.parametrizations.weight.original0)
    assert not calibrated(layer, normal(5, 3)).parametrizations.weight.original0.any()


def test_what_normalises_values_is_told_from_what_normalises_weights() -> None:
    wrapped = [parametrizations.weight_norm(nn.Linear(2, 2)), parametrizations.spectral_norm(nn.Linear(2, 2))]
    assert not has_norms(nn.Sequential(*wrapped, nn.ReLU()))
    assert has_norms(nn.Sequential(*wrapped, nn.RMSNorm(2)))
