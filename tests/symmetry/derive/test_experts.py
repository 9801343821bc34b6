"""Mixtures of experts: experts change places, each with units of its own; what tells them apart fixes them.

The counts are E! (h!)^E d! for E experts of h units on a stream of d; whatever is derived is proved as well.
"""

from math import factorial, log10

import pytest
import torch
from support.networks import experts
from support.networks.experts import EXPERTS, HIDDEN, STREAM, Mixture
from torch import Tensor, nn

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.derive.derive import derive_and_prove

torch.set_num_threads(1)

EXAMPLE = (torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(0)),)
WHOLE = log10(factorial(EXPERTS) * factorial(HIDDEN) ** EXPERTS * factorial(STREAM))


def proved(network: nn.Module, *inputs: Tensor) -> Resolved:
    derived = derive_and_prove(network, inputs or EXAMPLE, seed=0)
    assert (derived.notes, derived.rejected) == ((), {})
    return derived.resolved


ROUTED = (
    experts.Soft, experts.ByScatter, experts.ByOneHot, experts.ByComparison, experts.ByLookUp, experts.BySelection,
    experts.ByBatches, experts.ChoosingTokens, experts.InOneProduct, experts.NormalisedWithin,
)  # fmt: skip


@pytest.mark.parametrize("kind", ROUTED, ids=[each.__name__ for each in ROUTED])
def test_experts_change_places_each_with_its_own_units(kind: type[Mixture]):
    found = proved(kind())
    expert = found.expressions["router.bias"][0]
    unit = found.expressions["down"][1]
    assert found.groups[unit].within == expert
    assert (found.groups[expert].size, found.groups[unit].size) == (EXPERTS, HIDDEN)
    assert found.log10_symmetries() == pytest.approx(WHOLE)
    assert found.expressions["up"] == (expert, "first", unit)
    assert found.expressions["down_bias"] == (expert, "first")


def test_the_count_by_hand_is_of_permutations_that_hold():
    """Experts in another order and units of each in an order of its own, written out, give the same outputs."""
    torch.manual_seed(1)
    network, moved = experts.InOneProduct(), experts.InOneProduct()
    order = torch.tensor([2, 0, 3, 1])
    own = torch.stack([torch.randperm(HIDDEN) for _ in range(EXPERTS)])
    state = network.state_dict()
    state["router.weight"], state["router.bias"] = state["router.weight"][order], state["router.bias"][order]
    for name, axis in (("up", 2), ("up_bias", 1), ("down", 1)):
        state[name] = torch.stack([state[name][e].index_select(axis - 1, own[e]) for e in order])
    state["down_bias"] = state["down_bias"][order]
    moved.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(moved(*EXAMPLE), network(*EXAMPLE))


def test_experts_with_one_bias_move_their_units_alike():
    found = proved(experts.SharedBias())
    assert found.groups[found.expressions["bias"][0]].within is None
    alike = factorial(EXPERTS) * factorial(HIDDEN) * factorial(STREAM)
    assert found.log10_symmetries() == pytest.approx(log10(alike))


@pytest.mark.parametrize("kind", [experts.ByNumber, experts.FromItsNumber], ids=["constant", "number"])
def test_experts_that_something_tells_apart_stay_and_their_units_move_alike(kind: type[Mixture]):
    found = proved(kind())
    assert found.expressions["router.bias"] == (str(EXPERTS),)
    assert found.expressions["up"][0] == str(EXPERTS)
    assert found.log10_symmetries() == pytest.approx(log10(factorial(HIDDEN) * factorial(STREAM)))


def test_groups_of_experts_move_and_experts_within_them():
    found = proved(experts.InGroups())
    assert found.expressions["expert_bias"] == found.expressions["router.bias"]
    counted = factorial(2) * factorial(2) ** 2 * factorial(HIDDEN) ** EXPERTS * factorial(STREAM)
    assert found.log10_symmetries() == pytest.approx(log10(counted))


def test_experts_of_parts_of_a_token_read_and_write_the_units_that_all_parts_share():
    found = proved(experts.OfParts())
    read, written = factorial(4), factorial(4)
    counted = factorial(EXPERTS) * factorial(HIDDEN) ** EXPERTS * factorial(3) * read * written * factorial(STREAM)
    assert found.log10_symmetries() == pytest.approx(log10(counted))
    assert found.groups[found.expressions["up"][1]].within is None


class HeadsInEinsum(nn.Module):
    """Attention whose heads are an axis of their own, as in JAX."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(7, 12), nn.Linear(12, 3)
        self.query, self.key, self.value = (nn.Parameter(torch.randn(4, 12, n) / 4) for n in (5, 5, 6))
        self.gain = nn.Parameter(torch.rand(4, 5) + 0.5)
        self.out = nn.Parameter(torch.randn(4, 6, 12) / 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        query = torch.einsum("btd,hdk->bthk", x, self.query) * self.gain
        key = torch.einsum("btd,hdk->bthk", x, self.key)
        value = torch.einsum("btd,hdk->bthk", x, self.value)
        weights = torch.einsum("bqhk,bthk->bhqt", query, key).softmax(-1)
        mixed = torch.einsum("bhqt,bthk->bqhk", weights, value)
        return self.last((x + torch.einsum("bthk,hkd->btd", mixed, self.out)).mean(1))


def test_heads_of_an_einsum_have_units_of_their_own():
    found = proved(HeadsInEinsum())
    counted = factorial(12) * factorial(4) * (factorial(5) * factorial(6)) ** 4
    assert found.log10_symmetries() == pytest.approx(log10(counted))
    head, _, unit = found.expressions["query"]
    assert found.expressions["gain"] == (head, unit)
    assert found.expressions["key"] == found.expressions["query"]


class AtPositions(nn.Module):
    """Two layers with matrices of each token's own: their units could move apart, which no line of a spec says."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(7, 12), nn.Linear(12, 3)
        self.up, self.down = nn.Parameter(torch.randn(6, 12, 5) / 4), nn.Parameter(torch.randn(6, 5, 12) / 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        hidden = torch.relu(torch.einsum("btd,tdh->bth", x, self.up))
        return self.last((x + torch.einsum("bth,thd->btd", hidden, self.down)).mean(1))


def test_units_of_matrices_that_the_input_tells_apart_move_alike():
    assert proved(AtPositions()).expressions["up"] == ("6", "first", "up")


def test_codes_of_a_codebook_change_places_as_it_is_read_by_the_nearest():
    assert proved(experts.Codebook()).expressions["codes.weight"] == ("codes", "first")


class OneOfOne(nn.Module):
    """A stack of a single matrix, and biases beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(7, 12), nn.Linear(5, 3)
        self.up, self.bias = nn.Parameter(torch.randn(1, 12, 5) / 4), nn.Parameter(torch.randn(1, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(torch.matmul(torch.relu(self.first(x)), self.up) + self.bias[:, None]).mean(1))


def test_a_stack_of_one_matrix_has_its_units():
    assert proved(OneOfOne()).expressions["up"] == ("1", "first", "up")
