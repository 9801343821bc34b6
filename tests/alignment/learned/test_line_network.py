"""The network between two models against plain torch: its loss half way, its gradients anywhere between."""

import math

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from starcli.alignment.learned.line_network import LineNetwork
from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.evaluation.batches import Batches
from starcli.runtime.arithmetic import RAISES, WARNS, arithmetic_restored
from starcli.runtime.backward import Backward
from starcli.runtime.progress import SILENT
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

NETWORKS = {"mlp": {"hidden_dim": 8, "batch_norm": "none"}, "resnet": {"width": 4, "stages": 2}}


class Between:
    """What is tried, and the same by hand: BatchNorm on the statistics of the batch, as in train mode."""

    def __init__(self, arch: str) -> None:
        self.workspace: Workspace = new_workspace(
            Choices(arch=arch, arch_args=NETWORKS[arch], data="digits", limit=60, device="cpu")
        )
        self.a, self.b = (self.workspace.network(seed).state() for seed in (0, 1))
        self.layout = ParameterLayout(self.workspace.spec.resolved)
        self.network = self.workspace.network(0).network.train()
        flat, backward = self.workspace.network(), Backward(SILENT)
        self.line = LineNetwork(self.workspace, flat, self.a, self.b, self.layout, backward)

    def loss(self, weights: Tensor, inputs: Tensor, labels: Tensor, t: float) -> Tensor:
        point = {name: (1 - t) * self.a[name] + t * each for name, each in self.layout.views(weights).items()}
        return cross_entropy(functional_call(self.network, point, (inputs,)), labels)


def test_gradients_are_taken_in_the_strict_mode_which_attention_needs() -> None:
    with arithmetic_restored():
        torch.set_deterministic_debug_mode(WARNS)
        tried, modes = Between("mlp"), []

        def watch(network: torch.nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
            outputs.register_hook(lambda _: modes.append(torch.get_deterministic_debug_mode()))

        tried.line._network.register_forward_hook(watch)
        [inputs, labels], *_ = tried.workspace.dataset.train.batches(30)
        with tried.line.learning():
            for _ in range(2):
                tried.line.gradients(tried.layout.vector(tried.b), inputs, labels)
        assert modes == [RAISES] * 2
        assert torch.get_deterministic_debug_mode() == WARNS


@pytest.mark.parametrize("arch", NETWORKS)
def test_gradients_are_those_of_the_loss_between_by_the_weights_that_move(arch: str) -> None:
    tried = Between(arch)
    batches = list(tried.workspace.dataset.train.batches(30))
    first = tried.layout.vector(tried.b)
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    with tried.line.learning():
        for weights, (inputs, labels), t in zip((first, first + 0.1 * noise), batches, (0.5, 0.3), strict=True):
            weights = weights.clone().requires_grad_()
            [expected] = torch.autograd.grad(tried.loss(weights, inputs, labels, t), weights)
            found = tried.line.gradients(weights.detach(), inputs, labels, t)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
        assert not tried.line.gradients(first * math.inf, inputs, labels).any()  # no number is followed


@pytest.mark.parametrize("arch", NETWORKS)
def test_the_loss_is_the_mean_half_way_over_all_batches(arch: str) -> None:
    tried = Between(arch)
    split, weights = tried.workspace.dataset.train, tried.layout.vector(tried.b)
    with torch.no_grad():
        each = [(float(tried.loss(weights, x, y, 0.5)), len(y)) for x, y in split.batches(25)]
    with tried.line.learning():
        tried.line.gradients(weights + 1, *next(split.batches(25)), 0.9)  # what was there before is of no matter
        found = tried.line.loss(weights, Batches(split, 25, torch.device("cpu")))
        assert found == pytest.approx(sum(loss * count for loss, count in each) / len(split), rel=1e-5)
        assert tried.line.loss(weights * math.nan, Batches(split, 25, torch.device("cpu"))) == math.inf
