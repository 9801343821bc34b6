"""Kinds of specs with stacks: those of the same network with stacked tensors, and as counted by hand."""

import pytest
import torch
from support.networks.lists import BRANCHES, HEADS, MIXTURE, Branches, HeadList, Mixture
from support.rotary import by_halves
from torch import Tensor, nn

from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds, kinds_from_json
from starcli.symmetry.kinds.prove_kinds import prove_kinds
from starcli.symmetry.kinds.read_spec import written_kinds
from starcli.symmetry.kinds.write_spec import kinds_to_yaml


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


class RotaryHead(nn.Module):
    """A head of attention with rotary positions."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.query, self.value = nn.Linear(12, 4), nn.Linear(12, 4), nn.Linear(12, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k = by_halves(self.query(x)), by_halves(self.key(x))
        return (q @ k.transpose(-2, -1) / 2).softmax(-1) @ self.value(x)


def rotary_heads() -> HeadList:
    network = HeadList()
    network.heads = nn.ModuleList(RotaryHead() for _ in range(3))
    return network


class StackedRotaryHeads(StackedHeads):
    """`rotary_heads`, with one matrix for all heads."""

    def __init__(self) -> None:
        super().__init__()
        del self.key, self.query, self.value
        self.key, self.query, self.value = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 12, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x)
        k, q, v = (each(x).unflatten(-1, (3, 4)).transpose(1, 2) for each in (self.key, self.query, self.value))
        made = (by_halves(q) @ by_halves(k).transpose(-2, -1) / 2).softmax(-1) @ v
        return self.out(x + self.proj(made.transpose(1, 2).flatten(2))).mean(1)


ROTARY = """format: 1
groups: {vo: {within: head}}
tensors:
  read.*: [stream]
  heads.[].key.weight: [head, _, stream]
  heads.[].key.bias: [head, _]
  heads.[].query.weight: [head, _, stream]
  heads.[].query.bias: [head, _]
  heads.[].value.weight: [head, vo, stream]
  proj.weight: [stream, (head vo)]
  proj.bias: [stream]
  out.weight: [_, stream]
  out.bias: []
"""
STACKED_ROTARY = """format: 1
groups: {vo: {within: head}, head: {size: 3}}
tensors:
  read.*: [stream]
  key.weight: [(head _), stream]
  key.bias: [(head _)]
  query.weight: [(head _), stream]
  query.bias: [(head _)]
  value.weight: [(head vo), stream]
  proj.weight: [stream, (head vo)]
  proj.bias: [stream]
  out.weight: [_, stream]
  out.bias: []
"""
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
    "rotary heads": (rotary_heads, ROTARY, StackedRotaryHeads, STACKED_ROTARY, torch.zeros(2, 5, 7)),
}
EXPECTED = {
    "experts": ({"expert": "permutation", "unit": "scaled", "stream": "scaled"}, 4 * 5 + 6),
    "experts of tanh": ({"expert": "permutation", "unit": "signed", "stream": "scaled"}, 6),
    "heads": ({"head": "permutation", "qk": "invertible", "vo": "invertible", "stream": "invertible"}, 6 * 16 + 144),
    "rotary heads": (
        {"head": "permutation", "vo": "invertible", "stream": "invertible", "heads.key.pairs": "complex"},
        3 * 4 + 3 * 16 + 144,
    ),
}


def derived(network: nn.Module, spec: str, example: Tensor) -> Kinds:
    return derive_kinds(network, (example,), spec=resolve_for(network, parse(spec)))


@pytest.mark.parametrize("name", CASES)
def test_kinds_are_those_of_stacked_tensors(name: str) -> None:
    network, spec, stacked, its_spec, example = CASES[name]
    found, oracle = derived(network(), spec, example), derived(stacked(), its_spec, example)
    kinds, dimension = EXPECTED[name]
    assert {group: kind.kind for group, kind in found.groups.items()} == kinds
    assert sorted(kind.kind for kind in oracle.groups.values()) == sorted(kinds.values())
    assert found.continuous_dimension == oracle.continuous_dimension == dimension
    for group, kind in found.groups.items():
        its = oracle.groups[group.replace("heads.key", "key")]
        assert len(kind.at) == len(its.at)
        assert (len(kind.scalings), len(kind.signs)) == (len(its.scalings), len(its.signs))
    assert kinds_from_json(found.to_json()) == found


@pytest.mark.parametrize("name", CASES)
def test_kinds_are_written_read_back_and_proved(name: str) -> None:
    make, spec, _, _, example = CASES[name]
    network = make()
    found = derived(network, spec, example)
    text = kinds_to_yaml(found)
    written = parse(text)
    resolved = resolve_for(network, written)
    again = written_kinds(written, resolved)
    assert again is not None
    assert again.acts_as(found)
    proved, refused = prove_kinds(network, (example,), again, list(resolved.groups))
    assert refused == {}
    assert proved.acts_as(found)


def test_norms_of_each_module_have_scales_of_their_own() -> None:
    """As they have where modules stay: rotations that fix ones, and four norms' scales."""
    network, example = Branches(), torch.zeros(3, 4)
    found = derived(network, BRANCHES, example)
    assert found.groups["stream"].kind == "orthogonal"
    assert found.groups["stream"].fixes_ones
    assert set(found.kept) == {"branches.[].0.weight", "branches.[].0.bias", "norm.weight", "norm.bias"}
    assert found.continuous_dimension == derive_kinds(network, (example,)).continuous_dimension == 15 + 4 * 7
    text = kinds_to_yaml(found)
    assert '["branches.[].0", "branches.[].1"]' in text
    again = written_kinds(parse(text), found.whole)
    assert again is not None
    proved, refused = prove_kinds(network, (example,), again, list(found.whole.groups))
    assert refused == {}
    assert proved.acts_as(found)


def test_what_is_read_by_other_modules_than_its_own_does_not_fold() -> None:
    """Each norm is read by two modules: no scale of it goes into what reads it."""

    class Crossed(Branches):
        def forward(self, x: Tensor) -> Tensor:
            x = self.read(x)
            seen = [branch[0](x) for branch in self.branches]
            added = sum(
                branch[1:](a + b) for branch, a, b in zip(self.branches, seen, seen[1:] + seen[:1], strict=True)
            )
            return self.out(self.norm(x + added))

    network, example = Crossed(), torch.zeros(3, 4)
    spec = BRANCHES.replace("branch,", "_,").replace("unit: {within: branch}", "")
    assert derived(network, spec, example).groups["stream"].kind != "orthogonal"


class AfterNorm(Mixture):
    """Experts and their router behind one norm, and a last norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.LayerNorm(6), nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x)
        normed = self.norm(x)
        gates = self.router(normed).softmax(-1)
        added = sum(gates[:, i : i + 1] * expert(normed) for i, expert in enumerate(self.experts))
        return self.out(self.last(x + added))


class ConvolutionalBranches(nn.Module):
    """Branches of convolutions with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.out = nn.Conv2d(1, 6, 3), nn.Linear(6, 3)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(6, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 6, 3, padding=2))
            for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x).relu()
        return self.out((x + sum(branch(x) for branch in self.branches)).mean((2, 3)))


class NormedBranches(Branches):
    """Branches of tanh behind an RMSNorm each; no norm at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.RMSNorm(7), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 7, bias=False)) for _ in range(3)
        )


CONVOLUTIONAL = """format: 1
groups: {unit: {within: branch}}
tensors:
  read.weight: [stream, _, _, _]
  read.bias: [stream]
  branches.[].0.weight: [branch, unit, stream, _, _]
  branches.[].1.num_batches_tracked: [_]
  branches.[].1.*: [branch, unit]
  branches.[].3.weight: [branch, stream, unit, _, _]
  branches.[].3.bias: [branch, stream]
  out.weight: [_, stream]
  out.bias: []
"""


@pytest.mark.parametrize(
    ("make", "spec", "example", "kinds", "dimension"),
    [
        (
            AfterNorm,
            MIXTURE + "  norm.*: [stream]\n  last.*: [stream]\n",
            (3, 8),
            ("orthogonal", "scaled"),
            10 + 12 + 20,
        ),
        (ConvolutionalBranches, CONVOLUTIONAL, (3, 1, 6, 6), ("scaled", "scaled"), 6 + 3 * 5),
        (NormedBranches, BRANCHES.replace("  norm.*: [stream]\n", ""), (3, 4), ("orthogonal", "signed"), 21 + 3 * 7),
    ],
)
def test_dimensions_are_those_counted_by_hand(
    make: type[nn.Module], spec: str, example: tuple[int, ...], kinds: tuple[str, str], dimension: int
) -> None:
    """And random elements leave the function alone, with statistics and scales of every module's own."""
    torch.manual_seed(0)
    network = make()
    found = derived(network, spec, torch.zeros(example))
    assert (found.groups["stream"].kind, found.groups["unit"].kind) == kinds
    assert found.continuous_dimension == dimension
    network = network.eval().double()
    state = {
        name: torch.rand_like(each) + 0.5 if each.is_floating_point() and each.dim() == 1 else each
        for name, each in network.state_dict().items()
    }
    inputs = torch.randn(example).double()
    moved = Element.random(found, torch.Generator().manual_seed(0)).apply(state)
    assert list(moved) == list(state)
    before, after = (torch.func.functional_call(network, each, (inputs,)) for each in (state, moved))
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
