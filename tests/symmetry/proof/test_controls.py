"""Negative controls: involutions, and places whose effect cannot be shown."""

import itertools

import pytest
import torch
from support.proof import proof_of, resolve
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from starcli.symmetry.permutation import Permutation
from starcli.symmetry.proof.places import Swap, places, redrawn_at


class Auxiliary(nn.Module):
    """A head that only train mode uses."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(4, 5), nn.Linear(5, 2), nn.Linear(5, 3)
        self.out = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.body(x).relu()
        return (self.head(x), self.out(self.aux(x))) if self.training else self.head(x)


def test_branches_that_vanish_in_eval_mode_are_undecided() -> None:
    text = """
format: 1
tensors:
  body.*: [body]
  head.weight: [_, body]
  head.bias: []
  aux.weight: [aux]
  aux.bias: [aux]
  out.weight: [_, aux]
  out.bias: []
"""
    proof = proof_of(Auxiliary(), text, (torch.zeros(3, 4),))
    assert proof.verdicts == {"body": "proved", "aux": "undecided"}
    assert "aux.weight" in proof.reasons["aux"]
    both = proof_of(Auxiliary(), text.replace("aux.weight: [aux]", "aux.weight: [aux, body]"), (torch.zeros(3, 4),))
    assert both.undecided == ("aux", "body")
    assert "aux.weight" in both.reasons["body"]


class Faint(nn.Module):
    """A second head, of next to no effect, on the same layer."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.body, self.head, self.more, self.size = nn.Linear(4, 5), nn.Linear(5, 2), nn.Linear(5, 2), size

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).relu()
        out: Tensor = self.head(x) + self.size * self.more(x)
        return out


@pytest.mark.parametrize(("size", "verdict"), [(1e-2, "proved"), (1e-5, "proved"), (2e-9, "undecided")])
def test_a_place_that_a_wrong_spec_would_be_seen_by_is_shown_to_matter(size: float, verdict: str) -> None:
    text = """
format: 1
tensors:
  body.*: [body]
  head.weight: [_, body]
  head.bias: []
  more.weight: [_, body]
  more.bias: []
"""
    assert proof_of(Faint(size), text, (torch.zeros(3, 4),)).verdicts == {"body": verdict}
    wrong = text.replace("more.weight: [_, body]", "more.weight: []")
    assert proof_of(Faint(size), wrong, (torch.zeros(3, 4),)).verdicts == {"body": "failed"}


NESTED = """
format: 1
groups:
  heads: {size: 3}
  units: {within: heads}
tensors:
  0.weight: [(heads units)]
  0.bias: [(heads units)]
  1.weight: [out, (heads units)]
  1.bias: [out]
"""


def test_involutions_of_all_groups_commute() -> None:
    network = nn.Sequential(nn.Linear(2, 12), nn.Linear(12, 5))
    spec = resolve(network, NESTED)
    index = Swap(spec, torch.Generator().manual_seed(0)).index
    swap = Permutation(spec, {group: index[group].expand(spec.index_shape(group)) for group in spec.groups})
    assert swap.compose(swap).is_identity()
    assert swap.moving == {"heads", "units", "out"}
    one = {
        group: Permutation(spec, {**Permutation.identity(spec).index, group: swap.index[group]})
        for group in spec.groups
    }
    for a in one.values():
        for b in one.values():
            assert a.compose(b).moved(b.compose(a)) == 0


@pytest.mark.parametrize("piece", [1, 7, 10**6])
@pytest.mark.parametrize("group", ["heads", "units", "out"])
def test_swaps_of_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch, piece: int, group: str) -> None:
    monkeypatch.setattr("starcli.runtime.memory.PIECE", piece)
    network = nn.Sequential(nn.Linear(2, 12), nn.Linear(12, 5))
    spec, base = resolve(network, NESTED), dict(network.state_dict())
    swap = Swap(spec, torch.Generator().manual_seed(0))
    still = Permutation.identity(spec).index
    moved = Permutation(spec, {**still, group: swap.index[group].expand(spec.index_shape(group))}).apply(base)
    for place in places(spec)[group]:
        halfway, whole = torch.zeros_like(base[place.tensor]), base[place.tensor]
        for block in spec.blocks[place.tensor]:
            only = place.sub_axes(block)
            swap.halfway_(block, [only], whole, halfway)
            found = torch.cat([each for (each,) in swap.apart(block, only, whole)])
            torch.testing.assert_close(found, block.view(whole) - block.view(moved[place.tensor]), rtol=0, atol=0)
        torch.testing.assert_close(halfway, (whole + moved[place.tensor]) / 2)


@pytest.mark.parametrize("piece", [1, 7, 10**6])
def test_halfway_along_several_axes_is_the_mean_of_all_ways_to_swap_along_some(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr("starcli.runtime.memory.PIECE", piece)
    spec = resolve(nn.Sequential(nn.Linear(2, 12), nn.Linear(12, 5)), NESTED)
    swap = Swap(spec, torch.Generator().manual_seed(0))
    again = Swap(spec, torch.Generator().manual_seed(0))
    assert all(torch.equal(index, again.index[name]) for name, index in swap.index.items())
    whole = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))
    [block] = spec.blocks["1.weight"]
    partners = [swap.index[group] for group in ("out", "heads", "units")]
    still = [torch.arange(n) for n in whole.shape]
    ways = [
        whole[torch.meshgrid(*some, indexing="ij")] for some in itertools.product(*zip(still, partners, strict=True))
    ]
    for parts in itertools.permutations([(0,), (1,), (2,)]):
        found = torch.zeros(5, 12)
        swap.halfway_(block, parts, whole.view(5, 12), found)
        torch.testing.assert_close(found.view(5, 3, 4), torch.stack(ways).mean(0))


def test_values_drawn_anew_at_places_keep_their_signs_and_others_stay() -> None:
    spec = resolve(nn.Sequential(nn.Linear(2, 12), nn.Linear(12, 5)), NESTED)
    base = {name: torch.ones(shape) for name, shape in spec.shapes.items()}
    found = redrawn_at(spec, base, places(spec)["out"], torch.Generator().manual_seed(0))
    assert found.keys() == {"1.bias", "1.weight"}
    low, high = (float(each) for each in found["1.weight"].aminmax())
    assert 0.5 <= low < 0.7 < 1.3 < high <= 1.5
    assert all(tensor.eq(1).all() for tensor in base.values())
    again = redrawn_at(spec, base, places(spec)["out"][::-1], torch.Generator().manual_seed(0))
    assert all(torch.equal(tensor, again[name]) for name, tensor in found.items())


def test_every_part_of_every_axis_is_a_place() -> None:
    network = nn.Sequential(nn.Linear(2, 12), nn.Linear(12, 5))
    found = places(resolve(network, NESTED))
    assert {group: sorted((p.tensor, p.axis) for p in each) for group, each in found.items()} == {
        "heads": [("0.bias", 0), ("0.weight", 0), ("1.weight", 1)],
        "units": [("0.bias", 0), ("0.weight", 0), ("1.weight", 1)],
        "out": [("1.bias", 0), ("1.weight", 0)],
    }


def test_tied_tensors_are_one_place() -> None:
    text = TWICE + "tied: [[first.weight, second.weight], [first.bias, second.bias]]"
    found = {(place.tensor, place.axis) for place in places(resolve(Twice(False), text))["h"]}
    once = {("enter.weight", 0), ("enter.bias", 0), ("first.weight", 0), ("first.weight", 1), ("first.bias", 0)}
    assert found == once | {("leave.weight", 1)}


def test_a_chain_without_anything_nonlinear_is_decided() -> None:
    # halfway swapped, a layer and the one that reads it would each hide the other
    network = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 3))
    text = "format: 1\ntensors: {0.*: [a], 1.weight: [b, a], 2.weight: [_, b], 2.bias: []}"
    assert proof_of(network, text, (torch.zeros(4, 4),)).proved


class Twice(nn.Module):
    """A layer used twice, or two names of one; under a checkpoint its gradient comes in parts."""

    def __init__(self, checkpointed: bool) -> None:
        super().__init__()
        self.enter, self.first, self.leave = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.second = self.first
        self.checkpointed = checkpointed

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(x).tanh()
        for layer in (self.first, self.second):
            if self.checkpointed:
                hidden = checkpoint(lambda h, layer=layer: layer(h).tanh(), hidden, use_reentrant=True)
            else:
                hidden = layer(hidden).tanh()
        return self.leave(hidden)


TWICE = """
format: 1
tensors:
  enter.*: [h]
  first.weight: [h, h]
  first.bias: [h]
  second.weight: [h, h]
  second.bias: [h]
  leave.weight: [_, h]
  leave.bias: []
"""


@pytest.mark.filterwarnings("ignore:None of the inputs")
@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradients_of_layers_that_are_used_twice(checkpointed: bool) -> None:
    # the spec does not say that the two names are one tensor
    assert proof_of(Twice(checkpointed), TWICE, (torch.zeros(4, 4),)).proved
    wrong = TWICE.replace(".weight: [h, h]", ".weight: [h, _]")
    assert proof_of(Twice(checkpointed), wrong, (torch.zeros(4, 4),)).failed == ("h",)


class Expert(nn.Module):
    """A layer that is run only where an example asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        wanted = x[:, 0] > 0.5
        y = x[:, :2].clone()
        if wanted.any():
            y[wanted] = y[wanted] + self.down(self.up(x[wanted]).tanh())
        return y


def test_what_one_example_skips_is_tried_on_the_others() -> None:
    text = "format: 1\ntensors: {up.*: [h], down.weight: [_, h], down.bias: []}"
    assert all(proof_of(Expert(), text, (torch.zeros(16, 3),), seed).proved for seed in range(6))


class LookUp(nn.Module):
    """A row of a table for each example, that of its largest unit: few examples tell little of six units."""

    def __init__(self) -> None:
        super().__init__()
        self.units, self.table = nn.Linear(5, 6), nn.Embedding(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(self.units(x).argmax(-1))


@pytest.mark.parametrize("seed", range(5))
def test_what_few_examples_leave_open_of_a_small_network_more_decide(seed: int) -> None:
    text = "format: 1\ntensors: {units.*: [h], table.weight: [h]}"
    assert proof_of(LookUp(), text, (torch.zeros(2, 5),), seed).proved


class Squares(nn.Module):
    """Layers each of whose units is a product of two halves of one weight: each group stands at a single place."""

    def __init__(self, depth: int, factor: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(5, 2 * 7, bias=False) for _ in range(depth))
        self.factor = factor
        self.evaluations = [0]

    def __deepcopy__(self, memo: dict[int, object]) -> "Squares":
        made = Squares(len(self.layers), self.factor)
        made.evaluations = self.evaluations
        return made

    def forward(self, x: Tensor) -> Tensor:
        self.evaluations[0] += 1
        products = (layer(x).unflatten(-1, (2, 7)).prod(-2).sum(-1) for layer in self.layers)
        return x.sum(-1) + self.factor * torch.stack(list(products)).sum(0)


SQUARES = "format: 1\ntensors: {'layers.{l}.weight': [(2 h.{l})]}"


def test_groups_at_a_single_place_are_decided_together() -> None:
    evaluations = []
    for depth in (1, 9):
        network = Squares(depth)
        assert proof_of(network, SQUARES, (torch.zeros(3, 5),)).proved
        evaluations.append(network.evaluations[0])
    assert evaluations[0] == evaluations[1]


def test_a_group_at_a_single_place_that_changes_nothing_is_undecided() -> None:
    proof = proof_of(Squares(3, 0.0), SQUARES, (torch.zeros(3, 5),))
    assert proof.undecided == ("h.0", "h.1", "h.2")


class Halves(nn.Module):
    """Layers of two units each, and summands whose order is of no matter; no gradient goes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(4, 2), nn.Linear(2, 4)
        self.first, self.second = (nn.Parameter(torch.zeros(2)) for _ in range(2))
        self.third = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            summed = sum((self.enter(x).tanh() + each).sum(-1) for each in (self.first, self.second, self.third))
            return self.leave(self.enter(x).tanh()) + summed.unsqueeze(-1)


@pytest.mark.parametrize("seed", range(20))
def test_places_that_matter_are_told_from_summands(seed: int) -> None:
    # swapped at every place at once the two units would change nothing, at whichever place they were
    summands = "first: [h], second: [h], third: [h]"
    text = f"format: 1\ntensors: {{enter.*: [h], leave.weight: [_, h], leave.bias: [], {summands}}}"
    proof = proof_of(Halves(), text, (torch.zeros(3, 4),), seed)
    assert proof.undecided == ("h",)
    assert set(proof.spared["h"]) == {"first", "second", "third"}
