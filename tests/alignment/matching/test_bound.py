"""No permutation comes above the bound: against all permutations of small networks, and against what is found."""

import itertools
from collections.abc import Iterator
from functools import cache
from math import factorial, prod
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.matching import CASES, case, draw

import starcli as sc
from starcli.alignment.matching import bound
from starcli.alignment.matching.bound import upper_bound
from starcli.alignment.matching.weight_matching import match_weights
from starcli.alignment.objective import inner_product
from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.permutation import Permutation


def every(spec: Resolved) -> Iterator[Permutation]:
    """All permutations of a spec."""
    ways = []
    for name in spec.groups:
        *around, size = spec.index_shape(name)
        rows = itertools.product(itertools.permutations(range(size)), repeat=prod(around))
        ways.append([torch.tensor(each).reshape(*around, size) for each in rows])
    for indices in itertools.product(*ways):
        yield Permutation(spec, dict(zip(spec.groups, indices, strict=True)))


def resolved(text: str, **shapes: tuple[int, ...]) -> Resolved:
    named = {name.replace("_", "."): shape for name, shape in shapes.items()}
    return resolve_spec(parse("format: 1\n" + text), named)


SMALL = {
    "two layers": resolved(
        "tensors: {a.weight: [h], b.weight: [i, h], c.weight: [_, i]}",
        a_weight=(4, 2), b_weight=(4, 4), c_weight=(2, 4),
    ),
    "kernels": resolved(
        "tensors: {a.weight: [h], b.weight: [i, h], c.weight: [_, i]}",
        a_weight=(4, 2),
        b_weight=(3, 4, 2, 2),
        c_weight=(2, 3),
    ),
    "one layer of seven": resolved("tensors: {a.weight: [h], c.weight: [_, h]}", a_weight=(7, 2), c_weight=(2, 7)),
    "on both axes": resolved("tensors: {a.weight: [h], b.weight: [h, h]}", a_weight=(5, 1), b_weight=(5, 5)),
    "concatenated": resolved(
        "tensors: {a.weight: [h], b.weight: [i, h], c.weight: [_, h+i]}",
        a_weight=(4, 2), b_weight=(3, 4), c_weight=(2, 7),
    ),
    "beside what stays": resolved(
        "tensors: {a.weight: [h], b.weight: [i, h+2], c.weight: [_, i+3]}",
        a_weight=(4, 2), b_weight=(3, 6), c_weight=(2, 6),
    ),
    "nested": resolved(
        "groups: {head: {size: 3}, qk: {within: head}}\n"
        "tensors: {q.weight: [(head qk), s], o.weight: [s, (head qk)], t: [head], e.weight: [_, s]}",
        q_weight=(6, 3), o_weight=(3, 6), t=(3,), e_weight=(2, 3),
    ),
    "two within one": resolved(
        "groups: {g: {size: 2}, out: {within: g}, in: {within: g}}\n"
        "tensors: {a.weight: [(g in), _], b.weight: [(g out), in], c.weight: [_, (g out)]}",
        a_weight=(4, 2), b_weight=(6, 2), c_weight=(2, 6),
    ),
}  # fmt: skip


@cache
def best_of_all(name: str, seed: int) -> float:
    """The largest inner product of two draws of a network over all permutations."""
    spec = SMALL[name]
    counts = [factorial(spec.groups[each].size) ** prod(spec.index_shape(each)[:-1]) for each in spec.groups]
    assert prod(counts) <= 6000
    a, b = draw(spec, 2 * seed), draw(spec, 2 * seed + 1)
    return max(inner_product(spec, a, each.apply(b)) for each in every(spec))


@pytest.mark.parametrize("few_pairs", [bound.FEW_PAIRS, 0])
@pytest.mark.parametrize("name", SMALL)
def test_no_permutation_at_all_is_above(name: str, few_pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "FEW_PAIRS", few_pairs)
    for seed in range(2):
        best = best_of_all(name, seed)
        bounded = upper_bound(draw(SMALL[name], 2 * seed), draw(SMALL[name], 2 * seed + 1), SMALL[name])
        assert bounded >= best - 1e-6 * abs(best)


def test_it_is_the_optimum_where_no_weight_has_units_on_two_axes() -> None:
    for name in ("one layer of seven", "nested heads"):
        text = "groups: {head: {size: 3}, qk: {within: head}}\ntensors: {q.weight: [(head qk)], t: [head]}"
        spec = SMALL[name] if name in SMALL else resolved(text, q_weight=(6, 5), t=(3,))
        a, b = draw(spec, 0), draw(spec, 1)
        best = max(inner_product(spec, a, each.apply(b)) for each in every(spec))
        assert upper_bound(a, b, spec) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_what_is_found_is_below_and_a_permuted_model_reaches_it(name: str) -> None:
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    assert match_weights(a, b, spec, restarts=10).objective <= upper_bound(a, b, spec)
    hidden = Permutation.random(spec, torch.Generator().manual_seed(2))
    assert upper_bound(a, hidden.apply(a), spec) == pytest.approx(inner_product(spec, a, a), rel=1e-5)


def test_pairs_one_by_one_are_nearer_than_positions_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = case("residual")
    a, b = draw(spec, 0), draw(spec, 1)
    near = upper_bound(a, b, spec)
    monkeypatch.setattr(bound, "FEW_PAIRS", 0)
    far = upper_bound(a, b, spec)
    norms = (inner_product(spec, a, a) * inner_product(spec, b, b)) ** 0.5
    assert match_weights(a, b, spec).objective < near < far < norms


@settings(max_examples=30, deadline=None)
@given(
    units=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    kernel=st.integers(1, 3),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 1e3]),
)
def test_networks_of_any_size(units: tuple[int, int], kernel: int, seed: int, scale: float) -> None:
    h, i = units
    shapes = {"a_weight": (h, 2), "b_weight": (i, h, kernel), "c_weight": (2, i)}
    spec = resolved("tensors: {a.weight: [h], b.weight: [i, h], c.weight: [_, i]}", **shapes)
    a, b = draw(spec, seed), draw(spec, seed + 1)
    b["b.weight"] = scale * b["b.weight"]
    best = max(inner_product(spec, a, each.apply(b)) for each in every(spec))
    assert upper_bound(a, b, spec) >= best - 1e-6 * abs(best)


def test_rows_have_it_where_it_is_asked_for(starcli, solutions, tmp_path: Path) -> None:
    words = ["align", solutions[0], solutions[1], "-o", tmp_path / "b.safetensors"]
    assert "upper_bound" not in starcli(*words).rows[0]
    [row] = starcli(*words, "--bound").rows  # of the finished file
    assert row["objective"] < row["upper_bound"]
    assert row["gap"] == 1 - row["objective"] / row["upper_bound"]
    found = sc.align(*sc.load(*solutions.some(0, 1)))
    assert found.optimality() == {name: row[name] for name in ("upper_bound", "gap")}
    refused = starcli(*words, "--bound", "--method", "activation", "--force")
    assert refused.status == 1
    reason = "an upper bound is known of the inner product that alignment by weight maximises, not of activation"
    assert reason in refused.err
    with pytest.raises(StarcliError, match=reason):
        sc.align(*sc.load(*solutions.some(0, 1)), method="activation").optimality()
