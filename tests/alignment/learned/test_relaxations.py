"""Relaxed permutations: matrices act as permutations do, gradients are right, and what comes out is a permutation."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from support.matching import CASES, case, draw, inner_product
from support.pretended import pretended_cuda
from support.shipped import ALIKE, resolve, shrunk
from support.shipped import CASES as NETWORKS
from torch import Tensor

from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.alignment.learned.sinkhorn import SinkhornPermutation, sinkhorn
from starcli.alignment.learned.soft_permutation import SoftApplication
from starcli.alignment.learned.straight_through import StraightThrough
from starcli.models.build import build_network
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
RELAXATIONS = {"straight-through": StraightThrough, "sinkhorn": SinkhornPermutation}


def random(spec: Resolved, seed: int) -> Permutation:
    return Permutation.random(spec, torch.Generator().manual_seed(seed))


def matrices(permutation: Permutation) -> dict[str, Tensor]:
    """Matrices of zeros and ones; whatever stands for units around that do not belong together must not matter."""
    found = {}
    for name, index in permutation.index.items():
        around, n = index.shape[:-1], index.shape[-1]
        chosen = torch.full((*around, *around, n, n), 7.0)
        sources = permutation.sources(name)
        for new in itertools.product(*map(range, around)):
            chosen[(*new, *(int(source[new]) for source in sources))] = torch.eye(n)[index[new]]
        found[name] = chosen
    return found


@pytest.mark.parametrize("name", CASES)
def test_matrices_of_zeros_and_ones_are_a_permutation(name: str) -> None:
    spec = case(name)
    model, permutation = draw(spec, 0), random(spec, 1)
    found = SoftApplication(spec, CPU).apply(model, matrices(permutation))
    expected = permutation.apply(model)
    assert found.keys() == set(spec.learnable())
    for key, tensor in found.items():
        torch.testing.assert_close(tensor, expected[key])


def test_soft_matrices_against_products_by_hand() -> None:
    spec = case("mlp")
    model = {key: tensor.double() for key, tensor in draw(spec, 0).items()}
    generator = torch.Generator().manual_seed(2)
    soft = {
        name: torch.rand(group.size, group.size, generator=generator, dtype=torch.float64)
        for name, group in spec.groups.items()
    }
    found = SoftApplication(spec, CPU).apply(model, soft)
    names = {len(model[f"fc{layer}.bias"]): f"fc{layer}" for layer in (1, 2, 3)}
    by_layer = {names[group.size]: soft[name] for name, group in spec.groups.items()}
    expected = by_layer["fc2"] @ model["fc2.weight"] @ by_layer["fc1"].T
    torch.testing.assert_close(found["fc2.weight"], expected)
    torch.testing.assert_close(found["fc2.bias"], by_layer["fc2"] @ model["fc2.bias"])
    torch.testing.assert_close(found["last.weight"], model["last.weight"] @ by_layer["fc3"].T)


@pytest.mark.parametrize("name", ["mlp", "tied", "attention"])
def test_gradients_by_matrices_against_finite_differences(name: str) -> None:
    spec = case(name)
    model, slope = ({key: tensor.double() for key, tensor in draw(spec, seed).items()} for seed in (0, 1))
    generator = torch.Generator().manual_seed(3)
    sizes = {name: [*spec.index_shape(name)[:-1] * 2, *spec.index_shape(name)[-1:] * 2] for name in spec.groups}
    soft = {
        name: torch.rand(size, generator=generator, dtype=torch.float64).requires_grad_()
        for name, size in sizes.items()
    }
    application = SoftApplication(spec, CPU)

    def value(given: Mapping[str, Tensor]) -> Tensor:
        found = application.apply(model, given)
        return sum(((found[key] * slope[key]).sum() for key in found), torch.zeros((), dtype=torch.float64))

    value(soft).backward()
    for key, matrix in soft.items():
        assert matrix.grad is not None
        along = torch.randn(matrix.shape, generator=generator, dtype=torch.float64)
        step = 0.01  # of a polynomial of degree 2, for which central differences are exact
        with torch.no_grad():
            ahead, behind = (float(value({**soft, key: matrix + sign * step * along})) for sign in (1, -1))
        assert float((matrix.grad * along).sum()) == pytest.approx((ahead - behind) / (2 * step), rel=1e-9)


def test_sinkhorn_against_plain_iterations() -> None:
    scores = torch.randn(3, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = sinkhorn(scores, 200)
    assert found.sum(-1).numpy() == pytest.approx(np.ones((3, 7)))
    assert found.sum(-2).numpy() == pytest.approx(np.ones((3, 7)))
    for matrix, start in zip(found, scores.exp().numpy(), strict=True):
        rows, columns = np.ones(7), np.ones(7)
        for _ in range(200):
            rows = 1 / (start @ columns)
            columns = 1 / (start.T @ rows)
        assert matrix.numpy() == pytest.approx(rows[:, None] * start * columns)


def test_cold_sinkhorn_is_the_assignment() -> None:
    scores = torch.randn(9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, order = linear_sum_assignment(scores.numpy(), maximize=True)
    found = sinkhorn(scores / 1e-3, 2000)
    torch.testing.assert_close(found, torch.eye(9, dtype=torch.float64)[torch.from_numpy(order)], atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", RELAXATIONS)
@pytest.mark.parametrize("name", CASES)
def test_it_begins_where_it_is_told_to(name: str, method: str) -> None:
    spec = case(name)
    model, start = draw(spec, 0), random(spec, 1)
    relaxed = RELAXATIONS[method](spec, model, start, 10, 0, CPU)
    assert relaxed.symmetry().moved(start) == 0
    expected = start.apply(model)
    for key, tensor in ParameterLayout(spec).views(relaxed.weights()).items():
        assert float((tensor - expected[key]).norm() / expected[key].norm()) < 0.06


def test_units_begin_with_a_hundredth_of_all_others_together() -> None:
    spec = case("mlp")
    model, start = draw(spec, 0), random(spec, 1)
    mixed = ParameterLayout(spec).views(SinkhornPermutation(spec, model, start, 10, 0, CPU).weights())
    for layer in (1, 2, 3):
        own = start.apply(model)[f"fc{layer}.bias"]
        others = (own.sum() - own) / (len(own) - 1)
        torch.testing.assert_close(mixed[f"fc{layer}.bias"], 0.99 * own + 0.01 * others)


@pytest.mark.parametrize("method", RELAXATIONS)
@pytest.mark.parametrize("name", CASES)
def test_gradients_undo_what_changed_places(name: str, method: str) -> None:
    """Two units of every other group change places; the slope of -<reference, pi(model)> is the same everywhere."""
    spec = case(name)
    model, planted = draw(spec, 0), random(spec, 1)
    reference = planted.apply(model)
    leaves = [name for name in spec.groups if all(each.within != name for each in spec.groups.values())]
    swapped = {name: planted.index[name].clone() for name in spec.groups}
    for leaf in leaves[::2]:
        swapped[leaf][..., :2] = swapped[leaf][..., :2].flip(-1)
    slope = -ParameterLayout(spec).vector(reference)
    relaxed = RELAXATIONS[method](spec, model, Permutation(spec, swapped), 50, 0, CPU)
    for _ in range(50):
        relaxed.follow(slope)
    found = relaxed.symmetry().apply(model)
    assert inner_product(spec, reference, found) == pytest.approx(inner_product(spec, reference, reference))


@pytest.mark.parametrize("name", CASES)
def test_straight_through_the_network_has_the_weights_of_its_permutation_at_every_step(name: str) -> None:
    spec, layout = case(name), ParameterLayout(case(name))
    model = draw(spec, 0)
    slope = -layout.vector(random(spec, 2).apply(model))
    relaxed, moves = StraightThrough(spec, model, random(spec, 1), 20, 0, CPU), 0
    for _ in range(20):
        before = relaxed.symmetry()
        relaxed.follow(slope)
        assert torch.equal(relaxed.weights(), layout.vector(relaxed.symmetry().apply(model)))
        moves += relaxed.symmetry().moved(before) > 0
    assert moves > 0
    still = StraightThrough(spec, model, random(spec, 1), 10**6, 0, CPU)  # at a rate at which nothing moves
    still.follow(relaxed.weights())
    assert torch.equal(still.weights(), layout.vector(random(spec, 1).apply(model)))


def test_under_a_constant_gradient_latent_weights_reach_eight_root_mean_squares() -> None:
    spec = case("mlp")
    relaxed = StraightThrough(spec, draw(spec, 0), random(spec, 1), 200, 0, CPU)
    begun = relaxed._latent.clone()
    for _ in range(200):
        relaxed.follow(torch.ones_like(begun))
    reached = (begun - relaxed._latent) / begun.double().square().mean().sqrt()
    assert reached.numpy() == pytest.approx(np.full(begun.shape, 8.0), rel=0.02)


@pytest.mark.parametrize("method", RELAXATIONS)
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ALIKE])
def test_what_comes_out_is_a_permutation_of_every_network(name: str, method: str) -> None:
    each = NETWORKS[name]
    arguments = each.complete(10)
    network = build_network(each.name, generator=torch.Generator().manual_seed(0), **arguments)
    network = shrunk(network, each.shrink) if each.shrink > 1 else network
    spec = resolve(each.name, arguments, network)
    model = {key: tensor.detach() for key, tensor in network.state_dict().items()}
    relaxed = RELAXATIONS[method](spec, model, random(spec, 1), 3, 0, CPU)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        relaxed.follow(torch.randn(relaxed.weights().shape, generator=generator))
    Permutation.from_tensors(spec, dict(relaxed.symmetry().index))


@pytest.mark.parametrize("method", RELAXATIONS)
@pytest.mark.parametrize("name", ["residual", "attention"])
def test_on_a_gpu_it_moves_as_on_the_cpu(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is only pretended, to which the gradients come from wherever the network is."""
    spec = case(name)
    model, start, slopes = draw(spec, 0), random(spec, 1), [draw(spec, 10 + step) for step in range(3)]

    def moved(device: torch.device) -> tuple[Permutation, Tensor]:
        layout = ParameterLayout(spec)
        relaxed = RELAXATIONS[method](spec, model, start, len(slopes), 0, device)
        for slope in slopes:
            relaxed.follow(layout.vector(slope))
        return relaxed.symmetry(), relaxed.weights().detach().cpu()

    expected, weights = moved(CPU)
    with pretended_cuda(monkeypatch):
        found, there = moved(CUDA)
    assert expected.moved(start)
    assert found.moved(expected) == 0
    assert torch.equal(there, weights)
