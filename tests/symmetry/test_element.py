"""Elements leave the function of every network alone, and are a group."""

from dataclasses import replace

import pytest
import torch
from support.network_kinds import NETWORKS, case, close, drawn, outputs
from support.tensors import same

from starcli.errors import StarcliError
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.permutation import Permutation


@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_is_the_same(name):
    network, kinds, tensors, inputs = case(name)
    before = outputs(network, tensors, inputs)
    for seed in range(3):
        moved = drawn(kinds, seed).apply(tensors)
        assert not close(moved, tensors)
        torch.testing.assert_close(outputs(network, moved, inputs), before, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_elements_are_a_group(name):
    _, kinds, tensors, _ = case(name)
    a, b, c = (drawn(kinds, seed) for seed in range(3))
    both = a.compose(b)
    assert close(both.apply(tensors), b.apply(a.apply(tensors)))
    assert close(both.compose(c).apply(tensors), a.compose(b.compose(c)).apply(tensors))
    assert close(a.inverse().apply(a.apply(tensors)), tensors)
    assert a.compose(a.inverse()).is_identity(tolerance=1e-9)
    assert not a.is_identity(tolerance=1e-9)
    assert close(Element.identity(kinds).apply(tensors), tensors)
    assert Element.identity(kinds).is_identity()


@pytest.mark.parametrize("name", NETWORKS)
def test_files_hold_all_of_an_element(name):
    _, kinds, tensors, _ = case(name)
    element = drawn(kinds, 0)
    expected = element.apply(tensors)
    found = Element.from_tensors(kinds, element.to_tensors()).apply(tensors)
    assert same(found, expected)


def kept_scales(kinds: Kinds) -> list[str]:
    return [fold.scale.tensor for kind in kinds.groups.values() for fold in kind.folds]


@pytest.mark.parametrize("name", ["vit", "llama", "branches"])
def test_a_frame_is_what_the_kept_scales_become(name):
    network, kinds, tensors, inputs = case(name)
    names, seen = kept_scales(kinds), kinds.spec.seen
    assert names
    frame = {each: torch.rand_like(seen(tensors)[each]) + 0.5 for each in names}
    element = drawn(kinds, 1)
    permuted = seen(element.permutation.apply(tensors))
    framed = Element(
        kinds, element.permutation, element.matrices, frame=frame, before={each: seen(tensors)[each] for each in names}
    )
    moved = framed.apply(tensors)
    assert all(torch.equal(seen(moved)[each], frame[each]) for each in names)
    assert not any(torch.equal(permuted[each], frame[each]) for each in names)
    torch.testing.assert_close(outputs(network, moved, inputs), outputs(network, tensors, inputs), rtol=1e-8, atol=1e-8)
    assert close(framed.inverse().apply(moved), tensors)
    then = drawn(kinds, 2)
    assert close(framed.compose(then).apply(tensors), then.apply(moved))
    assert close(then.compose(framed).apply(tensors), framed.apply(then.apply(tensors)))
    first = then.apply(tensors)
    second = replace(framed, before={each: seen(first)[each] for each in names})
    assert close(then.compose(second).inverse().apply(second.apply(first)), tensors)


def test_without_anything_continuous_it_is_a_permutation():
    _, kinds, tensors, _ = case("vit")
    permutation = Permutation.random(kinds.spec, torch.Generator().manual_seed(3))
    expected = permutation.apply(tensors)
    found = Element.of(kinds, permutation).apply(tensors)
    assert same(found, expected)


def test_factors_may_be_learned():
    _, kinds, tensors, _ = case("vit")
    element = drawn(kinds, 0)
    group = next(iter(element.matrices))
    g = element.matrices[group].requires_grad_()
    sum(each.sum() for each in element.apply(tensors).values()).backward()
    assert g.grad is not None
    assert float(g.grad.abs().max()) > 0


@pytest.mark.parametrize("network", ["vit", "branches"])
def test_a_scale_of_zero_is_no_way_through(network):
    _, kinds, tensors, _ = case(network)
    name = kept_scales(kinds)[0].replace("[]", "1")
    blocked = tensors | {name: torch.cat([torch.zeros(1).double(), tensors[name][1:]])}
    with pytest.raises(StarcliError, match="cannot rotate"):
        drawn(kinds, 0).apply(blocked)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("matrix", lambda g: 2 * g),
        ("matrix", lambda g: g[..., :-1]),
        ("matrix", lambda g: g * float("nan")),
        ("matrix", lambda g: torch.zeros_like(g)),
    ],
)
def test_what_is_no_element_is_refused(part, wrong):
    _, kinds, _, _ = case("vit")
    tensors = drawn(kinds, 0).to_tensors()
    stream = next(name for name, kind in kinds.groups.items() if kind.kind == "orthogonal")
    key = f"{part}:{stream}"
    with pytest.raises(StarcliError) as raised:
        Element.from_tensors(kinds, tensors | {key: wrong(tensors[key])})
    assert stream in str(raised.value) + str(raised.value.problems)


def test_scales_and_signs_of_files_are_checked():
    for name, part in (("relu", "scales"), ("tanh", "signs")):
        _, kinds, _, _ = case(name)
        tensors = drawn(kinds, 0).to_tensors()
        key = next(each for each in tensors if each.startswith(part))
        for wrong in (torch.zeros_like(tensors[key]), tensors[key][:, :-1]):
            with pytest.raises(StarcliError):
                Element.from_tensors(kinds, tensors | {key: wrong})
        with pytest.raises(StarcliError):
            Element.from_tensors(kinds, tensors | {f"{part}:nobody": tensors[key]})
