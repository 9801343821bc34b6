"""Generic weights and inputs: their laws, as they are stated."""

import math

import pytest
import torch
from torch import Tensor, nn

from starcli.symmetry.proof.redraw import fresh_inputs, is_scale, redrawn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed))


def rms(x: Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


NORMAL = {
    "fc.weight": ((60, 200), math.sqrt(2 / 200)),
    "conv.weight": ((50, 30, 3, 3), math.sqrt(2 / 270)),
    "experts": ((2, 50, 200), math.sqrt(2 / 10_000)),
    "positions": ((1, 90, 100), 0.3),
    "norm.bias": ((5000,), 0.3),
    "bn.running_mean": ((5000,), 0.3),
    "norm.beta": ((5000, 1, 1), 0.3),
}


@pytest.mark.parametrize("name", NORMAL)
def test_weights_have_the_variance_2_by_fan_in_and_what_is_added_is_small(name: str) -> None:
    shape, deviation = NORMAL[name]
    found = redrawn({name: torch.zeros(shape)}, generator())[name]
    assert found.shape == shape
    assert float(found.std()) == pytest.approx(deviation, rel=0.05)
    assert abs(float(found.mean())) < 0.06 * deviation
    assert float(found.abs().max()) > 3 * deviation


@pytest.mark.parametrize("name", ["norm.weight", "bn.running_var", "gamma", "clamp.min"])
def test_vectors_that_scale_are_positive_and_lower_bounds_negative(name: str) -> None:
    found = redrawn({name: torch.zeros(5000, 1)}, generator())[name]
    sign = -1 if name == "clamp.min" else 1
    assert [float(each) for each in (sign * found).aminmax()] == pytest.approx([0.5, 1.5], abs=0.01)
    assert float(found.mean()) == pytest.approx(sign, abs=0.02)


def test_vectors_in_each_module_of_a_list_scale_as_one_alone_does() -> None:
    for name in ("norms.[].weight", "norms.[].bias", "layers.[].weight"):
        shape = (4, 3, 5) if name.startswith("layers") else (4, 3)
        assert is_scale(name, torch.ones(shape)) == is_scale(name.replace("[]", "0"), torch.ones(shape[1:]))


def test_what_is_no_float_stays_but_complex_numbers_are_drawn() -> None:
    given = {
        "steps": torch.tensor(3),
        "mask": torch.tensor([True, False]),
        "phases": torch.zeros(4000, dtype=torch.complex128),
    }
    found = redrawn(given, generator())
    assert torch.equal(found["steps"], given["steps"])
    assert found["steps"].data_ptr() != given["steps"].data_ptr()  # steps are counted in place
    assert torch.equal(found["mask"], given["mask"])
    assert found["phases"].dtype == torch.complex64
    assert float(found["phases"].abs().square().mean()) == pytest.approx(1, rel=0.1)


def test_draws_are_those_of_the_generator() -> None:
    given = {name: torch.zeros(shape) for name, (shape, _) in NORMAL.items()} | {"norm.weight": torch.zeros(9)}
    given["phases"] = torch.zeros(9, dtype=torch.complex64)
    one, two = (redrawn(given, generator()) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in given)
    example = torch.zeros(4, 3), torch.arange(9)
    one, two = (fresh_inputs(nn.Identity(), example, generator()) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))


def test_tensors_that_share_memory_share_values_and_others_do_not() -> None:
    whole = torch.zeros(6, 6)
    given = {"first": whole, "again": whole, "other": torch.zeros(6, 6), "turned": whole.T, "part": whole[:3]}
    found = redrawn(given, generator())
    assert found["first"] is found["again"]
    assert len({each.flatten()[0].item() for each in found.values()}) == 4
    empty = {"floats": torch.zeros(0), "integers": torch.zeros(0, dtype=torch.int64)}
    assert redrawn(empty, generator())["integers"].dtype == torch.int64


@pytest.mark.parametrize("normalised", [False, True])
def test_the_size_is_that_of_weights_or_of_scales_where_weights_are_normalised(normalised: bool) -> None:
    given = {
        "fc.weight": torch.zeros(4, 5),
        "fc.bias": torch.zeros(4),
        "norm.weight": torch.zeros(4),
        "steps": torch.tensor(2),
    }
    once = redrawn(given, generator(), normalised=normalised)
    twice = redrawn(given, generator(), 2.0, normalised=normalised)
    larger = {name for name in given if torch.equal(twice[name], 2 * once[name])}
    assert larger == {"norm.weight" if normalised else "fc.weight"}
    assert all(torch.equal(twice[name], once[name]) for name in given.keys() - larger)


def test_fresh_inputs_are_of_the_kind_of_the_example() -> None:
    ids, joined = torch.tensor([[5, 9, 9, 700]]).expand(50, 4), (normal(30, 30) > 1).float()
    given = (
        torch.zeros(100, 40),
        torch.tensor([True, False]),
        torch.zeros(0, dtype=torch.int64),
        torch.ones(3, 4, dtype=torch.int64),
        ids,
        joined,
        torch.tensor([0.0, 1.0, 0.5]).expand(50, 3),
        torch.tensor([-1, 0]).expand(50, 2),
        torch.zeros(1),
        torch.zeros(0),
    )
    floats, mask, empty, ones, drawn, edges, grey, labels, single, nothing = fresh_inputs(
        nn.Identity(), given, generator()
    )
    assert (rms(floats), float(floats.mean())) == (pytest.approx(1, abs=0.05), pytest.approx(0, abs=0.05))
    assert torch.equal(mask, given[1])
    assert empty.shape == (0,)
    assert torch.equal(ones, given[3])
    assert (drawn.shape, drawn.dtype, {*drawn.flatten().tolist()}) == ((50, 4), torch.int64, {5, 9, 700})
    assert not torch.equal(drawn, ids)
    assert {*edges.flatten().tolist()} == {0.0, 1.0}
    assert float(edges.mean()) == pytest.approx(float(joined.mean()), abs=0.05)
    assert not torch.equal(edges, joined)
    assert len({*grey.flatten().tolist()}) == 150
    assert {*labels.flatten().tolist()} == {-1, 0}
    assert (single.shape, nothing.shape) == ((1,), (0,))


def test_graphs_stay_graphs_and_rising_integers_rise() -> None:
    ring = torch.eye(9).roll(1, 0) + torch.eye(9).roll(-1, 0)
    path = torch.eye(9).roll(1, 1).triu().int()  # from each node to the next
    offsets, ids = torch.tensor([0, 2, 2, 7, 20]), torch.tensor([3, 4, 9])
    graphs, paths, drawn, plain = fresh_inputs(
        nn.Identity(), (ring.expand(40, 9, 9), path, offsets, ids.repeat(99)), generator()
    )
    assert torch.equal(graphs, graphs.mT)
    assert (graphs.sum(-1) == 2).all()
    assert graphs.diagonal(dim1=-2, dim2=-1).sum() == 0
    assert len({tuple(each.flatten().tolist()) for each in graphs}) > 30
    assert sorted(paths.sum(0).tolist()) == sorted(paths.sum(1).tolist()) == [0] + [1] * 8
    assert not torch.equal(paths, path)
    assert (drawn[0], drawn[-1]) == (0, 20)
    assert (drawn.diff() >= 0).all()
    assert {*drawn.tolist()} <= {0, 2, 7, 20}
    assert (plain.diff() < 0).any()


def test_zeros_stand_for_what_the_smallest_embedding_knows() -> None:
    zeros = torch.zeros(20, 5, dtype=torch.int32)
    network = nn.ModuleList([nn.Embedding(90, 2), nn.Embedding(7, 2)])
    [found] = fresh_inputs(network, (zeros,), generator())
    assert (found.dtype, {*found.flatten().tolist()}) == (torch.int32, {*range(7)})
    [found] = fresh_inputs(nn.Identity(), (zeros,), generator())
    assert torch.equal(found, zeros)
