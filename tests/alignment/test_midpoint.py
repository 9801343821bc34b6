"""The loss of a midpoint: what the evaluator measures of the mean of two models, on some of the examples."""

from functools import cache

import pytest
import torch

from starcli.alignment.midpoint import MidpointJudge
from starcli.barriers.line_barrier import measure_line
from starcli.evaluation.evaluator import Evaluator
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

NETWORKS = {"mlp": {"hidden_dim": 12, "depth": 2, "batch_norm": "none"}, "resnet": {"width": 4}}


@cache
def opened(arch: str) -> Workspace:
    return new_workspace(Choices(arch=arch, arch_args=NETWORKS[arch], data="digits", limit=300))


@pytest.mark.parametrize("arch", NETWORKS)
def test_it_is_the_middle_of_the_line_where_all_examples_count(arch: str) -> None:
    workspace = opened(arch)
    a, b = (workspace.network(seed).state() for seed in (0, 1))
    line = measure_line(Evaluator(workspace), a, b, points=3)
    judge = MidpointJudge(workspace)
    assert judge.loss(a, b) == line.curves["train"].loss[1]
    assert judge.loss(b, a) == pytest.approx(judge.loss(a, b), rel=1e-6)


def test_the_loss_of_the_mean_network_by_hand() -> None:
    workspace = opened("mlp")
    a, b = (workspace.network(seed).state() for seed in (0, 1))
    network = workspace.network()
    network.load({name: (tensor + b[name]) / 2 for name, tensor in a.items()})
    split = workspace.dataset.train
    some = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:50]
    [(inputs, labels)] = split.subset(some).batches(50)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(network.network.eval()(inputs), labels)
    assert MidpointJudge(workspace, examples=50).loss(a, b) == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("arch", NETWORKS)
def test_the_loss_of_the_mean_of_three_by_hand(arch: str) -> None:
    """BatchNorm's statistics are those of the mean itself."""
    workspace = opened(arch)
    models = [workspace.network(seed).state() for seed in range(3)]
    evaluator = Evaluator(workspace)
    mean = {
        name: torch.stack([model[name].double() for model in models]).mean(0).to(tensor.dtype)
        for name, tensor in models[0].items()
    }
    evaluator.load(mean)
    expected = evaluator.scores()["train"].loss
    judge = MidpointJudge(workspace)
    assert judge.loss_of_mean(models) == pytest.approx(expected, rel=1e-6)
    assert judge.loss_of_mean(models[:1]) == pytest.approx(judge.loss(models[0], models[0]), rel=1e-6)


def test_what_is_no_number_is_never_best() -> None:
    workspace = opened("mlp")
    a = workspace.network(0).state()
    broken = {name: tensor * float("nan") if tensor.is_floating_point() else tensor for name, tensor in a.items()}
    assert MidpointJudge(workspace).loss(a, broken) == float("inf")
    assert MidpointJudge(workspace).loss_of_mean([a, broken, a]) == float("inf")
