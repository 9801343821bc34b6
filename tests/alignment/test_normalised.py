"""Normal forms of trained models: the same function, and lines in a reference's frame that are those between them."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from support.tensors import same
from torch import nn

import starcli as sc
from starcli.alignment.normalised import normalise, note_near_zero
from starcli.library.inputs import open_models
from starcli.runtime.progress import Progress
from starcli.symmetry.element import Element
from starcli.symmetry.normal_form import normal_element

VIT = {"patch_size": 4, "dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24}


@cache
def trained(name: str) -> list:
    """Two models each of a perceptron and a small vision transformer."""
    arguments = VIT if name == "vit" else {"hidden_dim": 16, "depth": 3, "batch_norm": "none"}
    how = {"optimizer": "adam", "lr": 0.01, "batch_size": 64, "limit": 300, "epochs": 5}
    return [sc.train(name, "digits", seed=seed, arch_args=arguments, **how) for seed in (0, 1)]


@pytest.mark.parametrize("name", ["mlp", "vit"])
def test_the_function_and_the_figures(name):
    model = trained(name)[0]
    normal = sc.normal_form(model)
    row = normal.to_dict()
    assert 0 < row["difference"] < 1e-6
    assert row["norm_after"] < row["norm_before"]
    assert normal.metadata.architecture == model.metadata.architecture
    inputs = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normal.module()(inputs), model.module()(inputs), rtol=1e-4, atol=1e-4)
    again = sc.normal_form(normal).to_dict()
    assert again["norm_after"] == pytest.approx(row["norm_after"], rel=1e-7)
    back = sc.permute(normal, by=normal.symmetry.inverse())
    assert all(back.tensors[each].allclose(tensor, atol=1e-5) for each, tensor in model.tensors.items())


@pytest.mark.parametrize("name", ["mlp", "vit"])
def test_barriers_in_the_frame_of_the_reference_are_those_between_normal_forms(name):
    reference, model = trained(name)
    workspace, [a, b], _ = open_models([reference, model], {}, data=False)
    kinds = workspace.kinds
    first, second = (normal_element(kinds, each.tensors) for each in (a, b))
    drawn = Element.random(kinds, torch.Generator().manual_seed(0))
    found = Element(kinds, drawn.permutation, {k: g for k, g in drawn.matrices.items() if g.shape[-1] == 16})
    whole = second.compose(found).compose(first.inverse())
    written = sc.permute(model, by=whole)
    ends = [sc.permute(reference, by=first), sc.permute(model, by=second.compose(found))]
    plain, framed = (
        sc.barrier(*pair, points=5, alignment=None).curves["train"] for pair in (ends, (reference, written))
    )
    assert plain.loss_barrier > 0.1
    assert framed.loss == pytest.approx(plain.loss, abs=1e-5)


def test_notes_say_where_nothing_is_to_be_done():
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    workspace, [model], _ = open_models([network], {"input_shape": (4,)}, data=False)
    with pytest.warns(sc.StarcliWarning, match="its own normal form"):
        found = sc.normal_form(network, input_shape=(4,))
    assert same(found.tensors, model.tensors)
    assert normalise(workspace, model.tensors).difference == 0


def test_a_note_says_where_a_reference_has_scales_near_zero():
    workspace, [model], _ = open_models(trained("vit")[:1], {}, data=False)
    told: list[str] = []

    class Told(Progress):
        def note(self, text: str) -> None:
            told.append(text)

    note_near_zero(workspace.kinds, model, Told())
    assert not told
    tensors = dict(model.tensors)
    tensors["norm.weight"] = tensors["norm.weight"].clone()
    tensors["norm.weight"][3] = 1e-6
    note_near_zero(workspace.kinds, replace(model, tensors=tensors), Told())
    [note] = told
    assert "1 of norm.weight" in note
