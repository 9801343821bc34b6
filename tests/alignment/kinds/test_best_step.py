"""The best element of one group, by brute force and by scipy: signs, rotations, heads by their best inner matches."""

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes, svdvals
from torch import Tensor

from starcli.alignment.kinds.best_step import best_parts, best_values, nearest_rotation
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.kinds.elements import random_rotation
from starcli.symmetry.kinds.group_kind import GroupKind
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.proof.places import GroupPlace

NONE: frozenset[int] = frozenset()


def kinds(**groups: GroupKind) -> Kinds:
    """Kinds of a group h of four units, and of u, of three units within each."""
    text = "{format: 1, groups: {h: {size: 4}, u: {size: 3, within: h}}, tensors: {w: [(h u)], b: [h]}}"
    spec = resolve_spec(parse(text), {"w": (12,), "b": (4,)})
    found = Kinds.permutations(spec)
    return Kinds(found.spec, {**found.groups, **groups}, 0.0)


def gains(seed: int, *shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(5))
def test_signs_of_two_ways_against_brute_force(seed: int) -> None:
    """Gains that no sign touches, that one of two signs touches, and that both do."""
    place = GroupPlace("b", 0, 0, "h")
    both = kinds(h=GroupKind("h", "signed", signs=({place: 1}, {place: 1})))
    parts = [gains(3 * seed + k, 4, 4) for k in range(3)]
    told = {(("h",), NONE): parts[0], (("h",), frozenset({0})): parts[1], (("h",), frozenset({0, 1})): parts[2]}
    best = -np.inf
    for order in itertools.permutations(range(4)):
        rows = [[float(part[0, i, order[i]]) for part in parts] for i in range(4)]
        best = max(best, sum(max(a + s * b + s * t * c for s in (1, -1) for t in (1, -1)) for a, b, c in rows))
    assert float(best_values(both, "h", told)) == pytest.approx(best)
    found = best_parts(both, "h", told)
    order, (s, t) = found.index["h"][0], found.signs["h"][0]
    reached = sum((f[0, range(4), order] * sign).sum() for f, sign in zip(parts, (1.0, s, s * t), strict=True))
    assert float(reached) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_rotations_against_scipy(seed: int) -> None:
    m = gains(seed, 5, 5)[0]
    ours, theirs = nearest_rotation(m), orthogonal_procrustes(np.eye(5), m.numpy())[0]
    assert np.allclose(ours, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_rotations_that_fix_ones_are_the_best_of_these(seed: int) -> None:
    m, ones = gains(seed, 5, 5)[0], torch.ones(5, dtype=torch.float64)
    q = nearest_rotation(m, fix_ones=True)
    assert torch.allclose(q @ q.T, torch.eye(5, dtype=torch.float64))
    assert torch.allclose(q @ ones, ones)
    generator = torch.Generator().manual_seed(seed)
    others = [random_rotation((5,), generator, fix_ones=True) for _ in range(50)]
    near = [q @ torch.matrix_exp(1e-3 * (turn - turn.T)) for turn in others]  # these need not fix ones: made to below
    assert all(float((q * m).sum()) > float((other * m).sum()) for other in others)
    for other in near:
        fixed = nearest_rotation(other, fix_ones=True)
        assert float((fixed * m).sum()) <= float((q * m).sum()) + 1e-12


@pytest.mark.parametrize("fix", [False, True])
def test_what_rotations_gain_is_what_the_best_one_gains(fix: bool) -> None:
    rotated = kinds(h=GroupKind("h", "orthogonal", fixes_ones=fix))
    told = {(("h",), NONE): gains(7, 4, 4), (("h",), frozenset({0})): gains(8, 4, 4)}
    [q] = best_parts(rotated, "h", told).matrices["h"]
    assert float(best_values(rotated, "h", told)) == pytest.approx(float((q * sum(told.values())).sum()))
    assert torch.allclose(q @ torch.ones(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)) == fix


@pytest.mark.parametrize("seed", range(3))
def test_heads_are_assigned_by_what_their_rotations_can_do(seed: int) -> None:
    """Four heads of three rotated units each, and a bias a head: all 24 orders of heads tried."""
    rotated = kinds(u=GroupKind("u", "invertible"))
    inner, own = gains(seed, 4, 3, 4, 3), gains(10 + seed, 4, 4)
    told = {(("h", "u"), NONE): inner, (("h",), NONE): own}
    best = max(
        sum(float(own[0, i, j]) + svdvals(inner[0, i, :, j].numpy()).sum() for i, j in enumerate(order))
        for order in itertools.permutations(range(4))
    )
    assert float(best_values(rotated, "h", told)) == pytest.approx(best)
    found = best_parts(rotated, "h", told)
    order, q = found.index["h"][0].tolist(), found.matrices["u"][0]
    reached = sum(float(own[0, i, j]) + float((q[i] * inner[0, i, :, j]).sum()) for i, j in enumerate(order))
    assert reached == pytest.approx(best)


def test_heads_whose_units_are_permuted_and_signed() -> None:
    place = GroupPlace("w", 0, 0, "u")
    signed = kinds(u=GroupKind("u", "signed", signs=({place: 1},)))
    inner = gains(0, 4, 3, 4, 3)
    told = {(("h", "u"), frozenset({0})): inner}
    within = {
        (i, j): max(
            sum(abs(float(inner[0, i, a, j, b])) for a, b in enumerate(order))
            for order in itertools.permutations(range(3))
        )
        for i in range(4)
        for j in range(4)
    }
    best = max(sum(within[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(4)))
    found = best_parts(signed, "h", told)
    heads, units, signs = found.index["h"][0], found.index["u"][0], found.signs["u"][0]  # signs: (heads, ways, units)
    reached = sum(float(signs[i, 0, a] * inner[0, i, a, heads[i], units[i, a]]) for i in range(4) for a in range(3))
    assert reached == pytest.approx(best)
