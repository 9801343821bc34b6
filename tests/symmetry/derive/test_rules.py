"""The laws of atoms and factors, and the rules of operators one by one, on label arrays small enough to read."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.symmetry.derive.algebra import merge, reduce, relate
from starcli.symmetry.derive.atoms import Atoms
from starcli.symmetry.derive.derive import derive, derive_and_prove
from starcli.symmetry.derive.export import export
from starcli.symmetry.derive.expressions import Writer
from starcli.symmetry.derive.follow import follow
from starcli.symmetry.derive.trace import start
from starcli.symmetry.derive.values import Value, along_axis, squash

torch.set_num_threads(1)


def together(atoms, labels):
    """Which positions have become one."""
    return [int(each) for each in np.unique(atoms.find(np.asarray(labels)), return_inverse=True)[1]]


def test_union_is_transitive_and_never_unites_fixed_atoms():
    atoms = Atoms()
    free, fixed = atoms.new(4), atoms.new(2, fixed="an input")
    atoms.union(free[:2], free[1:3])
    assert together(atoms, free) == [0, 0, 0, 1]
    atoms.union(fixed[:1], fixed[1:])
    assert together(atoms, fixed) == [0, 1]
    atoms.union(free[2:3], fixed[:1])
    assert atoms.is_fixed(free).tolist() == [True, True, True, False]
    assert atoms.reason(int(free[0])) == "an input"


def test_two_atoms_united_with_one_fixed_atom_stay_two():
    atoms = Atoms()
    free, fixed = atoms.new(2), atoms.new(1, fixed="an input")
    atoms.union(free, np.repeat(fixed, 2))
    assert together(atoms, free) == [0, 1]
    assert atoms.is_fixed(free).all()


def test_bundles_know_their_members():
    atoms = Atoms()
    a = atoms.new(4)
    rows = np.array([[a[0], a[1]], [a[1], a[0]], [a[2], a[3]]])
    first, again, other = atoms.bundles(rows)
    assert first == again != other
    assert atoms.bundles(a[:, None]).tolist() == a.tolist()
    child, parent = atoms.edges()
    assert sorted(zip(child.tolist(), parent.tolist(), strict=True)) == [
        (a[0], first), (a[1], first), (a[2], other), (a[3], other)
    ]  # fmt: skip


def test_equal_partitions_unite():
    atoms = Atoms()
    f, g = atoms.new(3), atoms.new(3)
    assert relate(atoms, f, g[::-1], "here") == "same"
    assert together(atoms, [f[0], g[2]]) == [0, 0]
    assert together(atoms, [f[0], g[0]]) == [0, 1]


def test_the_coarser_stands_above_the_finer():
    atoms = Atoms()
    f, g = atoms.new(4), atoms.new(2)
    assert relate(atoms, f, np.repeat(g, 2), "here") == "first"
    child, parent = atoms.edges()
    assert dict(zip(child.tolist(), parent.tolist(), strict=True)) == {f[0]: g[0], f[1]: g[0], f[2]: g[1], f[3]: g[1]}
    assert relate(atoms, np.repeat(g, 2), f, "here") == "second"


def test_products_are_independent_or_share_what_is_above_them():
    atoms = Atoms()
    f, g = atoms.new(2), atoms.new(3)
    assert relate(atoms, f[:, None], g[None], "here") == "both"
    assert len(atoms.edges()[0]) == 0
    heads, values = atoms.new(4), atoms.new(6)
    positions = [(h, v) for k in range(2) for h in heads[2 * k : 2 * k + 2] for v in values[3 * k : 3 * k + 3]]
    assert relate(atoms, *np.array(positions).T, "here") == "both"
    child, parent = atoms.edges()
    above = dict(zip(child.tolist(), parent.tolist(), strict=True))
    assert above[heads[0]] == above[heads[1]] == above[values[0]] == above[values[2]] != above[heads[2]]
    assert not atoms.is_fixed(heads).any()


def test_anything_else_is_pinned_with_its_reason():
    atoms = Atoms()
    f, g = atoms.new(2), atoms.new(2)
    relate(atoms, f[[0, 0, 1]], g[[0, 1, 1]], "at net.py:7")
    assert atoms.is_fixed(np.concatenate([f, g])).all()
    assert "net.py:7" in atoms.reason(int(f[0]))


def test_a_sum_leaves_one_bundle_a_row_and_nothing_where_all_rows_are_the_same():
    atoms = Atoms()
    units = atoms.new(6).reshape(2, 3)
    left = reduce(atoms, Value.of((2, 3), [units]), [1])
    assert left.shape == (2, 1)
    assert len(np.unique(left.factors[0])) == 2
    assert reduce(atoms, Value.of((4, 3), [units[:1]]), [1]).factors == ()


def test_merging_drops_what_another_factor_tells():
    atoms = Atoms()
    channel, position = atoms.new(3), atoms.new(2, fixed="positions")
    x = Value.of((3, 2), [along_axis(channel, 0, 2), along_axis(position, 1, 2)])
    merged = merge(atoms, [x, Value.of((3, 1), [along_axis(atoms.new(3), 0, 2)])], (3, 2), "here")
    assert len(merged.factors) == 2


def test_squash_finds_the_axes_that_matter():
    assert squash(np.array([[1, 2], [1, 2]])).shape == (1, 2)
    assert squash(np.array([[1, 1], [2, 2]])).shape == (2, 1)
    assert squash(np.array([[5, 5]])).shape == (1, 1)


@pytest.mark.parametrize(
    ("expected", "table"),
    [
        ("g", {"g": [0, 1, 2]}),
        ("(g 2)", {"g": [0, 0, 1, 1, 2, 2]}),
        ("(2 g)", {"g": [0, 1, 2, 0, 1, 2]}),
        ("g + h", {"g": [0, 1, 2, -1, -1], "h": [-1, -1, -1, 0, 1]}),
        ("3 + h", {"h": [-1, -1, -1, 0, 1]}),
        ("g | k", {"g": [0, -1, 1, -1, 2, -1], "k": [-1, 0, -1, 1, -1, 2]}),
        ("g | h", {"g": [0, -1, 1, -1, 2], "h": [-1, 0, -1, 1, -1]}),
        ("(h g)", {"h": [0, 0, 0, 1, 1, 1], "g": [0, 1, 2, 0, 1, 2]}),
        ("((g + h) 2)", {"g": [0, 0, 1, 1, 2, 2, -1, -1, -1, -1], "h": [-1] * 6 + [0, 0, 1, 1]}),
        ("(h (g + 1))", {"h": [0, 0, 0, 0, 1, 1, 1, 1], "g": [0, 1, 2, -1, 0, 1, 2, -1]}),
        (None, {"g": [0, 2, 1]}),
        (None, {"g": [0, 1, -1]}),
    ],
)
def test_expressions(expected, table):
    from starcli.symmetry.archspec.expression import text

    names = ["g", "h", "k"]
    writer = Writer(dict(enumerate(names)), {0: 3, 1: 2, 2: 3})
    numbered = {names.index(name): np.array(index) for name, index in table.items()}
    node = writer.axis(numbered, len(next(iter(numbered.values()))))
    assert (None if node is None else text(node)) == expected


def test_groups_in_turns_of_any_number():
    from starcli.symmetry.archspec.expression import text

    index = {group: np.full(34, -1) for group in range(11)}
    for group, each in index.items():
        each[group::11] = range(len(each[group::11]))
    sizes = {group: 4 if group == 0 else 3 for group in index}
    node = Writer({group: f"g{group}" for group in index}, sizes).axis(index, 34)
    assert node is not None
    assert text(node) == " | ".join(f"g{group}" for group in index)


class Between(nn.Module):
    """An operator between two layers of `width` units; the last axis by default."""

    def __init__(self, function: Callable[[Tensor], Tensor], width: int = 4, last: int = 4) -> None:
        super().__init__()
        self.first, self.last, self.function = nn.Linear(3, width), nn.Linear(last, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


FREE = {
    "elementwise": lambda x: torch.exp(x) * 2 + torch.sigmoid(x) / 3,
    "in place": lambda x: x.clone().mul_(2).add_(x),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "softmax": lambda x: x.softmax(-1),
    "norm": lambda x: nn.functional.normalize(x, dim=-1),
    "sum kept": lambda x: x - x.mean(-1, keepdim=True),
    "there and back": lambda x: x.unsqueeze(1).transpose(1, 2).squeeze(2),
    "view": lambda x: x.reshape(-1, 2, 2).flatten(1),
    "expand": lambda x: x[:, None].expand(-1, 5, -1).mean(1),
    "logsumexp": lambda x: x - x.logsumexp(-1, keepdim=True),
    "variance": lambda x: x / x.std(-1, keepdim=True),
    "einsum": lambda x: torch.einsum("bi,bi,bj->bj", x, x, x),
    "outer": lambda x: (x[:, :, None] @ x[:, None, :]).sum(1),
    "constant that is uniform": lambda x: x * torch.full((4,), 2.0),
    "between boundaries": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0, 2.0])) + x,
    "between more of them": lambda x: torch.bucketize(x, torch.arange(5.0)) + x,
    "no_grad": lambda x: x * torch.no_grad()(torch.tanh)(x),
}


@pytest.mark.parametrize("name", FREE)
def test_operators_that_leave_units_free(name):
    derived = derive(Between(FREE[name]), (torch.rand(3, 3),))
    assert derived.notes == ()
    assert [group.size for group in derived.resolved.groups.values()] == [4]
    assert derived.resolved.expressions["last.weight"][1] == "first"


FIXING = {
    "cumulative": lambda x: x.cumsum(-1),
    "positions of sorted ones": lambda x: x.sort(-1).indices + x,
    "shifted": lambda x: x + x.roll(1, -1),
    "constant": lambda x: x * torch.arange(4.0),
    "mirrored against a constant": lambda x: x.flip(-1) * torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "first against the others": lambda x: x * x[:, :1],
    "written into a view": lambda x: _written(x),
}


def _written(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 1].mul_(2)
    return x


@pytest.mark.parametrize("name", FIXING)
def test_operators_that_tell_units_apart(name):
    derived = derive(Between(FIXING[name]), (torch.rand(3, 3),))
    assert all(group.size < 4 for group in derived.resolved.groups.values())


def _bounded_in_place(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :2].clamp_(max=20)
    return x


BY_PARTS = {
    "functions": lambda x: torch.cat([x[:, :2].relu(), nn.functional.gelu(x[:, 2:])], -1),
    "bounds": lambda x: torch.cat([x[:, :2].clamp(-20, 20), x[:, 2:].clamp(-30, 30)], -1),
    "one bound": lambda x: torch.cat([nn.functional.relu6(x[:, :2]), x[:, 2:].relu()], -1),
    "bounds by tensors": lambda x: torch.cat(
        [x[:, :2].minimum(torch.tensor(20.0)), x[:, 2:].minimum(torch.tensor(30.0))], -1
    ),
    "in place": _bounded_in_place,
    "dropout": lambda x: torch.cat([nn.functional.dropout(x[:, :2], 0.5, training=False), x[:, 2:]], -1),
}


@pytest.mark.parametrize("name", BY_PARTS)
def test_units_to_which_other_functions_apply_are_others(name):
    """Where these differ far from 0 alone, or in train mode, no proof would see that the two parts may not mix."""
    derived = derive_and_prove(Between(BY_PARTS[name]), (torch.rand(3, 3),))
    assert not derived.rejected
    assert derived.resolved.expressions["last.weight"][1] == "first + first_2"


def test_a_choice_of_graphs_has_no_rule():
    def chosen(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda a, b: a.relu() + b, lambda a, b: a.tanh() + b, (x, x * 2))

    try:
        derived = derive(Between(chosen), (torch.rand(3, 3),))
    except StarcliError:
        pytest.skip("this torch cannot trace it")
    assert derived.notes[0].startswith("no rule for cond at test_rules.py:")  # not where torch wrote code for it
    assert not derived.resolved.groups


class Pruned(nn.Module):
    """Units behind a mask, or of a number of bits, that a state dict has and that training may change."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu() * self.mask)


@pytest.mark.parametrize("mask", [torch.ones(4, dtype=torch.bool), torch.full((4,), 8)], ids=["mask", "bits"])
def test_integers_of_one_value_may_have_others_in_a_checkpoint(mask):
    assert not derive(Pruned(mask), (torch.rand(3, 3),)).resolved.groups


def test_padding_with_zeros_keeps_the_units():
    derived = derive(Between(lambda x: nn.functional.pad(x, (0, 2)), last=6), (torch.rand(3, 3),))
    assert derived.resolved.expressions["first.weight"][0] == "first"
    assert derived.resolved.expressions["last.weight"][1].startswith("first + ")


def test_parts_of_one_value_twice_are_told_apart():
    derived = derive(Between(lambda x: torch.cat([x, x.square()], -1), last=8), (torch.rand(3, 3),))
    assert derived.resolved.expressions["last.weight"][1] == "(2 first)"


def test_an_unread_row_is_no_symmetry():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.last = nn.Parameter(torch.rand(9, 4)), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x + self.places[: x.shape[1]])

    network = Net()
    trace = start(network, {}, {})
    follow(trace, export(network, (torch.rand(2, 5, 4),)))
    unread = np.concatenate([labels.reshape(-1) for _, labels in trace.unread()])
    assert len(unread) == 4
    reasons = {(f.tensor, f.axis): f.reason for f in derive(network, (torch.rand(2, 5, 4),)).frozen}
    assert ("places", 0) in reasons
