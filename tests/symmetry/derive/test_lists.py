"""Lists of modules whose members change places, and loops over rows of parameters: counts by hand, all proved."""

from math import factorial, log10, prod

import pytest
import torch
from support.networks import expert_lists, lists, member_lists, sparse
from torch import Tensor, nn

from starcli.models.copies import copy_network
from starcli.symmetry.archspec.compare import same_symmetries
from starcli.symmetry.archspec.resolve import resolve_for, resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.derive.derive import Derived, derive_and_prove
from starcli.symmetry.derive.to_yaml import to_yaml
from starcli.symmetry.permutation import Permutation

torch.set_num_threads(1)

VECTORS, IMAGES = torch.zeros(3, 8), torch.zeros(2, 3, 6, 6)


def orders(*sizes: int) -> float:
    """log10 of the number of orders of groups of these sizes."""
    return log10(prod(map(factorial, sizes)))


def derived(network: nn.Module, example: Tensor) -> Derived:
    torch.manual_seed(0)
    found = derive_and_prove(network.eval(), (example,), seed=0)
    assert (found.notes, found.rejected) == ((), {})
    return found


MIXTURE = orders(4, 6, *[5] * 4)
CASES = {
    "sum": (lists.Mixture(), VECTORS, MIXTURE),
    "unbind": (expert_lists.GatedByPieces(), VECTORS, MIXTURE),
    "stack and einsum": (expert_lists.StackedOutputs(), VECTORS, MIXTURE),
    "by number": (expert_lists.ByNumber(), VECTORS, MIXTURE),
    "kept where another is chosen": (expert_lists.Kept(), VECTORS, MIXTURE),
    "written in pieces": (expert_lists.WrittenInPieces(), VECTORS, MIXTURE),
    "read at numbers": (expert_lists.ReadAtNumbers(), VECTORS, MIXTURE),
    "beside the stream": (expert_lists.BesideTheStream(), VECTORS, orders(6, 4, *[5] * 4)),
    "scattered gates": (expert_lists.Scattered(), VECTORS, MIXTURE),
    "rows of parameters": (expert_lists.RowByRow(), VECTORS, MIXTURE),
    "heads": (lists.HeadList(), torch.zeros(2, 5, 7), orders(12, 3, *[4] * 6)),
    "language model": (
        member_lists.TutorialGPT(),
        torch.randint(0, 11, (2, 8)),
        orders(12, *[3, 48] * 2, *[4] * 12),
    ),
    "branches, sum": (member_lists.ConvBranches("sum"), IMAGES, orders(6, 4, *[5] * 8)),
    "branches, mean": (member_lists.ConvBranches("mean"), IMAGES, orders(6, 6, 4, *[5] * 8)),
    "branches, max": (member_lists.ConvBranches("max"), IMAGES, orders(6, 6, 4, *[5] * 8)),
    "branches, side by side": (member_lists.ConvBranches("cat"), IMAGES, orders(6, 4, *[5] * 8, *[6] * 4)),
    "pieces": (member_lists.Pieces(), VECTORS, orders(3, *[4] * 6, *[5] * 3)),
    "one unit each": (member_lists.OneUnitEach(), VECTORS, orders(6, 4, *[5] * 4)),
    "dropout": (member_lists.Ended(nn.Dropout(0.1), nn.Dropout(0.1)), VECTORS, orders(2, 5, 5)),
    "halves": (member_lists.Ended(member_lists.Half(), member_lists.Half()), VECTORS, orders(2, 5, 5)),
    "squares": (member_lists.Ended(member_lists.Square(), member_lists.Square()), VECTORS, orders(2, 5, 5)),
    "norms": (member_lists.Ended(nn.BatchNorm1d(3), nn.BatchNorm1d(3)), VECTORS, orders(2, 5, 5)),
    "norms of each": (member_lists.Ended(nn.LayerNorm(3), nn.LayerNorm(3)), VECTORS, orders(2, 5, 5)),
    "recurrent": (member_lists.Recurrent(), torch.zeros(2, 6, 5), orders(3, *[4] * 3)),
    "the smaller of two": (member_lists.Twins(), VECTORS, orders(2, 5, 5)),
    "prompts before a sequence": (member_lists.Prompts(), torch.zeros(2, 4, 8), orders(6, 5, 3)),
    "layers of lists": (expert_lists.Layered(), VECTORS, orders(6, *[3] * 3, *[5] * 9)),
    "list of lists": (expert_lists.ListOfLists(), VECTORS, 2 * MIXTURE),
}
TOLD_APART = {
    "factors": (member_lists.ConvBranches("product"), IMAGES, orders(6, 6, *[5] * 8)),
    "classes": (member_lists.ClassByClass(), VECTORS, orders(6, *[5] * 4)),
    "weights": (expert_lists.Unlike(), VECTORS, orders(6, *[5] * 4)),
    "constants within": (expert_lists.UnlikeInside(), VECTORS, orders(6, *[5] * 4)),
    "gates on the stream": (expert_lists.GateOnStream(), VECTORS, orders(*[5] * 6)),
    "chain": (member_lists.Chain(), torch.zeros(3, 6), 0.0),
    "rates of dropout": (member_lists.Ended(nn.Dropout(0.1), nn.Dropout(0.2)), VECTORS, orders(5, 5)),
    "bounds": (member_lists.Ended(nn.Hardtanh(-20, 20), nn.Hardtanh(-30, 30)), VECTORS, orders(5, 5)),
    # within the bounds biases could be exchanged alone, beyond them not: nothing of that is seen
    "the same bounds": (member_lists.Ended(nn.Hardtanh(-20, 20), nn.Hardtanh(-20, 20)), VECTORS, orders(5, 5)),
}


@pytest.mark.parametrize("case", CASES)
def test_members_change_places_with_units_of_their_own(case: str) -> None:
    network, example, count = CASES[case]
    resolved = derived(network, example).resolved
    assert resolved.log10_symmetries() == pytest.approx(count)
    assert resolve_for(network, parse(to_yaml(resolved))) == resolved
    generator = torch.Generator().manual_seed(2)
    inputs = example if example.dtype == torch.int64 else torch.randn(example.shape, generator=generator)
    moved = copy_network(network)
    state = network.state_dict()
    changed = Permutation.random(resolved, generator).apply(state)
    assert list(changed) == list(state)
    moved.load_state_dict(changed)
    with torch.no_grad():
        torch.testing.assert_close(moved.eval()(inputs), network(inputs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", TOLD_APART)
def test_members_that_are_told_apart_stay_and_their_units_move(case: str) -> None:
    network, example, count = TOLD_APART[case]
    found = derived(network, example)
    assert found.resolved.log10_symmetries() == pytest.approx(count)
    assert not found.resolved.stacks


@pytest.mark.parametrize(("network", "written"), [(lists.Mixture, lists.MIXTURE), (lists.HeadList, lists.HEADS)])
def test_the_derived_spec_is_that_by_hand(network: type[nn.Module], written: str) -> None:
    made = network()
    example = VECTORS if network is lists.Mixture else torch.zeros(2, 5, 7)
    assert same_symmetries(derived(made, example).resolved, resolve_for(made, parse(written))) == []


SPARSE = (
    sparse.ByWhere, sparse.ByMask, sparse.ByNonzero, sparse.ByCount, sparse.ByNewTensors,
    sparse.Switched, sparse.Repeated, sparse.Batched,
)  # fmt: skip


@pytest.mark.parametrize("kind", SPARSE, ids=[each.__name__ for each in SPARSE])
def test_experts_that_see_the_examples_that_chose_them(kind: type[sparse.Chosen]) -> None:
    """No graph has the numbers of rows that each expert sees; units do not depend on them."""
    network = kind()
    example = torch.zeros(3, 5, 8) if kind is sparse.Batched else torch.zeros(12, 8)
    resolved = derived(network, example).resolved
    assert same_symmetries(resolved, resolve_for(network, parse(lists.MIXTURE))) == []
    inputs = torch.randn(example.shape)
    before = network(inputs)
    network.load_state_dict(Permutation.random(resolved, torch.Generator().manual_seed(3)).apply(network.state_dict()))
    torch.testing.assert_close(network(inputs), before)


def test_summands_without_an_order_stay() -> None:
    """The biases of a plain sum may be exchanged alone: they belong to no member."""
    resolved = derived(member_lists.ConvBranches("sum"), IMAGES).resolved
    assert resolved.expressions["branches.0.6.bias"] == ("stem",)
    assert "branches.[].6.weight" in resolved.stacks


def test_a_mixture_counted_by_brute_force() -> None:
    """Of all exchanges of modules, with the router's rows, just those that the spec allows leave the function."""
    network = lists.Mixture(experts=3)
    spec = derived(network, VECTORS).resolved
    inputs = torch.randn(5, 8)
    state = network.state_dict()
    for order in ([1, 0, 2], [2, 0, 1], [2, 1, 0]):
        by_hand = {name: tensor.clone() for name, tensor in state.items()}
        for new, old in enumerate(order):
            for name in state:
                if name.startswith(f"experts.{new}."):
                    by_hand[name] = state[name.replace(f"experts.{new}.", f"experts.{old}.")]
        by_hand["router.weight"], by_hand["router.bias"] = state["router.weight"][order], state["router.bias"][order]
        index = {**Permutation.identity(spec).index, "experts.member": torch.tensor(order)}
        found = Permutation(spec, index).apply(state)
        assert all(torch.equal(found[name], by_hand[name]) for name in state)
        moved = lists.Mixture(experts=3)
        moved.load_state_dict(found)
        torch.testing.assert_close(moved(inputs), network(inputs))
    assert resolve_spec(parse(to_yaml(spec)), spec.member_shapes) == spec
