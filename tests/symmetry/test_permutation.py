"""Permutations: exact against an element-wise oracle on random specs, and a group under composition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.specs import applied, specs
from support.tensors import same

from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.permutation import Permutation

SEEDS = st.integers(0, 2**31)
RESNEXT = """
format: 1
groups:
  out: {within: g}
  in: {within: g}
tensors:
  conv1.weight: [(g in), _]
  conv2.weight: [(g out), in]
  conv3.weight: [_, (g out)]
  norm: [g]
"""


@pytest.fixture(scope="module")
def resnext() -> Resolved:
    shapes = {"conv1.weight": (12, 5), "conv2.weight": (20, 3, 3, 3), "conv3.weight": (6, 20), "norm": (4,)}
    return resolve_spec(parse(RESNEXT), shapes)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensors(spec: Resolved) -> dict[str, torch.Tensor]:
    """Distinct values everywhere, so that equality means that every element came from the right place."""
    made, start = {}, 0
    for name, shape in spec.shapes.items():
        n = int(torch.tensor(shape).prod())
        made[name] = torch.arange(start, start + n, dtype=torch.float64).reshape(shape)
        start += n
    return made


@settings(max_examples=60, deadline=None)
@given(specs(), SEEDS)
def test_apply_moves_every_element_where_the_grammar_says(spec: Resolved, seed: int) -> None:
    permutation = Permutation.random(spec, generator(seed))
    values = tensors(spec)
    for name, moved in permutation.apply(values).items():
        assert torch.equal(moved, applied(spec, permutation.index, name, values[name])), spec.expressions[name]


@settings(max_examples=60, deadline=None)
@given(specs(), SEEDS)
def test_composition_and_inverse(spec: Resolved, seed: int) -> None:
    draws = generator(seed)
    first, second = Permutation.random(spec, draws), Permutation.random(spec, draws)
    values = tensors(spec)
    assert same(first.compose(second).apply(values), second.apply(first.apply(values)))
    assert same(first.inverse().apply(first.apply(values)), values)
    assert first.compose(first.inverse()).is_identity()
    assert first.inverse().compose(first).is_identity()
    assert first.inverse().inverse().moved(first) == 0


@settings(max_examples=40, deadline=None)
@given(specs(), SEEDS)
def test_blocks_are_permuted_like_their_tensors(spec: Resolved, seed: int) -> None:
    permutation = Permutation.random(spec, generator(seed))
    values = tensors(spec)
    whole = permutation.apply(values)
    for name, blocks in spec.blocks.items():
        for block in blocks:
            assert torch.equal(permutation.block(block, values[name]), block.view(whole[name]))


def test_blocks_view_tensors_of_any_strides(resnext: Resolved) -> None:
    values = tensors(resnext)["conv2.weight"]
    permutation = Permutation.random(resnext, generator(0))
    expected = permutation.apply({"conv2.weight": values})["conv2.weight"]
    last = values.to(memory_format=torch.channels_last)
    assert torch.equal(permutation.apply({"conv2.weight": last})["conv2.weight"], expected)
    wider = torch.zeros(40, 3, 3, 3, dtype=values.dtype)
    wider[1::2] = values
    assert torch.equal(permutation.apply({"conv2.weight": wider[1::2]})["conv2.weight"], expected)


@pytest.mark.parametrize("piece", [1, 100, 10**6])
def test_apply_into_a_given_tensor(resnext: Resolved, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    values = tensors(resnext)
    permutation = Permutation.random(resnext, generator(1))
    whole = permutation.apply(values)
    monkeypatch.setattr("starcli.runtime.memory.PIECE", piece)
    for name, expected in whole.items():
        for dtype in (expected.dtype, torch.float64):
            out = torch.empty_like(values[name], dtype=dtype)
            assert permutation.apply_(name, values[name], out) is out
            assert torch.equal(out, expected.to(dtype))


def test_apply_leaves_its_arguments_and_fixed_tensors(resnext: Resolved) -> None:
    values = tensors(resnext)
    copies = {name: value.clone() for name, value in values.items()}
    Permutation.random(resnext, generator(2)).apply(values)
    assert same(values, copies)
    unmoved = Permutation.identity(resnext).apply(values)
    assert all(unmoved[name] is values[name] for name in values)


def test_random_is_uniform_and_seeded() -> None:
    spec = resolve_spec(parse("format: 1\ntensors: {a: [g]}"), {"a": (3,)})
    draws = generator(0)
    seen = [tuple(Permutation.random(spec, draws).index["g"].tolist()) for _ in range(600)]
    counts = {order: seen.count(order) for order in set(seen)}
    assert len(counts) == 6
    assert min(counts.values()) > 60
    again = Permutation.random(spec, generator(0))
    assert again.moved(Permutation.random(spec, generator(0))) == 0


def test_moved_counts_units(resnext: Resolved) -> None:
    identity = Permutation.identity(resnext)
    assert identity.moved() == 0
    assert identity.is_identity()
    index = {name: value.clone() for name, value in identity.index.items()}
    index["g"] = torch.tensor([1, 0, 2, 3])
    index["out"][2] = torch.tensor([1, 2, 0, 3, 4])
    assert Permutation.from_tensors(resnext, index).moved() == 5


def test_from_tensors_names_every_wrong_group(resnext: Resolved) -> None:
    index = dict(Permutation.identity(resnext).index)
    wrong = {"g": torch.tensor([0, 0, 1, 2]), "in": index["in"].int(), "extra": torch.arange(3)}
    with pytest.raises(StarcliError) as error:
        Permutation.from_tensors(resnext, wrong)
    assert {problem.split(":")[0] for problem in error.value.problems} == {
        "group out",
        "group extra",
        "group g",
        "group in",
    }


def test_wrong_tensors_are_named(resnext: Resolved) -> None:
    permutation = Permutation.random(resnext, generator(3))
    with pytest.raises(StarcliError, match=r"norm: shape \(5,\), the spec has \(4,\)"):
        permutation.apply({"norm": torch.zeros(5)})
    with pytest.raises(StarcliError, match="extra: the spec does not know it"):
        permutation.apply({"extra": torch.zeros(5)})
    other = resolve_spec(parse("format: 1\ntensors: {a: [g]}"), {"a": (3,)})
    with pytest.raises(StarcliError, match="different specs"):
        permutation.compose(Permutation.identity(other))


def test_cases_move_the_second_axis_of_each_part_of_the_first_one() -> None:
    """Queries of one stream, keys and values of another, in one tensor; fixed copies are cut where cases begin."""
    axes = "{w: ['(2 h) + v', 's ; t ; t'], x: ['(3 _)', 's ; t ; t'], s: [s], t: [t]}"
    spec = resolve_spec(
        parse(f"{{format: 1, groups: {{h: {{size: 2}}}}, tensors: {axes}}}"),
        {"w": (6, 4, 2), "x": (12, 4), "s": (4,), "t": (4,)},
    )
    permutation, given_ = Permutation.random(spec, generator(3)), tensors(spec)
    h, v, s, t = (permutation.index[name] for name in "hvst")
    assert not torch.equal(s, t)
    moved = permutation.apply(given_)
    for i, (rows, columns) in enumerate(((h, s), (h, t), (v, t))):
        part = slice(2 * i, 2 * i + 2)
        assert torch.equal(moved["w"][part], given_["w"][part][rows][:, columns])
        part = slice(4 * i, 4 * i + 4)
        assert torch.equal(moved["x"][part], given_["x"][part][:, columns])
    assert same(permutation.inverse().apply(moved), given_)
