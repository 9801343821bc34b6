"""Factors act as elements do, their derivatives are right, and they stay of their kind."""

import pytest
import torch
from support.network_kinds import CONTINUOUS, case, close
from torch import Tensor, nn

from starcli.alignment.learned.continuous_motion import ContinuousMotion
from starcli.alignment.learned.moving_factors import LARGEST_FACTOR, Invertible, Rotations
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import normal_element
from starcli.symmetry.permutation import Permutation

CPU = torch.device("cpu")
LARGEST, LEAST = LARGEST_FACTOR, 1 / LARGEST_FACTOR


def normal(name: str) -> tuple[Kinds, dict[str, Tensor]]:
    """A model in its normal form, whose norms have scales of 1."""
    _, kinds, tensors, _ = case(name)
    return kinds, normal_element(kinds, tensors).apply(tensors)


def factors(kinds: Kinds, seed: int) -> Element:
    """A random element that permutes nothing and changes no sign."""
    drawn = Element.random(kinds, torch.Generator().manual_seed(seed))
    return Element(kinds, Permutation.identity(kinds.spec), drawn.matrices, drawn.scales)


def motion_at(kinds: Kinds, element: Element, *, steps: int = 10, rate: float = 0.1) -> ContinuousMotion:
    motion = ContinuousMotion(kinds, steps=steps, rate=rate, device=CPU)
    motion.place(element)
    return motion


@pytest.mark.parametrize("name", CONTINUOUS)
def test_factors_act_as_the_element_that_they_are(name: str) -> None:
    kinds, tensors = normal(name)
    element = factors(kinds, 0)
    motion = motion_at(kinds, element)
    found = motion.layout.views(motion.act(motion.layout.vector(tensors)))
    tensors, expected = (kinds.spec.seen(each) for each in (tensors, element.apply(tensors)))
    assert found.keys() == set(kinds.spec.learnable())
    assert not all(torch.allclose(expected[key], tensors[key], rtol=1e-2) for key in found)
    for key, tensor in found.items():
        torch.testing.assert_close(tensor, expected[key].float(), rtol=1e-4, atol=1e-4)
    again = motion.element(element.permutation)
    assert all(torch.allclose(g, again.matrices[group], atol=1e-6) for group, g in element.matrices.items())
    assert all(torch.allclose(each, again.scales[group]) for group, each in element.scales.items())


@pytest.mark.parametrize("name", CONTINUOUS)
def test_what_does_nothing_leaves_the_weights_as_they_are_wherever_it_was_before(name: str) -> None:
    kinds, tensors = normal(name)
    motion = motion_at(kinds, factors(kinds, 0))
    weights = motion.layout.vector(tensors)
    assert not torch.allclose(motion.act(weights), weights, rtol=1e-2)
    motion.place(Element.identity(kinds))
    torch.testing.assert_close(motion.act(weights), weights, rtol=1e-5, atol=1e-6)


def test_matrices_beyond_the_bounds_are_brought_back_along_their_own_directions() -> None:
    """Singular values are cut, singular vectors stay; the inverse transpose acts where units are read."""
    q, r = (torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(n)))[0] for n in (0, 1))
    found, expected = (q * torch.tensor(values) @ r for values in ([1e3, 2.0, 0.5, 1e-3], [LARGEST, 2.0, 0.5, LEAST]))
    weights = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    for exponent, by in ((1, expected), (-1, torch.linalg.inv(expected).T)):
        factor = Invertible({"g": 1}, {exponent: torch.arange(24).view(1, 4, 6)}, torch.eye(4)[None])
        factor.place({"g": found})
        vector = weights.flatten().clone()
        factor.act_(vector, adjoint=False)
        torch.testing.assert_close(vector.view(4, 6), by @ weights, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(factor.exact()[0].float(), expected, rtol=1e-3, atol=1e-4)


def test_matrices_that_move_together_act_as_each_by_itself() -> None:
    """Of a chain of maps from four units to four: two groups in a row meet in the weights between them."""
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    kinds, tensors = derive_kinds(network, (torch.zeros(2, 4),)), dict(network.state_dict())
    element = factors(kinds, 0)
    motion = motion_at(kinds, element)
    assert [set(factor._groups) for factor in motion._factors] == [set(kinds.groups)]
    found = motion.layout.views(motion.act(motion.layout.vector(tensors)))
    for key, expected in element.apply(tensors).items():
        torch.testing.assert_close(found[key], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_adjoint_has_the_same_inner_products(name: str) -> None:
    kinds, tensors = normal(name)
    motion = motion_at(kinds, factors(kinds, 0))
    weights = motion.layout.vector(tensors)
    slope = torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    before = float(motion.act(weights) @ slope)
    assert float(weights @ motion.act(slope, adjoint=True)) == pytest.approx(before, rel=1e-3, abs=1e-2)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_derivatives_against_finite_differences(name: str) -> None:
    """Along random directions of the algebra, of a linear function of the weights."""
    kinds, tensors = normal(name)
    element, generator = factors(kinds, 0), torch.Generator().manual_seed(2)
    motion = motion_at(kinds, element)
    moved = motion.act(motion.layout.vector(tensors))
    slope = torch.randn(moved.shape, generator=generator)
    for factor in motion._parts:
        x = torch.randn(factor.coordinates.shape, generator=generator)
        x = x - x.mT if isinstance(factor, Rotations) else x
        values = []
        for step in (1e-2, -1e-2):
            motion.place(element)
            factor.coordinates.copy_(step * x)
            factor.move()
            values.append(float(motion.act(motion.layout.vector(tensors)).double() @ slope.double()))
        slopes = (values[0] - values[1]) / 2e-2
        found = float((factor.derivative(moved, slope) * x).sum())
        assert found == pytest.approx(slopes, rel=2e-2, abs=2e-2 * float(x.norm()))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_planted_element_is_undone_by_gradients(name: str) -> None:
    kinds, tensors = normal(name)
    motion = ContinuousMotion(kinds, steps=300, rate=0.05, device=CPU)
    weights = motion.layout.vector(tensors)
    plant = ContinuousMotion(kinds, steps=5, rate=0.1, device=CPU)
    for seed in range(5):
        plant.follow(weights, torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed)))
    target = plant.act(weights)
    before = float((weights - target).norm())
    for _ in range(300):
        reached = motion.act(weights)
        motion.follow(reached, reached - target)
    assert before > 0.1
    assert float((motion.act(weights) - target).norm()) < 0.02 * before


@pytest.mark.parametrize("name", CONTINUOUS)
def test_whatever_the_gradients_it_is_a_mild_element(name: str) -> None:
    _, kinds, tensors, _ = case(name)
    motion = ContinuousMotion(kinds, steps=40, rate=1.0, device=CPU)
    weights, generator = motion.layout.vector(tensors), torch.Generator().manual_seed(3)
    slope = torch.randn(weights.shape, generator=generator)
    for _ in range(40):
        motion.follow(motion.act(weights), slope)
    element = motion.element(Permutation.identity(kinds.spec))
    found = Element.from_tensors(kinds, element.to_tensors())  # refuses what is not of its kind
    assert not found.is_identity(tolerance=0.1)
    for g in element.matrices.values():
        assert float(torch.linalg.cond(g).max()) < 1.01 * LARGEST_FACTOR**2
    for scales in element.scales.values():
        assert float((scales.amax(-1) / scales.amin(-1)).max()) < 1.01 * LARGEST_FACTOR**2
    assert close(element.compose(element.inverse()).apply(tensors), tensors)
