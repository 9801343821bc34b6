"""Evaluation against plain float64 oracles, and BatchNorm statistics against the moments of all activations at once."""

import copy
import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pretended import pretended_cuda
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from starcli.data.normalisation import Normalisation
from starcli.data.splits import MemorySplit
from starcli.errors import StarcliError
from starcli.evaluation.batchnorm_statistics import has_batch_statistics, recalibrate_from_, statistics_batch_size
from starcli.evaluation.evaluator import Evaluator, recalibrate_
from starcli.evaluation.scores import Scores, score_network
from starcli.runtime import distributed
from starcli.runtime.progress import Interrupted, Progress
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

CPU = torch.device("cpu")


def split_of(count: int, shape: tuple[int, ...] = (2, 5, 5), classes: int = 4) -> MemorySplit:
    generator = torch.Generator().manual_seed(count)
    raw = 3 + 2 * torch.randn(count, *shape, generator=generator)
    return MemorySplit(raw, torch.randint(classes, (count,), generator=generator), Normalisation(1.0, (0.0,), (1.0,)))


class Net(nn.Module):
    """Both kinds of BatchNorm, one of them used twice in a forward pass, and dropout."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.BatchNorm2d(2)
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.shared = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(50, 6)
        self.last = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 4)
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.conv(self.first(x)))
        x = self.shared(self.conv(torch.relu(x)))
        x = self.last(self.linear(self.dropout(x.flatten(1))))
        out: Tensor = self.head(torch.relu(x))
        return out


def seen_by(layers: list[nn.Module], network: nn.Module, split: MemorySplit, size: int) -> list[list[Tensor]]:
    """What each layer saw in each call of one pass, channels last and flattened, float64: (count, channels)."""
    seen: list[list[Tensor]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_hook(lambda _, a, __, kept=kept: kept.append(a[0].movedim(1, -1).flatten(0, -2)))
        for layer, kept in zip(layers, seen, strict=True)
    ]
    recalibrate_(network, split, batch_size=size, device=CPU)
    for hook in hooks:
        hook.remove()
    return [[each.double() for each in kept] for kept in seen]


@pytest.mark.parametrize("size", [37, 16, 10, 7])  # one batch, and last batches of 5, 7 and 2
def test_statistics_are_those_of_all_activations_of_a_call_at_once(size: int) -> None:
    network = Net()
    layers = {network.first: 1, network.shared: 2, network.last: 1}
    for (layer, calls), seen in zip(layers.items(), seen_by([*layers], network, split_of(37), size), strict=True):
        of_calls = [torch.cat(seen[number::calls]) for number in range(calls)]
        mean, variance = (torch.stack(each).mean(0).float() for each in zip(*map(moments, of_calls), strict=True))
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(layer.running_var, variance, rtol=2e-6, atol=1e-7)


def moments(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance over the first axis."""
    return seen.mean(0), seen.var(0, unbiased=True)


class Recurrent(nn.Module):
    """A norm on a state that is called three times in a forward pass, each time on other values."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv, self.norm, self.head = nn.Conv2d(2, 2, 3, padding=1), norm, nn.Linear(50, 4)
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.relu(3 * self.norm(self.conv(x)) + 1)
        out: Tensor = self.head(x.flatten(1))
        return out


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_a_norm_called_several_times_has_what_torchs_update_bn_gives_it(kind: Any) -> None:
    """Which knows BatchNorm alone: InstanceNorm, too, has the mean over its calls."""
    network, split = Recurrent(kind(2, track_running_stats=True)), split_of(60)
    [(inputs, _)] = split.batches(60)
    expected = copy.deepcopy(network)
    if kind is nn.BatchNorm2d:
        update_bn([inputs], expected)
    else:
        expected.norm.momentum = 1.0
        of_calls: list[tuple[Tensor, Tensor]] = []
        expected.norm.register_forward_hook(
            lambda norm, *_: of_calls.append((norm.running_mean.clone(), norm.running_var.clone()))
        )
        expected(inputs)
        mean, variance = (torch.stack(each).mean(0) for each in zip(*of_calls, strict=True))
        expected.norm.running_mean, expected.norm.running_var = mean, variance
    recalibrate_(network, split, batch_size=60, device=CPU)
    torch.testing.assert_close(network.norm.running_mean, expected.norm.running_mean)
    torch.testing.assert_close(network.norm.running_var, expected.norm.running_var)


@pytest.mark.parametrize("size", [4, 7, 30])
def test_instance_norm_has_the_means_of_each_examples_statistics(size: int) -> None:
    split = split_of(30)
    network = nn.Sequential(nn.InstanceNorm2d(2, track_running_stats=True), nn.Flatten(), nn.Linear(50, 4))
    recalibrate_(network, split, batch_size=size, device=CPU)
    [(inputs, _)] = split.batches(30)
    variance, mean = torch.var_mean(inputs.double(), (2, 3))
    torch.testing.assert_close(network[0].running_mean, mean.mean(0).float())
    torch.testing.assert_close(network[0].running_var, variance.mean(0).float())


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_statistics_on_a_gpu_are_those_on_the_cpu(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [(inputs, labels) for inputs, labels in split_of(30).batches(16)]
    network = nn.Sequential(kind(2, track_running_stats=True), nn.Flatten(), nn.Linear(50, 4))
    expected = copy.deepcopy(network)
    recalibrate_from_(expected, batches, autocast=nullcontext())
    with pretended_cuda(monkeypatch):
        network.to("cuda:0")
        recalibrate_from_(network, [(x.to("cuda:0"), y) for x, y in batches], autocast=nullcontext())
        found = network[0].running_mean.cpu(), network[0].running_var.cpu()
    assert torch.equal(found[0], expected[0].running_mean)
    assert torch.equal(found[1], expected[0].running_var)


def test_a_small_last_batch_weighs_by_its_size() -> None:
    """Where a running average would give the last two examples half of the weight."""
    network, split = Net(), split_of(102)
    recalibrate_(network, split, batch_size=100, device=CPU)
    exact = split.raw.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(network.first.running_mean, exact.mean(1).float(), rtol=1e-6, atol=1e-6)


def test_recalibration_leaves_everything_else_alone() -> None:
    network = Net(dropout=0.5)
    network.train()
    network.conv.eval()
    with torch.no_grad():
        network.shared.num_batches_tracked.fill_(7)
        network.shared.running_mean.fill_(math.inf)  # must not survive as 0 * inf
    before = {name: p.clone() for name, p in network.named_parameters()}
    recalibrate_(network, split_of(37), batch_size=10, device=CPU)
    assert network.shared.momentum == 0.1
    assert network.shared.num_batches_tracked.dtype == torch.int64
    assert network.shared.num_batches_tracked == 7
    assert network.dropout.training
    assert network.shared.training
    assert not network.conv.training
    assert not network.shared._forward_hooks
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    plain = Net(dropout=0.0)
    recalibrate_(plain, split_of(37), batch_size=10, device=CPU)
    assert torch.equal(plain.last.running_mean, network.last.running_mean)  # dropout was off
    assert network.shared.running_mean.isfinite().all()


def test_twice_is_the_same_bit_for_bit() -> None:
    network = Net()
    recalibrate_(network, split_of(37), batch_size=10, device=CPU)
    first = {name: b.clone() for name, b in network.named_buffers()}
    recalibrate_(network, split_of(37), batch_size=10, device=CPU)
    assert all(torch.equal(b, first[name]) for name, b in network.named_buffers())


class OnGpu(torch.Tensor):
    """As on a GPU of this rank's: what is made of it lies there too, until it is moved."""

    def cpu(self) -> Tensor:
        return self.as_subclass(Tensor)


def test_ranks_give_each_other_their_moments_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickled on a GPU of its own, another rank's would come back there."""
    alone, shared = Net(), Net()
    recalibrate_(alone, split_of(38), batch_size=10, device=CPU)
    for layer in shared.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean, layer.running_var = (
                each.as_subclass(OnGpu) for each in (layer.running_mean, layer.running_var)
            )

    def twice(layers: list[list[Any]]) -> list[list[list[Any]]]:
        assert [len(calls) for calls in layers] == [1, 2, 1]
        assert all(type(tensor) is Tensor for calls in layers for each in calls for tensor in (each.mean, each.m2))
        return [layers, copy.deepcopy(layers)]

    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "all_gather", twice)
    batches = list(split_of(38).batches(10))
    recalibrate_from_(shared, batches, autocast=nullcontext(), shared=True)
    torch.testing.assert_close(shared.last.running_mean.cpu(), alone.last.running_mean)
    factor = (38 - 1) / (38 - 0.5)  # of the same sample twice: the unbiased variance has one more example less
    torch.testing.assert_close(shared.last.running_var.cpu(), alone.last.running_var * factor, rtol=1e-2, atol=0)


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_ranks_agree_with_one_process_on_each_call(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three ranks, of which one has no batch."""
    alone, shared = (Recurrent(kind(2, track_running_stats=True)) for _ in range(2))
    batches = list(split_of(38).batches(10))
    recalibrate_from_(alone, batches, autocast=nullcontext())
    ranks: list[Any] = []
    monkeypatch.setattr(distributed, "size", lambda: 3)
    monkeypatch.setattr(distributed, "all_gather", lambda found: ranks.append(found) or ranks)
    for own in ([], batches[:1], batches[1:]):
        recalibrate_from_(shared, own, autocast=nullcontext(), shared=True)
        ranks = copy.deepcopy(ranks)
    torch.testing.assert_close(shared.norm.running_mean, alone.norm.running_mean)
    torch.testing.assert_close(shared.norm.running_var, alone.norm.running_var)


def test_a_single_example_is_an_error_and_no_batch_norm_is_nothing() -> None:
    network = Net()
    with pytest.raises(StarcliError, match="at least 2 examples"):
        recalibrate_(network, split_of(1), batch_size=1, device=CPU)
    assert network.shared.momentum == 0.1
    linear = nn.Linear(3, 2)
    assert not has_batch_statistics(linear)
    recalibrate_(linear, split_of(1, (3,)), batch_size=1, device=CPU)
    assert not has_batch_statistics(nn.BatchNorm1d(3, track_running_stats=False))


@settings(max_examples=300, deadline=None)
@given(
    count=st.integers(1, 100_000),
    shape=st.sampled_from([(10,), (1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 224, 224)]),
)
def test_batch_sizes_follow_the_rule(count: int, shape: tuple[int, ...]) -> None:
    size = statistics_batch_size(shape, count)
    assert 1 <= size <= min(count, 1024)
    assert size * shape[-1] * (shape[-2] if len(shape) > 1 else 1) <= max(2**17, 64 * 224 * 224)
    assert count < 2 or size > 1
    assert count < 4 or count % size != 1


def test_known_batch_sizes() -> None:
    assert statistics_batch_size((3, 32, 32), 45_000) == 128
    assert statistics_batch_size((3, 224, 224), 1_281_167) == 64
    assert statistics_batch_size((1, 8, 8), 1437) == 719  # two even batches, not 1024 and 413


def test_scores_are_the_plain_float64_ones() -> None:
    network, split = Net(), split_of(41)
    network.train()
    found = score_network(network, split, batch_size=7, device=CPU)
    assert network.training
    inputs, labels = next(split.batches(41))
    exact = network.double().eval()(inputs.double()).detach()
    assert found.count == 41
    assert found.loss == pytest.approx(float(nn.functional.cross_entropy(exact, labels)), rel=1e-6)
    assert found.accuracy == int((exact.argmax(1) == labels).sum()) / 41


def test_log_probabilities_are_in_order_and_normalised() -> None:
    workspace = new_workspace(Choices(arch="mlp", data="digits", limit=41, device="cpu"))
    evaluator = Evaluator(workspace)
    evaluator.load(workspace.network(seed=3).state())
    found = evaluator.all_predictions("train")
    assert found.shape == (41, 10)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.exp().sum(1), torch.ones(41, dtype=torch.float64))
    inputs, _ = next(workspace.dataset.train.batches(41))
    network = workspace.network(seed=3)
    exact = network.network.eval().double()(inputs.double()).log_softmax(1)
    torch.testing.assert_close(found, exact.detach(), rtol=1e-4, atol=1e-4)


def test_a_signal_stops_within_a_pass_and_puts_the_network_back() -> None:
    network, watcher = Net(), Progress()
    watcher.stop_signal = 2
    for function in (recalibrate_, score_network):
        with pytest.raises(Interrupted):
            function(network, split_of(37), batch_size=10, device=CPU, progress=watcher)
    assert network.shared.momentum == 0.1
    assert network.training


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return new_workspace(Choices(arch="resnet", data="digits", limit=200, device="cpu"))


def test_an_evaluator_measures_what_is_loaded(workspace: Workspace) -> None:
    a, b = (workspace.network(seed=seed).state() for seed in (0, 1))
    evaluator = Evaluator(workspace)
    evaluator.load(a)
    first = evaluator.scores()
    evaluator.load(b)
    assert evaluator.scores() != first
    evaluator.load(a)
    assert evaluator.scores() == first  # nothing of b is left
    assert first["train"].count == len(workspace.dataset.train)
    size = statistics_batch_size(workspace.dataset.extent, len(workspace.dataset.train))
    other = workspace.network(seed=0)
    recalibrate_(other.network, workspace.dataset.train, batch_size=size, device=CPU)
    assert score_network(other.network, workspace.dataset.train, batch_size=size, device=CPU) == first["train"]
    assert evaluator.all_predictions("test").shape == (len(workspace.dataset.test), 10)


def test_own_statistics_are_used_where_asked_for(workspace: Workspace) -> None:
    model = workspace.network(seed=0).state()
    evaluator = Evaluator(workspace, splits=("test",))
    evaluator.load(model, own_statistics=True)
    own = evaluator.scores()["test"]
    plain = workspace.network(seed=0)
    assert score_network(plain.network, workspace.dataset.test, batch_size=1000, device=CPU).loss == pytest.approx(
        own.loss, rel=1e-6
    )
    evaluator.load(model)
    assert evaluator.scores()["test"] != own


def test_bf16_is_near_float32(workspace: Workspace) -> None:
    network, split = workspace.network(seed=0).network, workspace.dataset.train
    found: list[Scores] = []
    for precision in ("fp32", "bf16"):
        recalibrate_(network, split, batch_size=100, device=CPU, precision=precision)
        found.append(score_network(network, split, batch_size=100, device=CPU, precision=precision))
    exact, rough = found
    assert rough.loss != exact.loss
    assert rough.loss == pytest.approx(exact.loss, rel=1e-2)
