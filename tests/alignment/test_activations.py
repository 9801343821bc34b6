"""Weights and what layers read, side by side: what each part of the objective has of it."""

import pytest
import torch
from torch import Tensor, nn

from starcli.alignment.activations import INPUT, Activations
from starcli.alignment.alignment import Alignment
from starcli.registry.alignment_methods import GAINS
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

SMALL = Choices(arch="resnet", arch_args={"width": 4}, data="digits", limit=80)


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return new_workspace(SMALL)


def generic(workspace: Workspace) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: tensor + 0.3 * torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in workspace.network(0).state().items()
    }


def energy(tensor: Tensor) -> float:
    return float(tensor.double().square().sum())


@pytest.mark.parametrize("gains", GAINS)
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_objective_is_of_weights_and_of_what_is_read_by_their_shares(
    workspace: Workspace, share: float, gains: str
) -> None:
    """So that it is (1 - s) cos(A, B) + s cos(X, Y): each layer counts by its channels, in the mean or each alike."""
    activations = Activations(workspace, Alignment("activation", examples=64, share=share, gains=gains))
    found = activations.beside(generic(workspace))
    read = {name: tensor for name, tensor in found.items() if name.startswith(INPUT)}
    assert len({tensor.shape[-2] for tensor in read.values()}) > 1
    assert sum(map(energy, read.values())) == pytest.approx(share, rel=1e-5)
    weights = [found[name] for name in workspace.spec.resolved.learnable() if name not in activations.spec.buffers]
    assert sum(map(energy, weights)) == pytest.approx(1 - share if share < 1 else 0, rel=1e-5)
    channels = sum(tensor.shape[-2] for tensor in read.values())
    for tensor in read.values():
        assert energy(tensor) == pytest.approx(share * tensor.shape[-2] / channels, rel=1e-5)
        if gains == "correlation":
            assert tensor.mean(-1).abs().max() < 1e-6
            of_each = tensor.square().sum(-1)
            torch.testing.assert_close(of_each, torch.full_like(of_each, share / channels))


@pytest.mark.parametrize("gains", GAINS)
def test_units_that_say_nothing_count_nothing(workspace: Workspace, gains: str) -> None:
    model = {name: torch.zeros_like(tensor) for name, tensor in workspace.network(0).state().items()}
    found = Activations(workspace, Alignment("activation", examples=64, share=0.3, gains=gains)).beside(model)
    assert not any(tensor.any() for tensor in found.values())


def test_two_examples_are_enough_for_batchnorm() -> None:
    two = new_workspace(Choices(arch="mlp", arch_args={"hidden_dim": 4, "depth": 2}, data="digits", limit=2))
    assert any(isinstance(module, nn.BatchNorm1d) for module in two.network().network.modules())
    model = two.network(0).state()
    assert all(tensor.isfinite().all() for tensor in Activations(two, Alignment("activation")).beside(model).values())
