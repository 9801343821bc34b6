"""Normal forms keep the function, are the least of their orbit, and are there at once when done again."""

import pytest
import torch
from scipy.optimize import minimize
from support.network_kinds import CONTINUOUS, NETWORKS, case, close, dense, drawn, outputs
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolve import resolve_spec
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.balanced_scales import balanced_scales
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import balancing_matrix, near_zero_scales, normal_element
from starcli.symmetry.proof.places import GroupPlace


def norm(kinds: Kinds, tensors: dict[str, Tensor]) -> float:
    seen = kinds.spec.seen(tensors)
    return sum(float(seen[name].double().square().sum()) for name in kinds.spec.learnable())


def normal(kinds: Kinds, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return normal_element(kinds, tensors).apply(tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_is_the_same_and_the_way_back_is_known(name):
    network, kinds, tensors, inputs = case(name)
    before = outputs(network, tensors, inputs)
    element = normal_element(kinds, tensors)
    made = element.apply(tensors)
    torch.testing.assert_close(outputs(network, made, inputs), before, rtol=1e-9, atol=1e-9)
    assert close(element.inverse().apply(made), tensors)
    rounded = {each: tensor.float() for each, tensor in tensors.items()}
    single = normal(kinds, rounded)
    assert all(single[each].dtype == torch.float32 for each in single if single[each].is_floating_point())
    expected = outputs(network, rounded, inputs)
    spread = float(expected.std())
    assert float((outputs(network, single, inputs) - expected).abs().max()) < 1e-6 * spread


@pytest.mark.parametrize("name", NETWORKS)
def test_a_normal_form_is_its_own(name):
    _, kinds, tensors, _ = case(name)
    assert normal_element(kinds, normal(kinds, tensors)).is_identity(tolerance=1e-8)


def test_permutations_alone_leave_everything():
    _, kinds, tensors, _ = case("tanh")
    assert normal_element(kinds, tensors).is_identity()
    assert not normal_element(kinds, tensors).to_tensors().keys() - kinds.spec.groups.keys()


@pytest.mark.parametrize("name", [name for name in CONTINUOUS if name != "linear"])
def test_all_models_of_an_orbit_have_one(name):
    """But for the compact rest, which keeps norms and singular values."""
    _, kinds, tensors, _ = case(name)
    first = kinds.spec.seen(normal(kinds, tensors))
    for seed in range(2):
        second = kinds.spec.seen(normal(kinds, drawn(kinds, seed).apply(tensors)))
        for each in kinds.spec.learnable():
            if first[each].dim() == 2 and "qkv" not in each and each not in kinds.spec.dependent:
                values = [torch.linalg.svdvals(one[each]) for one in (first, second)]
                torch.testing.assert_close(*values, rtol=1e-6, atol=1e-9)
        assert norm(kinds, first) == pytest.approx(norm(kinds, second), rel=1e-9)


def test_without_a_compact_rest_it_is_the_same_but_for_permutations():
    _, kinds, tensors, _ = case("relu")
    element = drawn(kinds, 0)
    expected = element.permutation.apply(normal(kinds, tensors))
    assert close(normal(kinds, element.apply(tensors)), expected)


@pytest.mark.parametrize("name", [name for name in CONTINUOUS if name not in ("vit", "llama", "branches")])
def test_nothing_near_it_is_smaller(name):
    _, kinds, tensors, _ = case(name)
    made = normal(kinds, tensors)
    least = norm(kinds, made)
    assert least < norm(kinds, tensors)
    for seed in range(3):
        assert norm(kinds, drawn(kinds, seed).apply(made)) > least


def test_scales_of_chains_are_those_that_a_minimiser_finds():
    network = dense(nn.ReLU()).double()
    kinds = derive_kinds(network, (torch.zeros(2, 5),))
    tensors = network.state_dict()
    names = list(normal_element(kinds, tensors).scales)
    shapes = [kinds.spec.index_shape(name) for name in names]

    def scaled(logs) -> float:
        parts = torch.as_tensor(logs).split([shape[0] for shape in shapes])
        scales = {name: part.exp().unsqueeze(0) for name, part in zip(names, parts, strict=True)}
        still = Element.identity(kinds).permutation
        return norm(kinds, Element(kinds, still, scales=scales).apply(tensors))

    best = minimize(scaled, [0.0] * sum(shape[0] for shape in shapes), tol=1e-12)
    assert norm(kinds, normal(kinds, tensors)) == pytest.approx(best.fun, rel=1e-9)


class Recurrent(nn.Module):
    """A ReLU network with one matrix from its units to the same units, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        return self.last(torch.relu(self.again(torch.relu(self.again(h)))))


def test_units_on_two_axes_of_a_tensor():
    torch.manual_seed(1)
    network = Recurrent().double()
    kinds = derive_kinds(network, (torch.zeros(2, 3),))
    [name] = kinds.groups
    assert kinds.groups[name].kind == "scaled"
    tensors = drawn(kinds, 0).apply(network.state_dict())
    still = Element.identity(kinds).permutation

    def scaled(logs) -> float:
        scales = {name: torch.as_tensor(logs).exp().unsqueeze(0)}
        return norm(kinds, Element(kinds, still, scales=scales).apply(tensors))

    best = minimize(scaled, [0.0] * 4, tol=1e-12)
    made = normal(kinds, tensors)
    assert norm(kinds, made) == pytest.approx(best.fun, rel=1e-9)
    assert normal_element(kinds, made).is_identity(tolerance=1e-8)


def test_factors_share_the_singular_values_of_their_product():
    torch.manual_seed(0)
    written, read = torch.randn(3, 4, 7).double(), torch.randn(3, 4, 9).double()
    g, _ = balancing_matrix(written, read)
    first, second = g @ written, torch.linalg.inv(g).transpose(-1, -2) @ read
    torch.testing.assert_close(second.transpose(-1, -2) @ first, read.transpose(-1, -2) @ written)
    values = torch.linalg.svdvals(read.transpose(-1, -2) @ written)[..., :4].sqrt()
    for each in (first, second):
        torch.testing.assert_close(torch.linalg.svdvals(each), values)
    torch.testing.assert_close(g, g.transpose(-1, -2))


def test_what_nothing_sees_stays():
    """Four units read by two: two directions of them are of no matter."""
    torch.manual_seed(0)
    written, read = torch.randn(4, 7).double(), torch.randn(4, 2).double()
    g, _ = balancing_matrix(written, read)
    first, second = g @ written, torch.linalg.inv(g).T @ read
    torch.testing.assert_close(second.T @ first, read.T @ written)
    torch.testing.assert_close(balancing_matrix(first, second)[0], torch.eye(4).double())
    dead = torch.zeros(4, 2).double()
    assert balancing_matrix(written, dead)[1] == pytest.approx(0, abs=1e-12)


def test_scales_of_higher_powers_are_least():
    torch.manual_seed(0)
    spec = resolve_spec(
        parse("{format: 1, tensors: {a: [h], b: [_, h], c: [h, 2]}}"), {"a": (3,), "b": (4, 3), "c": (3, 2)}
    )
    tensors = {name: torch.randn(shape).double() for name, shape in spec.shapes.items()}
    way = {GroupPlace("a", 0, 0, "h"): 2, GroupPlace("b", 1, 0, "h"): -3, GroupPlace("c", 0, 0, "h"): 1}
    [found] = balanced_scales(spec, tensors, [("h", way)])
    squares = [(tensors["a"] ** 2, 2), ((tensors["b"] ** 2).sum(0), -3), ((tensors["c"] ** 2).sum(1), 1)]
    slope = sum(e * n * found ** (2 * e) for n, e in squares)
    assert float(slope.abs().max()) < 1e-10 * float(sum(n for n, _ in squares).max())


def test_a_dead_unit_stays_as_it_is():
    network, kinds, tensors, inputs = case("relu")
    dead = {**tensors, "0.weight": tensors["0.weight"].clone(), "0.bias": tensors["0.bias"].clone()}
    dead["0.weight"][1], dead["0.bias"][1] = 0, 0
    element = normal_element(kinds, dead)
    assert float(element.scales["units.0"][0, 1]) == 1
    expected = outputs(network, dead, inputs)
    torch.testing.assert_close(outputs(network, element.apply(dead), inputs), expected, rtol=1e-9, atol=1e-9)


def test_what_is_not_finite_has_none():
    _, kinds, tensors, _ = case("relu")
    with pytest.raises(StarcliError, match="not finite"):
        normal_element(kinds, {**tensors, "0.bias": tensors["0.bias"] * float("nan")})


def kept(kinds: Kinds) -> tuple[list[str], list[str]]:
    """Names of the scales and of the shifts of norms that rotations keep."""
    scales = [fold.scale.tensor for kind in kinds.groups.values() for fold in kind.folds]
    return scales, [name for name in kinds.kept if name not in scales]


def test_norms_have_scales_of_one_and_shifts_of_zero():
    _, kinds, tensors, _ = case("vit")
    made = normal(kinds, tensors)
    scales, shifts = kept(kinds)
    assert len(scales) == len(shifts) == 5
    assert all(bool((made[name] == 1).all()) for name in scales)
    assert all(bool((made[name] == 0).all()) for name in shifts)


def test_in_the_frame_of_another_model():
    """Norms as those of the other model are, the function as it was; the line between both that of normal forms."""
    network, kinds, tensors, inputs = case("vit")
    other = {name: 0.5 * torch.randn_like(tensor) + 0.2 * tensor for name, tensor in tensors.items()}
    scales, shifts = kept(kinds)
    other |= {name: torch.rand_like(other[name]) + 0.5 for name in scales}
    first, second = normal_element(kinds, tensors), normal_element(kinds, other)
    found = drawn(kinds, 5)
    whole = second.compose(found).compose(first.inverse())
    written = whole.apply(other)
    assert all(torch.equal(written[name].abs(), tensors[name].abs()) for name in (*scales, *shifts))
    expected = outputs(network, other, inputs)
    torch.testing.assert_close(outputs(network, written, inputs), expected, rtol=1e-8, atol=1e-8)
    without_signs = Element(kinds, found.permutation, found.matrices, found.scales)
    written = second.compose(without_signs).compose(first.inverse()).apply(other)
    ends = first.apply(tensors), without_signs.apply(second.apply(other))
    for t in (0.25, 0.5):
        middle = {name: torch.lerp(tensors[name], written[name], t) for name in tensors}
        plain = {name: torch.lerp(ends[0][name], ends[1][name], t) for name in tensors}
        torch.testing.assert_close(
            outputs(network, middle, inputs), outputs(network, plain, inputs), rtol=1e-8, atol=1e-8
        )


@pytest.mark.parametrize("dead", [2, 0])
def test_scales_near_zero_are_no_frame(dead):
    """Of some units, or of a whole norm: what stands in for them leaves the function, and weights their size."""
    network, kinds, tensors, inputs = case("vit")
    [name, *_], _ = kept(kinds)
    thin = {**tensors, name: tensors[name].clone()}
    thin[name][: dead or None] = 0
    if dead:
        thin[name][1] = -1e-9
    assert near_zero_scales(kinds, thin) == {name: dead or len(thin[name])}
    assert not near_zero_scales(kinds, tensors)
    element, expected = normal_element(kinds, thin), outputs(network, thin, inputs)
    back = element.inverse().apply(element.apply(thin))
    for made in (element.apply(thin), back):
        torch.testing.assert_close(outputs(network, made, inputs), expected, rtol=1e-9, atol=1e-9)
    usual = float(thin[name].square().mean().sqrt()) or 1.0
    assert float(back[name][0]) == pytest.approx(usual)
    assert not dead or float(back[name][1]) == pytest.approx(-usual)
    other = normal_element(kinds, tensors).compose(element.inverse()).apply(tensors)
    torch.testing.assert_close(outputs(network, other, inputs), outputs(network, tensors, inputs), rtol=1e-9, atol=1e-9)
    largest = max(float(tensor.abs().max()) for tensor in other.values())
    assert not dead or largest < 5 * max(float(tensor.abs().max()) for tensor in tensors.values())


def test_a_deep_chain_is_balanced_at_once():
    """Units of 12 layers, scaled up and down by a thousand on the way, each with the same norm on both sides."""
    torch.manual_seed(0)
    depth, width = 12, 16
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(width, 2)).double()
    kinds = derive_kinds(network, (torch.zeros(2, width),))
    assert {kind.kind for kind in kinds.groups.values()} == {"scaled"}
    tensors = dict(network.state_dict())
    for number in range(depth):
        tensors[f"{2 * number}.weight"] = 1e3 ** (-1) ** number * tensors[f"{2 * number}.weight"]
    made = normal(kinds, tensors)
    for number in range(0, 2 * depth, 2):
        weight, bias, behind = (made[name] for name in (f"{number}.weight", f"{number}.bias", f"{number + 2}.weight"))
        torch.testing.assert_close(weight.square().sum(1) + bias.square(), behind.square().sum(0), rtol=1e-9, atol=1e-9)
