"""Shipped archspecs: each resolves, is proved on a small network, and counts the symmetries that one counts by hand.

The formulas are written from the architecture's definition, not read off the specs.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import lgamma, log
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from starcli.models.build import build_network, complete_arguments, outline_of
from starcli.registry import ARCHITECTURES
from starcli.symmetry.archspec.library import shipped_specs
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.prove import prove
from starcli.symmetry.shipped import shipped_spec


def fact(n: int) -> float:
    """log10 n!"""
    return lgamma(n + 1) / log(10)


def vgg(width: int, stages: tuple[int, ...]) -> float:
    channels = (1, 2, 4, 8, 8)
    return sum(n * fact(width * m) for n, m in zip(stages, channels, strict=True)) + 2 * fact(8 * width)


def basic(width: int, blocks: tuple[int, ...], stem: bool = False) -> float:
    """A stream and one inner width for each block, by stage; a stem of its own where it does not share a stream."""
    stages = sum((1 + n) * fact(width * 2**s) for s, n in enumerate(blocks))
    return stages + (fact(width) if stem else 0)


def wide(width: int, factor: int, blocks: int) -> float:
    return basic(width * factor, (blocks,) * 3) + (fact(width) if factor > 1 else 0)


def dense(growth: int, layers: int) -> float:
    """Stem, every layer's new channels, and the streams behind the two transitions."""
    first = 2 * growth + layers * growth
    return fact(2 * growth) + 3 * layers * fact(growth) + fact(first) + fact(first + layers * growth)


def transformer(dim: int, depth: int, heads: int, hidden: int) -> float:
    """One stream; in a block the heads, query-key and value units of each, hidden units."""
    return fact(dim) + depth * (fact(heads) + 2 * heads * fact(dim // heads) + fact(hidden))


def bottleneck(width: int) -> float:
    """torchvision's ResNet-50 with a stem of `width` channels."""
    streams = fact(width) + sum(fact(4 * width * 2**s) for s in range(4))
    return streams + sum(2 * n * fact(width * 2**s) for s, n in enumerate((3, 4, 6, 3)))


@dataclass(frozen=True)
class Case:
    """A small instance of an architecture and log10 of its number of symmetries."""

    name: str
    arguments: dict[str, Any]
    input_shape: tuple[int, ...]
    count: float
    shrink: int = field(default=1)


CASES = {
    "mlp": Case("mlp", {"hidden_dim": 6}, (9,), fact(6)),
    "mlp deep": Case("mlp", {"hidden_dim": 5, "depth": 4}, (1, 3, 3), 4 * fact(5)),
    "mlp all": Case("mlp", {"hidden_dim": 5, "depth": 2, "batch_norm": "all"}, (4,), 2 * fact(5)),
    "mlp plain": Case("mlp", {"hidden_dim": 5, "depth": 3, "batch_norm": "none", "bias": False}, (4,), 3 * fact(5)),
    "vgg11": Case("vgg11", {"width": 2}, (1, 32, 32), vgg(2, (1, 1, 2, 2, 2))),
    "vgg11 64 px": Case("vgg11", {"width": 2}, (1, 64, 64), vgg(2, (1, 1, 2, 2, 2))),
    "vgg11-bn": Case("vgg11-bn", {"width": 2}, (3, 32, 64), vgg(2, (1, 1, 2, 2, 2))),
    "vgg19": Case("vgg19", {"width": 2}, (1, 32, 32), vgg(2, (2, 2, 4, 4, 4))),
    "vgg19-bn": Case("vgg19-bn", {"width": 2}, (1, 32, 32), vgg(2, (2, 2, 4, 4, 4))),
    "resnet18-cifar": Case("resnet18-cifar", {"width": 3}, (3, 16, 16), basic(3, (2, 2, 2, 2))),
    "resnet": Case("resnet", {"width": 4}, (1, 8, 8), basic(4, (1, 1, 1))),
    "resnet deep": Case("resnet", {"width": 4, "blocks": 3}, (1, 8, 8), basic(4, (3, 3, 3))),
    "resnet 2 stages": Case("resnet", {"width": 4, "stages": 2}, (1, 8, 8), basic(4, (1, 1))),
    "resnet 4 stages": Case("resnet", {"width": 4, "stages": 4}, (1, 8, 8), basic(4, (1, 1, 1, 1))),
    "wrn-16-1": Case("wrn", {"width": 4}, (1, 8, 8), wide(4, 1, 2)),
    "wrn-10-2": Case("wrn", {"width": 4, "widen_factor": 2, "depth": 10}, (1, 8, 8), wide(4, 2, 1)),
    "wrn-16-3": Case("wrn", {"width": 3, "widen_factor": 3}, (3, 8, 8), wide(3, 3, 2)),
    "densenet": Case("densenet40-12", {"depth": 13, "growth_rate": 3}, (1, 8, 8), dense(3, 3)),
    "resnet18": Case("resnet18", {}, (1, 32, 32), basic(4, (2, 2, 2, 2)), shrink=16),
    "resnet50": Case("resnet50", {}, (3, 32, 32), bottleneck(4), shrink=16),
    "vit": Case(
        "vit", {"dim": 12, "heads": 3, "depth": 2, "mlp_dim": 7, "patch_size": 4}, (1, 8, 8), transformer(12, 2, 3, 7)
    ),
    "vit one head": Case(
        "vit", {"dim": 6, "heads": 1, "depth": 1, "mlp_dim": 5, "patch_size": 2}, (3, 4, 4), transformer(6, 1, 1, 5)
    ),
}

# the published sizes, by shapes alone
FULL: dict[str, tuple[str, dict[str, Any], float]] = {
    "mlp": ("mlp", {"hidden_dim": 32, "depth": 3}, 3 * fact(32)),
    "vgg11-bn": ("vgg11-bn", {}, vgg(64, (1, 1, 2, 2, 2))),
    "vgg11-bn 224": ("vgg11-bn", {"image_size": 224}, vgg(64, (1, 1, 2, 2, 2))),
    "vgg19": ("vgg19", {}, vgg(64, (2, 2, 4, 4, 4))),
    "resnet18-cifar": ("resnet18-cifar", {}, basic(64, (2, 2, 2, 2))),
    "wrn-40-1": ("wrn", {"depth": 40}, wide(16, 1, 6)),
    "wrn-22-8": ("wrn", {"depth": 22, "widen_factor": 8}, wide(16, 8, 3)),
    "densenet40-12": ("densenet40-12", {}, dense(12, 12)),
    "resnet18": ("resnet18", {}, basic(64, (2, 2, 2, 2))),
    "resnet50": ("resnet50", {}, bottleneck(64)),
    "vit": ("vit", {}, transformer(64, 6, 8, 128)),
}


def resolve(name: str, arguments: dict[str, Any], network: nn.Module) -> Resolved:
    found = shipped_spec(name, arguments)
    assert found is not None
    spec, variables = found
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    return spec.resolve(shapes, variables, buffers=[key for key, _ in network.named_buffers()])


def shrunk(network: nn.Module, by: int) -> nn.Module:
    """The same network with 1 / `by` of its inner channels: torchvision has no argument for that."""
    make: dict[type, Callable[[Any], nn.Module]] = {
        nn.Conv2d: lambda m: nn.Conv2d(
            max(m.in_channels // by, 1) if m.in_channels > 3 else m.in_channels,
            m.out_channels // by,
            m.kernel_size,
            m.stride,
            m.padding,
            bias=False,
        ),
        nn.BatchNorm2d: lambda m: nn.BatchNorm2d(m.num_features // by),
        nn.Linear: lambda m: nn.Linear(m.in_features // by, m.out_features),
    }
    network = copy.deepcopy(network)
    for name, module in list(network.named_modules()):
        if type(module) in make:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, make[type(module)](module))
    return network


def test_every_archspec_is_tried() -> None:
    tried = set()
    for case in CASES.values():
        found = shipped_spec(case.name, case.arguments)
        assert found is not None
        tried.add(found[0].source)
    assert len(tried) == len(shipped_specs())
    assert {case.name for case in CASES.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("label", CASES)
def test_proved_and_counted(label: str) -> None:
    case = CASES[label]
    arguments = complete_arguments(case.name, case.arguments, input_shape=case.input_shape, num_classes=5)
    network = build_network(case.name, **arguments)
    if case.shrink > 1:
        network = shrunk(network, case.shrink)
    resolved = resolve(case.name, arguments, network)
    assert resolved.log10_symmetries() == pytest.approx(case.count, rel=1e-9)
    generator = torch.Generator().manual_seed(1)
    proof = prove(network, resolved, (torch.randn(4, *case.input_shape, generator=generator),))
    assert proof.proved, (proof.failed, proof.undecided)
    assert not proof.failed
    assert not proof.undecided


@pytest.mark.parametrize("label", FULL)
def test_counted_at_published_sizes(label: str) -> None:
    name, arguments, count = FULL[label]
    resolved = resolve(name, arguments, outline_of(name, **arguments))
    assert resolved.log10_symmetries() == pytest.approx(count, rel=1e-9)
    # all but the biases of the last layer has an axis that moves
    assert resolved.movable() > 0.99


# one small instance of each shipped archspec
WRONG = (
    "mlp deep", "vgg11", "vgg11-bn", "vgg19", "vgg19-bn", "resnet18-cifar", "resnet", "resnet 2 stages", "wrn-16-1",
    "wrn-10-2", "densenet", "resnet18", "resnet50", "vit",
)  # fmt: skip


@dataclass(frozen=True)
class Small:
    """A network, an input, and its right spec as plain values, from which wrong ones are made."""

    network: nn.Module
    resolved: Resolved
    example: Tensor

    @classmethod
    def of(cls, label: str) -> "Small":
        case = CASES[label]
        arguments = complete_arguments(case.name, case.arguments, input_shape=case.input_shape, num_classes=5)
        network = build_network(case.name, **arguments)
        network = shrunk(network, case.shrink) if case.shrink > 1 else network
        example = torch.randn(2, *case.input_shape, generator=torch.Generator().manual_seed(1))
        return cls(network, resolve(case.name, arguments, network), example)

    def failed(self, tensors: Mapping[str, Sequence[str]], groups: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """The groups that the proof names where these tensors have these expressions instead."""
        value = self.resolved.to_json()
        value["tensors"] |= {name: list(axes) for name, axes in tensors.items()}
        value["groups"] |= groups
        on_axes = {word for axes in value["tensors"].values() for axis in axes for word in SYMBOL.findall(axis)}
        value["groups"] = {name: group for name, group in value["groups"].items() if name in on_axes}
        proof = prove(self.network, Resolved.from_json(value), (self.example,))
        assert not proof.proved
        return set(proof.failed)


SYMBOL = re.compile(r"[A-Za-z][\w.-]*")


@pytest.mark.parametrize("label", WRONG)
def test_wrong_ones_are_caught_by_name(label: str) -> None:
    small = Small.of(label)
    axes, groups = small.resolved.axes, small.resolved.to_json()["groups"]
    weights = [name for name in small.resolved.learnable() if len(axes[name]) > 1]

    # the last tensor that bears the last group is left out
    omitted = small.resolved.bearing[list(groups)[-1]][-1]
    fixed = [str(n) for n in small.resolved.shapes[omitted]]
    assert small.failed({omitted: fixed}, {}) == set(SYMBOL.findall(" ".join(axes[omitted])))

    # the last weight that reads hidden units calls them by other names: the group is split in two
    split = next(
        name for name in reversed(weights) if SYMBOL.search(axes[name][1]) and len(SYMBOL.findall(axes[name][0]))
    )
    names = set(SYMBOL.findall(axes[split][1]))
    other = {
        f"other.{name}": {key: f"other.{x}" if x in names else x for key, x in groups[name].items()} for name in names
    }
    renamed = SYMBOL.sub(r"other.\g<0>", axes[split][1])
    assert small.failed({split: [axes[split][0], renamed, *axes[split][2:]]}, other) == names | set(other)

    # a square weight's two axes change places
    square = next(
        name
        for name in weights
        if small.resolved.shapes[name][0] == small.resolved.shapes[name][1]
        and not {*SYMBOL.findall(axes[name][0])} & {*SYMBOL.findall(axes[name][1])}
    )
    swapped = [axes[square][1], axes[square][0], *axes[square][2:]]
    assert small.failed({square: swapped}, {}) == set(SYMBOL.findall(" ".join(swapped)))


@pytest.mark.parametrize(
    ("mixed", "guilty"),
    [
        ("(head.0 qk.0) + (head.0 vo.0) + (head.0 vo.0)", {"qk.0", "vo.0"}),
        ("(qk.0 head.0) + (qk.0 head.0) + (head.0 vo.0)", {"head.0", "qk.0"}),
        ("across + across + (head.0 vo.0)", {"across", "head.0"}),
        ("(head.0 qk.0) + across + (head.0 vo.0)", {"across", "head.0", "qk.0"}),
    ],
    ids=["keys as values", "swapped", "across heads", "keys across heads"],
)
def test_queries_and_keys_mixed_are_caught_by_name(mixed: str, guilty: set[str]) -> None:
    small = Small.of("vit")
    weight, bias = "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias"
    assert small.failed({weight: [mixed, "stream"], bias: [mixed]}, {"across": {"size": 12}}) == guilty
