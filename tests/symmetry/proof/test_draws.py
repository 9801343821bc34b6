"""The permutations that a proof tries: they generate all, and no two small groups always move alike."""

import itertools
import math

import pytest
import torch
from support.proof import proof_of, resolve
from torch import Tensor, nn

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.proof.draws import SMALL_GROUP, proof_permutations


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain(*sizes: int) -> Resolved:
    """A spec with a group of each of these sizes."""
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise((3, *sizes, 2))]
    lines = [
        f"  {i}.weight: [{f'g{i}' if i < len(sizes) else '_'}, {f'g{i - 1}' if i else '_'}]" for i in range(len(layers))
    ]
    lines += [f"  {i}.bias: [{f'g{i}' if i < len(sizes) else ''}]" for i in range(len(layers))]
    return resolve(nn.Sequential(*layers), "format: 1\ntensors:\n" + "\n".join(lines))


def generated(*permutations: tuple[int, ...]) -> int:
    """The order of the group that they generate."""
    found = new = {tuple(range(len(permutations[0])))}
    while new:
        new = {tuple(one[i] for i in p) for one in new for p in permutations} - found
        found = found | new
    return len(found)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_draws_generate_every_permutation(size: int) -> None:
    for seed in range(5):
        moves = [tuple(each.index["g0"].tolist()) for each in proof_permutations(chain(size), generator(seed))]
        assert generated(*moves) == math.factorial(size)


def test_no_two_small_groups_move_alike() -> None:
    for sizes, count in (((8, 16), 2), ((2, 9, 3, 2, 4, 2, 1), 2), ((2,) * 4, 3), ((3,) * 7, 3), ((4,) * 24, 2)):
        spec = chain(*sizes)
        made = proof_permutations(spec, generator(0))
        assert len(made) == count
        moves = {
            name: tuple(tuple(each.index[name].tolist()) for each in made)
            for name, group in spec.groups.items()
            if 1 < group.size <= SMALL_GROUP
        }
        assert len(set(moves.values())) == len(moves)
        for index in moves.values():
            assert generated(*index) == math.factorial(len(index[0]))


class Products(nn.Module):
    """sum_i w_i a_i(x) b_i(x): the units of a and b may only move together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b, self.leave = nn.Linear(3, width), nn.Linear(3, width), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.a(x) * self.b(x))


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_groups_that_only_move_together_are_one(width: int, seed: int) -> None:
    text = "format: 1\ntensors: {a.*: [p], b.*: [q], leave.weight: [_, p], leave.bias: []}"
    assert proof_of(Products(width), text, (torch.zeros(4, 3),), seed=seed).failed == ("p", "q")
    assert proof_of(Products(width), text.replace("[q]", "[p]"), (torch.zeros(4, 3),), seed=seed).proved


class Shared(nn.Module):
    """Heads whose units are added up across heads: they move in all heads alike."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, 6), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.enter(x).tanh().view(-1, 3, 2).sum(1))


class Sums(nn.Module):
    """Heads with two units at each of two positions: behind a sum over positions the units move at both alike."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units, self.enter, self.leave = units, nn.Linear(3, 2 * 2 * units), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.enter(x).view(-1, 2, 2, self.units)  # (N, heads, positions, units)
        return self.leave(heads.cumsum(2).prod(-1).flatten(1))


@pytest.mark.parametrize("units", [2, 3, 4])
@pytest.mark.parametrize("seed", range(8))
def test_small_groups_within_the_same_few_heads_do_not_move_alike(units: int, seed: int) -> None:
    inner = f"{{within: h, size: {units}}}"
    groups = f"format: 1\ngroups: {{h: {{size: 2}}, u: {inner}, v: {inner}}}\n"
    text = groups + "tensors: {enter.*: [(h (u + v))], leave.weight: [_, (h 2)], leave.bias: []}"
    assert proof_of(Sums(units), text, (torch.zeros(4, 3),), seed=seed).failed == ("u", "v")
    alike = text.replace(f", v: {inner}", "").replace("(u + v)", "2 u")
    assert proof_of(Sums(units), alike, (torch.zeros(4, 3),), seed=seed).proved


class Special(nn.Module):
    """One unit is read on its own."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(x).tanh()
        return self.leave(hidden) + hidden[:, :1]


@pytest.mark.parametrize("seed", range(8))
def test_what_random_permutations_miss(seed: int) -> None:
    text = """
format: 1
groups: {h: {size: 3}, u: {within: h}}
tensors: {enter.*: [(h u)], leave.weight: [_, _], leave.bias: []}
"""
    assert "u" in proof_of(Shared(), text, (torch.zeros(4, 3),), seed=seed).failed
    text = "format: 1\ntensors: {enter.*: [g], leave.weight: [_, g], leave.bias: []}"
    assert proof_of(Special(), text, (torch.zeros(4, 3),), seed=seed).failed == ("g",)
