"""The theory experiments: the lemma's minimum and two-layer networks, against brute force, scipy and the program."""

import itertools

import numpy as np
import pytest
import torch
from paper import spheres, two_layer
from scipy.optimize import minimize
from torch import nn

import starcli as sc
from starcli.data.gaussians import load_gaussians
from starcli.data.loading import Request

DRAWS = np.random.default_rng(0)


def g(phi: spheres.Floats, theta: spheres.Floats, permutation: list[int]) -> float:
    """The lemma's g, word by word."""
    return float(phi[0] @ theta[1][permutation] + theta[0][permutation] @ phi[1] - 2 * 0.5)


@pytest.mark.parametrize("width", [2, 5, 64])
def test_samples_lie_in_the_lemmas_set(width: int) -> None:
    pairs = spheres.sample(20, width, 0.5, DRAWS)
    assert np.einsum("nkm,nlm->nkl", pairs, pairs) == pytest.approx(np.broadcast_to([[1, 0.5], [0.5, 1]], (20, 2, 2)))


@pytest.mark.parametrize("width", [2, 4, 6])
def test_permutations_are_those_of_brute_force(width: int) -> None:
    for phi, theta in zip(*spheres.sample(30, width, 0.5, DRAWS).reshape(2, 15, 2, width), strict=True):
        everything = [list(each) for each in itertools.permutations(range(width))]
        table, matched = spheres.cross_products(phi, theta), spheres.weight_matching(phi, theta)
        distances = [np.square(phi - theta[:, each]).sum() for each in everything]
        assert np.square(phi - theta[:, matched]).sum() == pytest.approx(min(distances))
        assert spheres.gap(table, matched, 0.5) == pytest.approx(g(phi, theta, list(matched)))
        least = min(abs(g(phi, theta, each)) for each in everything)
        assert spheres.least(table, 0.5) == pytest.approx(least)
        assert least - 1e-12 <= spheres.swapped(table, matched, 0.5) <= abs(spheres.gap(table, matched, 0.5))


def test_swaps_come_near_the_least() -> None:
    """At 8 units the same verdict as all permutations at nearly every pair and tolerance of the figure."""
    phis, thetas = (spheres.sample(100, 8, 0.5, DRAWS) for _ in range(2))
    agreed = []
    for phi, theta in zip(phis, thetas, strict=True):
        table = spheres.cross_products(phi, theta)
        by_swaps = spheres.swapped(table, spheres.weight_matching(phi, theta), 0.5)
        agreed.append((by_swaps**2 <= 0.01) == (spheres.least(table, 0.5) ** 2 <= 0.01))
    assert np.mean(agreed) > 0.95


def test_no_permutation_helps_against_a_sparse_theta() -> None:
    """Its least is that of all permutations, and g^2 tends to 4 C^2: lemma 2 does not hold of every theta."""
    for phi in spheres.sample(10, 6, 0.5, DRAWS):
        sparse = np.zeros((2, 6))
        sparse[0, 0], sparse[1, :2] = 1, (0.5, np.sqrt(0.75))
        expected = spheres.least(spheres.cross_products(phi, sparse), 0.5)
        assert spheres.least_of_sparse(phi, 0.5) == pytest.approx(expected)
    wide = [spheres.least_of_sparse(phi, 0.5) ** 2 for phi in spheres.sample(5, 2048, 0.5, DRAWS)]
    assert min(wide) > 0.6


@pytest.fixture(scope="module")
def data() -> two_layer.Data:
    split = load_gaussians(Request("train=60")).train
    [(points, labels)] = split.batches(60)
    return two_layer.Data(points.double(), 2.0 * labels.double() - 1)


def stack(count: int, width: int, activation: str) -> two_layer.Networks:
    """Networks with weights of size 1."""
    networks = two_layer.initial(count, width, activation, torch.Generator().manual_seed(width))
    return two_layer.Networks(2 * networks.inner, 4 * networks.outer, activation)


@pytest.mark.parametrize("activation", ["identity", "elu"])
def test_barriers_are_the_programs(activation: str, data: two_layer.Data) -> None:
    networks = stack(3, 4, activation)
    expected = sc.all_pairs(two_layer.modules(networks), alignment=None, data="gaussians:train=60").matrix()
    found = torch.stack([two_layer.barriers(networks[number], networks, data) for number in range(3)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", ["identity", "elu"])
def test_gradients_are_those_of_torch(activation: str, data: two_layer.Data) -> None:
    networks = stack(2, 4, activation)
    inner, outer = networks.gradients(data)
    for number, built in enumerate(map(nn.Module.double, two_layer.modules(networks))):
        nn.functional.cross_entropy(built(data.points), (data.signs > 0).long()).backward()
        torch.testing.assert_close(inner[number], built[0].weight.grad, atol=1e-6, rtol=1e-5)
        last = built[2].weight.grad
        torch.testing.assert_close(outer[number], (last[1] - last[0]) / 2, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("activation", ["identity", "elu"])
@pytest.mark.parametrize("width", [3, 5])
def test_winning_barriers_are_between_brute_force_and_matching(
    activation: str, width: int, data: two_layer.Data
) -> None:
    networks = two_layer.train(stack(4, width, activation), data, 30)
    one, others = networks[0], networks[1:]
    matched = two_layer.weight_matching(one, others)
    torch.testing.assert_close(others.permuted(matched).logits(data.points), others.logits(data.points))
    every = [torch.tensor(each).expand(3, width) for each in itertools.permutations(range(width))]
    least = torch.stack([two_layer.barriers(one, others.permuted(each), data) for each in every]).amin(dim=0)
    by_matching = two_layer.barriers(one, others.permuted(matched), data)
    found = two_layer.winning_barriers(one, others, matched, data)
    assert (found <= by_matching).all()
    assert (found >= least - 1e-12).all()
    if width <= two_layer.TRIED_UP_TO:
        torch.testing.assert_close(found, least)


def test_swaps_lower_the_loss_half_way() -> None:
    """Units in disorder come back where both networks are the same."""
    draws = torch.Generator().manual_seed(0)
    data = two_layer.Data(torch.randn(80, 2, generator=draws, dtype=torch.float64), torch.ones(80).double())
    networks = stack(4, 6, "elu")
    swap = torch.tensor([1, 0, 2, 3, 4, 5]).expand(4, 6)
    for number in range(4):
        one = networks[number]
        copies = two_layer.Networks(one.inner.expand(4, 6, 2), one.outer.expand(4, 6), "elu").permuted(swap)
        assert two_layer.swapped(one, copies, torch.arange(6).expand(4, 6), data).equal(swap)


def test_linear_networks_end_at_the_one_logistic_regression(data: two_layer.Data) -> None:
    def objective(product: np.ndarray) -> float:
        return float(data.loss(data.points @ torch.from_numpy(product)))

    expected = minimize(objective, np.zeros(2), tol=1e-12)
    trained = two_layer.train(stack(5, 3, "identity"), data, 1500)
    products = (trained.outer[:, None] @ trained.inner).squeeze(1)
    torch.testing.assert_close(products, torch.from_numpy(expected.x).expand(5, 2), atol=1e-4, rtol=1e-4)
    assert max(each.abs().max() for each in trained.gradients(data)) < 1e-8
    further = two_layer.descended(stack(2, 3, "identity"), data, 200)
    assert max(each.abs().max() for each in further.gradients(data)) < 1e-8
    torch.testing.assert_close(further.logits(data.points), trained[:2].logits(data.points), atol=1e-6, rtol=1e-6)


def test_the_curvature_is_the_second_derivative(data: two_layer.Data) -> None:
    product = torch.tensor([1.0, -2.0], dtype=torch.float64)
    second = torch.autograd.functional.hessian(lambda v: data.loss(data.points @ v), product)
    torch.testing.assert_close(data.curvature(data.points @ product), torch.linalg.eigvalsh(second)[-1])
