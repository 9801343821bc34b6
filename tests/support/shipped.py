"""Shipped archspecs: small networks of each, and the symmetries that one counts by hand from their definitions."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from math import lgamma, log
from typing import Any

import torch
from torch import Tensor, nn

from starcli.models.build import complete_arguments
from starcli.registry.tasks import CLASSES, NEXT_TOKEN
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.shipped import shipped_spec


def fact(*sizes: int) -> float:
    """log10 of the product of factorials."""
    return sum(lgamma(n + 1) for n in sizes) / log(10)


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
    """A small instance of an architecture and log10 of its number of symmetries; `vocab_size` is of tokens."""

    name: str
    arguments: dict[str, Any]
    input_shape: tuple[int, ...]
    count: float
    shrink: int = field(default=1)
    vocab_size: int | None = None
    next_token: bool = False

    def complete(self, num_classes: int = 5) -> dict[str, Any]:
        """All arguments; next tokens are as many as there are tokens."""
        classes = num_classes if not self.next_token or self.vocab_size is None else self.vocab_size
        tokens = {"vocab_size": self.vocab_size, "task": NEXT_TOKEN if self.next_token else CLASSES}
        return complete_arguments(
            self.name, self.arguments, input_shape=self.input_shape, num_classes=classes, **tokens
        )

    def inputs(self, count: int) -> Tensor:
        """Normal inputs, or tokens."""
        generator, shape = torch.Generator().manual_seed(1), (count, *self.input_shape)
        if self.vocab_size is not None:
            return torch.randint(self.vocab_size, shape, generator=generator)
        return torch.randn(shape, generator=generator)


TRANSFORMER = {"dim": 12, "heads": 3, "depth": 2, "mlp_dim": 7}

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
    "bag": Case("bag", {"dim": 6, "hidden_dim": 5}, (8,), fact(6) + fact(5), vocab_size=11),
    "textcnn": Case("textcnn", {"dim": 6, "channels": 4}, (8,), fact(6) + 3 * fact(4), vocab_size=11),
    "bert": Case("bert", TRANSFORMER, (8,), transformer(12, 2, 3, 7) + fact(12), vocab_size=11),
    "gpt": Case("gpt", TRANSFORMER, (8,), transformer(12, 2, 3, 7), vocab_size=11, next_token=True),
    "gpt of classes": Case("gpt", TRANSFORMER, (8,), transformer(12, 2, 3, 7), vocab_size=11),
}


ALIKE = {"vgg11 64 px", "resnet deep", "resnet 4 stages", "wrn-16-3", "gpt of classes"}
"""Cases of the same spec and the same layers as another one, in other numbers; all are proved and counted."""

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
    "bag": ("bag", {}, 2 * fact(64)),
    "textcnn": ("textcnn", {}, 4 * fact(64)),
    "bert": ("bert", {}, transformer(64, 2, 4, 256) + fact(64)),
    "gpt": ("gpt", {}, transformer(64, 2, 4, 256)),
}


def resolve(name: str, arguments: dict[str, Any], network: nn.Module) -> Resolved:
    found = shipped_spec(name, arguments)
    assert found is not None
    return resolve_for(network, *found)


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
