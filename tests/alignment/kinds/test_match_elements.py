"""Weight matching over all kinds: planted elements come back, never below permutations, steps that only gain."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from support.network_kinds import NETWORKS, case, close, drawn, outputs

import starcli as sc
from starcli.alignment.kinds.ascent import Ascent
from starcli.alignment.kinds.match_elements import match_elements
from starcli.alignment.matching.weight_matching import match_weights
from starcli.alignment.objective import inner_product
from starcli.runtime.progress import SILENT
from starcli.symmetry.element import Element
from starcli.symmetry.normal_form import folded_element, normal_element
from starcli.workspace.workspace import Workspace


def other(name: str, seed: int) -> dict[str, torch.Tensor]:
    """Weights of another network of the same form."""
    _, _, tensors, _ = case(name)
    generator = torch.Generator().manual_seed(seed)
    shuffled = {
        n: t.flatten()[torch.randperm(t.numel(), generator=generator)].view(t.shape) for n, t in tensors.items()
    }
    network = case(name)[0]
    network.load_state_dict(shuffled)  # tied tensors stay so
    return {n: t.clone() for n, t in network.state_dict().items()}


def normal(name: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return normal_element(case(name)[1], tensors).apply(tensors)


@cache
def normal_pair(name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Normal forms of a network and of `other`."""
    return normal(name, case(name)[2]), normal(name, other(name, 1))


@pytest.mark.parametrize(("name", "seed"), [*((name, 0) for name in NETWORKS), ("vit", 1), ("heads", 1)])
def test_a_planted_element_comes_back(name: str, seed: int) -> None:
    """The point half way computes what both ends do, and the objective is what it says."""
    network, kinds, tensors, inputs = case(name)
    copy = drawn(kinds, seed).apply(tensors)
    found = match_elements(tensors, copy, kinds, seed=seed)
    back = found.symmetry.apply(copy)
    expected = outputs(network, tensors, inputs)
    middle = {n: torch.lerp(t, back[n], 0.5) if t.is_floating_point() else t for n, t in tensors.items()}
    assert torch.allclose(outputs(network, back, inputs), expected, atol=1e-9)
    assert torch.allclose(outputs(network, middle, inputs), expected, atol=1e-3 * float(expected.std()))
    if name != "linear":  # of two outputs three units in a row are more than they need: what is unseen stays
        squares = inner_product(kinds.spec, *[normal_pair(name)[0]] * 2)
        assert found.objective == pytest.approx(squares, rel=1e-6)


@pytest.mark.parametrize("restarts", [0, 2])  # of which the second does what a single one does, and a detour
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_never_below_permutations(name: str, restarts: int) -> None:
    network, kinds, tensors, inputs = case(name)
    model = other(name, 1)
    sides = normal_pair(name)
    alone = match_weights(*sides, kinds.spec, seed=3, restarts=restarts)
    found = match_elements(tensors, model, kinds, seed=3, restarts=restarts)
    reached = inner_product(kinds.spec, sides[0], alone.permutation.apply(sides[1]))
    assert found.objective >= reached - 1e-9 * abs(reached)
    if restarts and name in ("vit", "heads"):
        again = match_elements(tensors, model, kinds, seed=3, restarts=restarts)
        assert found.objective == again.objective
    applied = found.symmetry.apply(model)
    assert torch.allclose(outputs(network, applied, inputs), outputs(network, model, inputs), atol=1e-8)


@pytest.mark.parametrize("name", NETWORKS)
def test_steps_only_gain(name: str) -> None:
    kinds = case(name)[1]
    ascent = Ascent(kinds, normal_pair(name)[0], normal(name, other(name, 2)), SILENT)
    generator, before = np.random.default_rng(0), ascent.objective
    for _ in range(3):
        for root in generator.permutation(sorted(ascent.paths)).tolist():
            ascent.step(root)
            reached = inner_product(kinds.spec, ascent.reference, ascent.element.apply(ascent.model))
            assert ascent.objective == pytest.approx(reached)
            assert reached >= before - 1e-9
            before = reached


def test_from_a_start_it_goes_on() -> None:
    """As a star's sources are matched anew when the star has moved: no lower than where the start is by now."""
    _, kinds, tensors, _ = case("vit")
    model = other("vit", 1)
    first = match_elements(tensors, model, kinds, restarts=3)
    again = match_elements(tensors, model, kinds, start=first.symmetry)
    assert again.moved == 0
    forms = [folded_element(kinds, each).apply(each) for each in (tensors, first.symmetry.apply(model))]
    assert again.objective >= inner_product(kinds.spec, *forms) - 1e-9


def test_a_start_keeps_what_a_search_would_set() -> None:
    """A matrix far from any rotation, as learning finds them, is what the reference is of: it stays."""
    _, kinds, tensors, _ = case("vit")
    learned = drawn(kinds, 5)
    reference = learned.apply(tensors)
    found = match_elements(reference, tensors, kinds, start=learned)
    assert close(found.symmetry.apply(tensors), reference)


@pytest.mark.parametrize("arch", ["vit", "mlp"])
def test_a_trained_copy_that_is_far_away_has_no_barrier(arch: str) -> None:
    """A random element of a trained network, float32: the barrier is undone, by the library as by hand."""
    arguments: dict[str, Any] = {
        "vit": {"dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24, "patch_size": 4},
        "mlp": {"hidden_dim": 16, "depth": 2, "batch_norm": "none", "activation": "tanh"},
    }[arch]
    a = sc.train(arch, "digits", epochs=3, limit=300, arch_args=arguments, optimizer="adam", lr=0.01)
    assert a.workspace is not None
    element = Element.random(a.workspace.kinds, torch.Generator().manual_seed(1))
    copy = replace(a, tensors=element.apply(a.tensors), name="copy")
    assert sc.barrier(a, copy, alignment=None).curves["train"].loss_barrier > 0.05
    assert sc.barrier(a, copy, alignment=sc.Alignment("weight", kinds="all")).curves["train"].loss_barrier < 1e-3


def test_default_settings_derive_no_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    def derive(_: Workspace) -> None:
        raise AssertionError("kinds were asked for")

    monkeypatch.setattr(Workspace, "kinds", property(derive))
    a, b = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
    sc.align(a, b)
    with pytest.raises(AssertionError, match="kinds were asked for"):
        sc.align(a, b, method=sc.Alignment("weight", kinds="all"))
