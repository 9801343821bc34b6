"""Groups that are held: the others move as they did."""

import pytest
import torch
from support.network_kinds import NETWORKS, case

from starcli.symmetry.archspec.held import held
from starcli.symmetry.permutation import Permutation


@pytest.mark.parametrize("name", NETWORKS)
def test_the_others_move_as_with_the_identity_of_those_that_are_held(name: str) -> None:
    _, kinds, tensors, _ = case(name)
    rotating = {group for group, kind in kinds.groups.items() if kind.kind in ("orthogonal", "invertible")}
    spec = held(kinds.spec, rotating)
    assert spec.groups.keys() == kinds.groups.keys() - rotating
    permutation = Permutation.random(spec, torch.Generator().manual_seed(0))
    whole = Permutation(kinds.spec, {**Permutation.identity(kinds.spec).index, **permutation.index})
    found, expected = permutation.apply(tensors), whole.apply(tensors)
    assert all(torch.equal(found[key], expected[key]) for key in tensors)


def test_groups_within_one_that_is_held_are_held_too() -> None:
    _, kinds, _, _ = case("vit")
    heads = {around for group in kinds.groups for around in kinds.spec.ancestors(group)}
    inner = {group for group in kinds.groups if kinds.spec.ancestors(group)}
    assert heads
    assert held(kinds.spec, heads).groups.keys() == kinds.groups.keys() - heads - inner
