"""A planted permutation of a trained network is found again, for every architecture of the registry.

Each network learns ten noisy patterns for a few steps, so that no two units and no two biases are alike; a random
permutation of all its groups is planted, and `match_weights` has to undo it: what is left between the two is below 1e-6
of the weights' norm (units that are equal in all their weights may change places). Restarts needed, over the plantings
here (of networks trained for 100 steps too, where tried by hand: all but resnet18 and resnet50):

    mlp 1, vgg11 1, vgg19 1, vgg11-bn 1, vgg19-bn 1, resnet18-cifar 1, resnet 1, wrn 1, densenet40-12 1, resnet18 1,
    resnet50 1, vit 1
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.shipped import shrunk
from torch import Tensor
from torch.nn.functional import cross_entropy

from starcli.alignment.matching.weight_matching import distances, match_weights
from starcli.models.build import build_network, complete_arguments
from starcli.registry.architectures import ARCHITECTURES
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.shipped import shipped_spec

CLASSES = 10
IMAGES, SCANS = (3, 32, 32), (1, 8, 8)


@dataclass(frozen=True)
class Case:
    """A narrow network of an architecture, how long it learns, and how often a permutation of it is planted."""

    shape: tuple[int, ...] = IMAGES
    steps: int = 20
    plantings: int = 3
    arguments: Mapping[str, Any] | None = None
    shrink: int = 1
    vocab_size: int | None = None


TEXTS = (12,)
CASES = {
    "mlp": Case(SCANS, 100, 10, {"hidden_dim": 16, "depth": 3}),
    "vgg11": Case(arguments={"width": 8}),
    "vgg19": Case(arguments={"width": 8}),
    "vgg11-bn": Case(arguments={"width": 8}),
    "vgg19-bn": Case(arguments={"width": 8}),
    "resnet18-cifar": Case(arguments={"width": 8}),
    "resnet": Case(SCANS, 100, 10, {"width": 8, "blocks": 1}),
    "wrn": Case(steps=10, arguments={"depth": 16, "widen_factor": 1}),
    "densenet40-12": Case(steps=4, arguments={"growth_rate": 4}),
    # torchvision's networks have one width only
    "resnet18": Case(steps=10, shrink=8),
    "resnet50": Case(steps=10, shrink=8),
    "vit": Case(steps=40, plantings=10, arguments={"dim": 32, "depth": 3, "heads": 4, "mlp_dim": 48, "patch_size": 8}),
    "bag": Case(TEXTS, 100, 10, {"dim": 16}, vocab_size=50),
    "textcnn": Case(TEXTS, 40, 10, {"dim": 16, "channels": 8}, vocab_size=50),
    "bert": Case(TEXTS, 40, 10, {"dim": 32, "mlp_dim": 48}, vocab_size=50),
    "gpt": Case(TEXTS, 40, 10, {"dim": 32, "mlp_dim": 48}, vocab_size=50),
}


def trained(name: str, case: Case) -> tuple[dict[str, Tensor], dict[str, Tensor], Resolved]:
    """The state of the network of `case` before and after it learned, and its spec."""
    arguments = complete_arguments(
        name, case.arguments or {}, input_shape=case.shape, num_classes=CLASSES, vocab_size=case.vocab_size
    )
    network = build_network(name, generator=torch.Generator().manual_seed(1), **arguments)
    if case.shrink > 1:
        torch.manual_seed(1)
        network = shrunk(network, case.shrink)
    first = copied(network)
    generator = torch.Generator().manual_seed(2)
    patterns = torch.randn(CLASSES, *case.shape, generator=generator)
    if case.vocab_size is not None:
        patterns = torch.randint(case.vocab_size, patterns.shape, generator=generator)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(case.steps):
        labels = torch.randint(CLASSES, (8,), generator=generator)
        noise = torch.randn(8, *case.shape, generator=generator)
        optimizer.zero_grad()
        inputs = patterns[labels] + noise if case.vocab_size is None else patterns[labels]
        cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    found = shipped_spec(name, arguments)
    assert found is not None
    return first, copied(network), resolve_for(network, *found)


def copied(network: torch.nn.Module) -> dict[str, Tensor]:
    return {key: tensor.detach().clone() for key, tensor in network.state_dict().items()}


def test_every_architecture_has_a_case() -> None:
    assert CASES.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "resnet50" else []) for name in CASES]
)
def test_planted_permutation_of_a_trained_network_is_found(name: str) -> None:
    case = CASES[name]
    first, state, spec = trained(name, case)
    zero = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    norm = distances(zero, state, spec)[0]
    assert distances(first, state, spec)[0] > 1e-3 * norm, "the network has learned nothing"
    for seed in range(case.plantings):
        planted = Permutation.random(spec, torch.Generator().manual_seed(seed)).apply(state)
        assert distances(state, planted, spec)[0] > 0.5 * norm, "nothing to find"
        match = match_weights(state, planted, spec, seed=seed)
        left = distances(state, match.permutation.apply(planted), spec)[0]
        assert left < 1e-6 * norm, f"planting {seed}: {left / norm:.2g} of the norm is left"
