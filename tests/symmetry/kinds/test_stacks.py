"""Kinds of specs with stacks: those of the same network with stacked tensors, and as counted by hand."""

import pytest
import torch
from support.networks.lists import HEADS, MIXTURE, HeadList, Mixture
from torch import Tensor, nn

from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds, kinds_from_json


class StackedMixture(nn.Module):
    """`Mixture`, with one tensor for all experts."""

    def __init__(self, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.read, self.router, self.out = nn.Linear(8, 6), nn.Linear(6, 4), nn.Linear(6, 3)
        self.up, self.up_bias = nn.Parameter(torch.randn(4, 5, 6)), nn.Parameter(torch.randn(4, 5))
        self.down, self.down_bias = nn.Parameter(torch.randn(4, 6, 5)), nn.Parameter(torch.randn(4, 6))
        self.activation = activation or nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        hidden = self.activation(torch.einsum("ehd,bd->beh", self.up, x) + self.up_bias)
        made = torch.einsum("edh,beh->bed", self.down, hidden) + self.down_bias
        return self.out(x + (self.router(x).softmax(-1).unsqueeze(-1) * made).sum(1))


class StackedHeads(nn.Module):
    """`HeadList`, with one tensor for all heads."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.proj, self.out = nn.Linear(7, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.key, self.query, self.value = (nn.Parameter(torch.randn(3, 4, 12)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x)
        k, q, v = (torch.einsum("hkd,btd->bhtk", each, x) for each in (self.key, self.query, self.value))
        made = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
        return self.out(x + self.proj(made.transpose(1, 2).flatten(2))).mean(1)


def tanh_mixture() -> Mixture:
    network = Mixture()
    for expert in network.experts:
        expert[1] = nn.Tanh()
    return network


STACKED_MIXTURE = """format: 1
groups: {unit: {within: expert}}
tensors:
  read.*: [stream]
  router.weight: [expert, stream]
  router.bias: [expert]
  up: [expert, unit, stream]
  up_bias: [expert, unit]
  down: [expert, stream, unit]
  down_bias: [expert, stream]
  out.weight: [_, stream]
  out.bias: []
"""
STACKED_HEADS = HEADS.replace("heads.[].", "").replace("y.weight", "y").replace("e.weight", "e")
CASES = {
    "experts": (Mixture, MIXTURE, StackedMixture, STACKED_MIXTURE, torch.zeros(3, 8)),
    "experts of tanh": (tanh_mixture, MIXTURE, lambda: StackedMixture(nn.Tanh()), STACKED_MIXTURE, torch.zeros(3, 8)),
    "heads": (HeadList, HEADS, StackedHeads, STACKED_HEADS, torch.zeros(2, 5, 7)),
}
EXPECTED = {
    "experts": ({"expert": "permutation", "unit": "scaled", "stream": "scaled"}, 4 * 5 + 6),
    "experts of tanh": ({"expert": "permutation", "unit": "signed", "stream": "scaled"}, 6),
    "heads": ({"head": "permutation", "qk": "invertible", "vo": "invertible", "stream": "invertible"}, 6 * 16 + 144),
}


def derived(network: nn.Module, spec: str, example: Tensor) -> Kinds:
    return derive_kinds(network, (example,), spec=resolve_for(network, parse(spec)))


@pytest.mark.parametrize("name", CASES)
def test_kinds_are_those_of_stacked_tensors(name: str) -> None:
    network, spec, stacked, its_spec, example = CASES[name]
    found, oracle = derived(network(), spec, example), derived(stacked(), its_spec, example)
    kinds, dimension = EXPECTED[name]
    assert {group: kind.kind for group, kind in found.groups.items()} == kinds
    assert {group: kind.kind for group, kind in oracle.groups.items()} == kinds
    assert found.continuous_dimension == oracle.continuous_dimension == dimension
    for group, kind in found.groups.items():
        assert len(kind.at) == len(oracle.groups[group].at)
        its = oracle.groups[group]
        assert (len(kind.scalings), len(kind.signs)) == (len(its.scalings), len(its.signs))
    assert kinds_from_json(found.to_json()) == found
