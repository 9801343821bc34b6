"""Weight matching: planted permutations are found, the objective is what it says and never falls."""

import itertools
from functools import partialmethod

import numpy as np
import pytest
import torch
from support.matching import CASES, case, draw, inner_product, shuffled
from support.tensors import same

from starcli.alignment.matching import costs, problem, weight_matching
from starcli.alignment.matching.descent import Descent
from starcli.alignment.matching.weight_matching import distances, match_many, match_weights
from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.permutation import Permutation


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_planted_permutation_is_recovered(name: str, noise: float) -> None:
    spec = case(name)
    a, other = draw(spec, 0), draw(spec, 1)
    near = {key: tensor + noise * other[key] for key, tensor in a.items()}
    b = shuffled(spec, near)
    match = match_weights(a, b, spec, restarts=5)
    found = match.permutation.apply(b)
    norm = sum(float(a[key].double().square().sum()) for key in spec.learnable()) ** 0.5
    assert distances(near, found, spec)[0] < 1e-6 * norm


@pytest.mark.parametrize("name", CASES)
def test_objective_is_the_inner_product_of_what_is_applied(name: str) -> None:
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    match = match_weights(a, b, spec)
    applied = inner_product(spec, a, match.permutation.apply(b))
    assert match.objective == pytest.approx(applied, rel=1e-11)
    assert match.objective > inner_product(spec, a, b)


@pytest.mark.parametrize("name", CASES)
def test_no_single_group_can_be_improved(name: str) -> None:
    """At the end every swap of two units of any group lowers the objective."""
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    match = match_weights(a, b, spec)
    swapped_best = -np.inf
    for group, index in match.permutation.index.items():
        rows = index.reshape(-1, index.shape[-1])
        for row, (i, j) in itertools.product(range(len(rows)), itertools.combinations(range(rows.shape[1]), 2)):
            changed = rows.clone()
            changed[row, [i, j]] = rows[row, [j, i]]
            trial = Permutation(spec, {**match.permutation.index, group: changed.reshape(index.shape)})
            swapped_best = max(swapped_best, inner_product(spec, a, trial.apply(b)))
    assert swapped_best <= match.objective + (1e-6 * abs(match.objective) if name != "tied" else np.inf)


@pytest.mark.parametrize("name", CASES)
def test_objective_never_falls_below_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, run = case(name), Descent.run
    a, b = draw(spec, 0), draw(spec, 1)
    for seed in range(3):
        start = Permutation.random(spec, torch.Generator().manual_seed(seed))
        for sweeps in (0, 1, 2, 100):
            monkeypatch.setattr(Descent, "run", partialmethod(run, most=sweeps))
            match = match_weights(a, b, spec, start=start, seed=seed)
            assert match.objective >= inner_product(spec, a, start.apply(b)) - 1e-9


@pytest.mark.parametrize("name", ["attention", "grouped query", "grouped convolution"])
def test_chains_too_wide_to_write_out_are_matched_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    written = match_weights(a, b, spec, restarts=2)
    monkeypatch.setattr(costs, "WIDEST_CHAIN", 1)
    product = match_weights(a, b, spec, restarts=2)
    assert product.objective == pytest.approx(written.objective, rel=1e-6)
    assert product.permutation.moved(written.permutation) == 0


@pytest.mark.skipif(not costs.multiplies_bytes(), reason="costs in 8 bits only where the processor has them")
@pytest.mark.parametrize("name", CASES)
def test_planted_permutation_is_recovered_with_coarse_detours(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problem, "LARGE_PRODUCT", 0)
    test_planted_permutation_is_recovered(name, 0.1)
    test_no_single_group_can_be_improved(name)


def test_rounding_to_bytes_keeps_products() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(400, 30, generator=generator) for _ in range(2))
    (narrow_a, unit_a), (narrow_b, unit_b) = costs.round_to_int8(a), costs.round_to_int8(b)
    product = unit_a * unit_b * torch._int_mm(narrow_a.T, narrow_b).float()
    error = (product - a.T @ b).std() / (a.T @ b).std()
    assert float(error) < 0.02
    assert costs.round_to_int8(torch.zeros(3, 2))[1] == 0.0


@pytest.mark.parametrize("name", CASES)
def test_units_count_as_moved_where_they_are_not_where_the_start_had_them(name: str) -> None:
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    for start in (None, Permutation.random(spec, torch.Generator().manual_seed(4))):
        match = match_weights(a, b, spec, start=start)
        before = (Permutation.identity(spec) if start is None else start).index
        found = [
            (group, where) for group, index in match.permutation.index.items() for where in np.ndindex(index.shape)
        ]
        moved = [match.permutation.index[group][where] != before[group][where] for group, where in found]
        assert match.moved == sum(map(bool, moved)) > 0


def test_warm_start_at_the_optimum_moves_nothing() -> None:
    spec = case("residual")
    a, b = draw(spec, 0), draw(spec, 1)
    first = match_weights(a, b, spec)
    again = match_weights(a, b, spec, start=first.permutation, seed=5)
    assert again.moved == 0
    assert again.objective == first.objective
    assert again.permutation.moved(first.permutation) == 0


@pytest.mark.parametrize("name", CASES)
def test_matching_a_permuted_model_is_the_same_problem(name: str) -> None:
    """With the start moved along, the search goes the same way and ends at the same model."""
    spec = case(name)
    a, b = draw(spec, 0), draw(spec, 1)
    hidden = Permutation.random(spec, torch.Generator().manual_seed(9))
    plain = match_weights(a, b, spec, seed=1, restarts=3, start=Permutation.identity(spec))
    moved = match_weights(a, hidden.apply(b), spec, seed=1, restarts=3, start=hidden.inverse())
    assert moved.objective == pytest.approx(plain.objective, rel=1e-9)
    first, second = plain.permutation.apply(b), moved.permutation.apply(hidden.apply(b))
    assert same(first, second)


def test_buffers_do_not_matter() -> None:
    spec = case("residual")
    a, b = draw(spec, 0), draw(spec, 1)
    plain = match_weights(a, b, spec)
    b["stem.norm.running_mean"] = 1e6 * torch.randn(16)
    b["block0.norm.running_var"] = torch.full((24,), float("inf"))
    again = match_weights(a, b, spec)
    assert again.objective == plain.objective
    assert again.permutation.moved(plain.permutation) == 0


def test_biases_alone_can_decide() -> None:
    spec = resolve_spec(
        parse("format: 1\ntensors:\n  fc.weight: [h]\n  fc.bias: [h]\n  out.weight: [_, h]\n"),
        {"fc.weight": (6, 4), "fc.bias": (6,), "out.weight": (3, 6)},
    )
    a = {"fc.weight": torch.ones(6, 4), "fc.bias": torch.arange(6.0), "out.weight": torch.ones(3, 6)}
    hidden = torch.tensor([4, 2, 5, 0, 3, 1])
    b = {**a, "fc.bias": a["fc.bias"][hidden]}
    found = match_weights(a, b, spec).permutation.apply(b)
    assert torch.equal(found["fc.bias"], a["fc.bias"])


def test_a_tied_pair_counts_once() -> None:
    spec = case("tied")
    a, b = draw(spec, 0), draw(spec, 1)
    match = match_weights(a, b, spec)
    assert len({"encoder.weight", "decoder.weight"} & set(spec.learnable())) == 1
    assert match.objective == pytest.approx(inner_product(spec, a, match.permutation.apply(b)), rel=1e-11)


def test_single_group_equals_brute_force() -> None:
    spec = resolve_spec(
        parse("format: 1\ntensors:\n  fc.weight: [h]\n  fc.bias: [h]\n  out.weight: [_, h]\n"),
        {"fc.weight": (6, 4), "fc.bias": (6,), "out.weight": (3, 6)},
    )
    a, b = draw(spec, 0), draw(spec, 1)
    trials = (
        inner_product(spec, a, Permutation(spec, {"h": torch.tensor(order)}).apply(b))
        for order in itertools.permutations(range(6))
    )
    assert match_weights(a, b, spec).objective == pytest.approx(max(trials), rel=1e-9)


def test_nested_groups_equal_brute_force() -> None:
    """One family: 3 heads, each with 2 units of one kind and 2 of another, all else fixed: the optimum is exact."""
    text = """
format: 1
groups:
  head: {size: 3}
  qk: {within: head}
  vo: {within: head}
tensors:
  q.weight: [(head qk)]
  k.weight: [(head qk)]
  v.weight: [(head vo)]
  temperature: [head]
"""
    shapes = {"q.weight": (6, 5), "k.weight": (6, 5), "v.weight": (6, 5), "temperature": (3,)}
    spec = resolve_spec(parse(text), shapes)
    a, b = draw(spec, 0), draw(spec, 1)
    pairs = [torch.tensor(rows) for rows in itertools.product([[0, 1], [1, 0]], repeat=3)]
    trials = (
        inner_product(spec, a, Permutation(spec, {"head": torch.tensor(order), "qk": qk, "vo": vo}).apply(b))
        for order in itertools.permutations(range(3))
        for qk in pairs
        for vo in pairs
    )
    assert match_weights(a, b, spec).objective == pytest.approx(max(trials), rel=1e-9)


@pytest.mark.usefixtures("threads")
def test_many_equals_one_by_one() -> None:
    torch.set_num_threads(2)  # two at a time
    spec = case("attention")
    a = draw(spec, 0)
    models = [draw(spec, seed) for seed in range(1, 5)]
    starts = [None, Permutation.random(spec, torch.Generator().manual_seed(1)), None, None]
    many = match_many(a, models, spec, seeds=[3, 1, 4, 1], starts=starts, restarts=2)
    for match, model, seed, start in zip(many, models, [3, 1, 4, 1], starts, strict=True):
        single = match_weights(a, model, spec, seed=seed, restarts=2, start=start)
        assert single.objective == match.objective
        assert single.permutation.moved(match.permutation) == 0


def test_memory_is_given_back_after_so_many_bytes_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, calls = case("residual"), []
    a = draw(spec, 0)
    size = sum(a[name].nbytes for name in spec.learnable())
    monkeypatch.setattr(weight_matching, "GIVEN_BACK_AFTER", 2 * size)
    monkeypatch.setattr(weight_matching, "give_back_freed_memory", lambda: calls.append(1))
    match_many(a, [draw(spec, seed) for seed in range(5)], spec, seeds=range(5), restarts=1, starts=[None] * 5)
    assert len(calls) == 2


def test_distances_by_hand() -> None:
    spec = case("tied")
    a, b = draw(spec, 0), draw(spec, 1)
    flat_a, flat_b = (torch.cat([each[name].double().flatten() for name in spec.learnable()]) for each in (a, b))
    distance, cosine = distances(a, b, spec)
    assert distance == pytest.approx(float((flat_a - flat_b).norm()), rel=1e-12)
    assert cosine == pytest.approx(float(torch.cosine_similarity(flat_a, flat_b, dim=0)), rel=1e-12)
    assert distances(a, a, spec) == (0.0, pytest.approx(1.0))
    zero = {name: torch.zeros_like(tensor) for name, tensor in a.items()}
    assert distances(a, zero, spec)[1] == 0.0


def test_wrong_input_is_named() -> None:
    spec = case("mlp")
    a, b = draw(spec, 0), draw(spec, 1)
    b["fc2.bias"][3] = float("nan")
    with pytest.raises(StarcliError, match=r"fc2\.bias"):
        match_weights(a, b, spec)
    with pytest.raises(StarcliError, match=r"model 1 has weights that are not finite\n  fc2\.bias"):
        match_many(a, [a, b], spec, seeds=[0, 1], restarts=1, starts=[None, None])
    del b["fc2.bias"]
    with pytest.raises(StarcliError, match=r"fc2\.bias: missing"):
        match_weights(a, b, spec)
    with pytest.raises(ValueError, match="restarts"):
        match_weights(a, a, spec, restarts=-1)
    spec = case("tied")
    a, b = draw(spec, 0), draw(spec, 1)
    b["decoder.weight"] = b["decoder.weight"] + 1
    for pair in ((a, b), (b, a)):
        with pytest.raises(StarcliError, match=r"encoder\.weight and decoder\.weight are tied, but differ by up to 1"):
            match_weights(*pair, spec)


@pytest.mark.parametrize("name", CASES)
def test_views_of_a_vector_are_matched_as_tensors_of_their_own(name: str) -> None:
    spec = case(name)
    reference, model = draw(spec, 0), draw(spec, 1)
    vector, views, begin = torch.cat([torch.zeros(3), *(each.flatten() for each in reference.values())]), {}, 3
    for key, each in reference.items():
        views[key] = vector[begin : begin + each.numel()].view(each.shape)
        begin += each.numel()
    for names in spec.tied:
        views |= dict.fromkeys(names[1:], views[names[0]])
    one, two = match_weights(reference, model, spec, seed=1), match_weights(views, model, spec, seed=1)
    assert one.objective == two.objective
    assert one.permutation.moved(two.permutation) == 0
