"""Shipped archspecs: each resolves, is proved on a small network, and counts the symmetries that one counts by hand.

The formulas are written from the architecture's definition, not read off the specs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from support.shipped import CASES, FULL, resolve, shrunk
from torch import Tensor, nn

from starcli.models.build import build_network, build_outline
from starcli.registry.architectures import ARCHITECTURES
from starcli.symmetry.archspec.library import shipped_specs
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.validate import resolved_from_json
from starcli.symmetry.proof.prove import prove
from starcli.symmetry.shipped import shipped_spec

# the published sizes, by shapes alone


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
    arguments = case.complete()
    network = build_network(case.name, **arguments)
    if case.shrink > 1:
        network = shrunk(network, case.shrink)
    resolved = resolve(case.name, arguments, network)
    assert resolved.log10_symmetries() == pytest.approx(case.count, rel=1e-9)
    proof = prove(network, resolved, (case.inputs(4),))
    assert proof.proved, (proof.failed, proof.undecided)
    assert not proof.failed
    assert not proof.undecided


@pytest.mark.parametrize("label", FULL)
def test_counted_at_published_sizes(label: str) -> None:
    name, arguments, count = FULL[label]
    resolved = resolve(name, arguments, build_outline(name, **arguments))
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
        arguments = case.complete()
        network = build_network(case.name, **arguments)
        network = shrunk(network, case.shrink) if case.shrink > 1 else network
        return cls(network, resolve(case.name, arguments, network), case.inputs(2))

    def failed(self, tensors: Mapping[str, Sequence[str]], groups: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """The groups that the proof names where these tensors have these expressions instead."""
        value = self.resolved.to_json()
        value["tensors"] |= {name: list(axes) for name, axes in tensors.items()}
        value["groups"] |= groups
        on_axes = {word for axes in value["tensors"].values() for axis in axes for word in SYMBOL.findall(axis)}
        value["groups"] = {name: group for name, group in value["groups"].items() if name in on_axes}
        proof = prove(self.network, resolved_from_json(value), (self.example,))
        assert not proof.proved
        return set(proof.failed)


SYMBOL = re.compile(r"[A-Za-z][\w.-]*")


@pytest.mark.parametrize("label", WRONG)
def test_wrong_ones_are_caught_by_name(label: str) -> None:
    small = Small.of(label)
    axes, groups = small.resolved.expressions, small.resolved.to_json()["groups"]
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
