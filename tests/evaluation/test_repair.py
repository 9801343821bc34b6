"""REPAIR against closed formulas: moments of units at points between models, folded into ordinary weights."""

import numpy as np
import pytest
import torch
from support.tensors import same
from torch import Tensor, nn

from starcli.evaluation.evaluator import Evaluator, PathEnd
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.repair import Repair, UnitMoments, moments_between
from starcli.evaluation.repairable_layers import repairable_layers
from starcli.models.build import build_network
from starcli.runtime.progress import Interrupted, Progress
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

REPAIR, WITH_LOGITS = Renormalise("repair"), Renormalise("repair", logits=True)

PLAIN = {"depth": 3, "hidden_dim": 8, "batch_norm": "none"}


def of_mlp(**arguments: object) -> Workspace:
    return new_workspace(Choices(arch="mlp", arch_args={**PLAIN, **arguments}, data="digits", limit=120, device="cpu"))


def inputs_of(workspace: Workspace) -> np.ndarray:
    return torch.cat([inputs for inputs, _ in workspace.dataset.train.batches(50)]).flatten(1).double().numpy()


def preactivations(model: dict[str, Tensor], inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What each layer of a perceptron without norms gives, by hand: (examples, units)."""
    found, x = {}, inputs
    for name in ("fc1", "hidden_layers.0.0", "hidden_layers.1.0", "fc2"):
        bias = model[f"{name}.bias"].double().numpy() if f"{name}.bias" in model else 0
        found[name] = x @ model[f"{name}.weight"].double().numpy().T + bias
        x = np.maximum(found[name], 0)
    return found


@pytest.mark.parametrize("t", [0.2, 0.5])
def test_moments_lie_on_the_line_between_those_of_the_models(t: float) -> None:
    workspace = of_mlp()
    evaluator, inputs = Evaluator(workspace, renormalise=WITH_LOGITS), inputs_of(workspace)
    a, b = (workspace.network(seed=seed).state() for seed in (1, 2))
    evaluator.load_between(PathEnd(a), PathEnd(b), t)
    first, last, found = (preactivations(each, inputs) for each in (a, b, evaluator.network.state()))
    for name, values in found.items():
        for moment in (np.mean, np.std):
            expected = (1 - t) * moment(first[name], axis=0) + t * moment(last[name], axis=0)
            np.testing.assert_allclose(moment(values, axis=0), expected, rtol=1e-5, atol=1e-6)


def test_logits_alone_are_restored_too() -> None:
    workspace = of_mlp()
    evaluator, inputs = Evaluator(workspace, renormalise=Renormalise(logits=True)), inputs_of(workspace)
    a, b = (workspace.network(seed=seed).state() for seed in (1, 2))
    evaluator.load_between(PathEnd(a), PathEnd(b), 0.5)
    point = evaluator.network.state()
    torch.testing.assert_close(point["fc1.weight"], (a["fc1.weight"] + b["fc1.weight"]) / 2)
    first, last, found = (preactivations(each, inputs)["fc2"] for each in (a, b, point))
    np.testing.assert_allclose(found.std(0), (first.std(0) + last.std(0)) / 2, rtol=1e-5)
    np.testing.assert_allclose(found.mean(0), (first.mean(0) + last.mean(0)) / 2, rtol=1e-5, atol=1e-6)


def test_layers_without_bias_have_their_deviation_restored() -> None:
    workspace = of_mlp(bias=False)
    evaluator, inputs = Evaluator(workspace, renormalise=REPAIR), inputs_of(workspace)
    a, b = (workspace.network(seed=seed).state() for seed in (1, 2))
    evaluator.load_between(PathEnd(a), PathEnd(b), 0.5)
    first, last, found = (preactivations(each, inputs) for each in (a, b, evaluator.network.state()))
    for name in ("fc1", "hidden_layers.0.0", "hidden_layers.1.0"):
        np.testing.assert_allclose(found[name].std(0), (first[name].std(0) + last[name].std(0)) / 2, rtol=1e-5)


@pytest.mark.parametrize("at_once", [2**22, 10])
def test_moments_are_pooled_over_batches_of_any_size(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starcli.evaluation.repair.VALUES_AT_ONCE", at_once)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    data = torch.randn(37, 2, 5, 5)
    layers = repairable_layers(network, data, WITH_LOGITS)
    whole = Repair(network, layers, [(data, None)]).measure()
    parts = Repair(network, layers, [(part, None) for part in data.split(7)]).measure()
    outputs = network[0](data).double().movedim(1, -1).flatten(0, 2)
    torch.testing.assert_close(whole["0"].mean, outputs.mean(0).detach(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(whole["0"].std, outputs.std(0).detach(), rtol=1e-6, atol=1e-7)
    for name, moments in whole.items():
        torch.testing.assert_close(moments.mean, parts[name].mean, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(moments.std, parts[name].std, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("how", [REPAIR, WITH_LOGITS])
@pytest.mark.parametrize("arguments", [{}, {"batch_norm": "inner"}])
def test_between_a_model_and_itself_nothing_changes(how: Renormalise, arguments: dict[str, object]) -> None:
    workspace = of_mlp(**arguments)
    model = workspace.network(seed=3).state()
    evaluator = Evaluator(workspace, renormalise=how)
    for t in (0.1, 0.3, 0.7):
        evaluator.load_between(PathEnd(model), PathEnd(dict(model)), t)
        found = evaluator.network.state()
        assert all(torch.equal(found[slot.name], model[slot.name]) for slot in evaluator.network.layout)


def test_units_that_are_constant_are_shifted_and_not_scaled() -> None:
    torch.manual_seed(0)
    network, data = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(50, 2)
    with torch.no_grad():
        network[0].weight[0] = 0  # at the point
    kept = network[0].weight.detach().clone()
    repair = Repair(network, repairable_layers(network, data, REPAIR), [(data, None)])
    target = UnitMoments(torch.tensor([2.0, 3.0, 4.0]).double(), torch.tensor([1.0, 0.0, 2.0]).double())  # 1: in models
    repair.restore_({"0": target})
    torch.testing.assert_close(network[0].weight[:2], kept[:2])
    found = repair.measure()["0"]
    torch.testing.assert_close(found.mean, target.mean, rtol=1e-6, atol=1e-6)
    assert found.std[2] == pytest.approx(2.0, rel=1e-6)
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())


def test_what_is_constant_is_told_by_the_size_of_the_mean() -> None:
    """Rounding makes a millionth of it and less."""
    mean, std = torch.tensor([-1e3, 1e-3, 1e3, 0.0]).double(), torch.tensor([1e-4, 1e-8, 1e-2, 0.0]).double()
    assert UnitMoments(mean, std).vary.tolist() == [False, True, True, False]


def test_batchnorm_after_a_repaired_layer_sees_what_it_gives() -> None:
    """The statistics that a network has after a repair are those that a new estimate gives it."""
    workspace = of_mlp(batch_norm="inner")
    evaluator = Evaluator(workspace, renormalise=WITH_LOGITS)
    a, b = (workspace.network(seed=seed).state() for seed in (1, 2))
    evaluator.load_between(PathEnd(a), PathEnd(b), 0.5)
    found = evaluator.network.state()
    evaluator.recalibrate()
    again = evaluator.network.state()
    assert all(torch.equal(found[name], again[name]) for name in found if "running" in name)
    moments = [Evaluator(workspace, renormalise=WITH_LOGITS) for _ in range(3)]
    ends = [PathEnd(a), PathEnd(b), PathEnd(found)]
    for one, end in zip(moments, ends, strict=True):
        one.moments_between([end, end], [0.5, 0.5])
    target = moments_between([ends[0].moments, ends[1].moments], [0.5, 0.5])
    assert set(target) == {"fc1", "fc2"}
    for name, each in target.items():
        torch.testing.assert_close(ends[2].moments[name].std, each.std, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(ends[2].moments[name].mean, each.mean, rtol=1e-5, atol=1e-5)


def test_networks_that_batchnorm_renormalises_are_recalibrated_as_ever() -> None:
    workspace = new_workspace(Choices(arch="resnet", arch_args={"width": 4}, data="digits", limit=120, device="cpu"))
    a, b = (PathEnd(workspace.network(seed=seed).state()) for seed in (1, 2))
    states = []
    for how in (RECALIBRATE, REPAIR):
        evaluator = Evaluator(workspace, renormalise=how)
        evaluator.load_between(a, b, 0.5)
        states.append(evaluator.network.state())
    assert same(states[0], states[1])


def test_moments_between_equal_models_are_theirs() -> None:
    one = {"a": UnitMoments(torch.tensor([0.1, 0.2]).double(), torch.tensor([0.3, 0.7]).double())}
    for weights in ([0.3, 0.7], [1 / 3, 1 / 3, 1 / 3]):
        found = moments_between([one] * len(weights), weights)["a"]
        assert torch.equal(found.mean, one["a"].mean)
        assert torch.equal(found.std, one["a"].std)


def test_ends_with_their_own_statistics_have_the_moments_of_these() -> None:
    workspace = of_mlp(batch_norm="inner")
    a, b = (workspace.network(seed=seed).state() for seed in (1, 2))
    moments = []
    for statistics in ("recalibrate", "own-ends"):
        ends = [PathEnd(a), PathEnd(b)]
        Evaluator(workspace, renormalise=WITH_LOGITS, statistics=statistics).moments_between(ends, [0.5, 0.5])
        moments.append(ends[0].moments)
    assert torch.equal(moments[0]["fc1"].std, moments[1]["fc1"].std)  # before any BatchNorm
    assert not torch.allclose(moments[0]["fc2"].std, moments[1]["fc2"].std)
    network = workspace.network().network
    network.load_state_dict(a)
    with torch.no_grad():
        logits = torch.cat([network.eval()(inputs) for inputs, _ in workspace.dataset.train.batches(50)]).double()
    torch.testing.assert_close(moments[1]["fc2"].std, logits.std(0), rtol=1e-5, atol=1e-7)


def test_a_stop_leaves_the_network_without_hooks_and_in_its_mode() -> None:
    torch.manual_seed(0)
    network, data = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).train(), torch.rand(50, 2)

    class Stopping(Progress):
        def stop_if_asked(self) -> None:
            raise Interrupted(2)

    repair = Repair(network, repairable_layers(network, data, REPAIR), [(data, None)], progress=Stopping())
    for work in (repair.measure, lambda: repair.restore_({"0": UnitMoments(torch.zeros(3), torch.ones(3))})):
        with pytest.raises(Interrupted):
            work()
        assert all(module.training and not module._forward_hooks for module in network.modules())


def test_a_forward_pass_goes_no_further_than_its_layer() -> None:
    network, data = (
        nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)),
        torch.rand(50, 2),
    )
    layers = repairable_layers(network, data, REPAIR)
    calls = dict.fromkeys((0, 2, 4), 0)
    for place in calls:
        network[place].register_forward_pre_hook(lambda *_, place=place: calls.update({place: calls[place] + 1}))
    target = UnitMoments(torch.zeros(3).double(), torch.ones(3).double())
    Repair(network, layers, [(data, None)]).restore_({"0": target, "2": target})
    assert calls == {0: 2, 2: 1, 4: 0}


def test_padding_of_texts_is_no_part_of_the_moments() -> None:
    gpt = build_network("gpt", dim=8, heads=2, depth=1, mlp_dim=5, length=6, vocab_size=9, num_classes=9).double()
    tokens = torch.randint(9, (3, 6), generator=torch.Generator().manual_seed(0))
    here = torch.arange(6) < torch.tensor([[6], [4], [0]])
    padded = torch.where(here, tokens, -1)
    units: list[Tensor] = []
    layer = gpt.get_submodule("blocks.0.mlp.fc1")
    with torch.no_grad():
        hook = layer.register_forward_hook(lambda *arguments: units.append(arguments[-1]))
        gpt.eval()(padded)
        hook.remove()
        layers = repairable_layers(gpt, padded, REPAIR)
        # a batch of nothing but padding adds nothing
        found = Repair(gpt, layers, [(padded, None), (padded[2:], None)]).measure()
    assert found.keys() == {"blocks.0.mlp.fc1"}
    values = units[0][here].numpy()  # (tokens, units)
    np.testing.assert_allclose(found["blocks.0.mlp.fc1"].mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found["blocks.0.mlp.fc1"].std, values.std(0, ddof=1), rtol=1e-12)
