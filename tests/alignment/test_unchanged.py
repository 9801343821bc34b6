"""The check that a model computes the same function after what acted on it: told from rounding, in every type."""

import pytest
import torch
from torch import Tensor, nn

import starcli as sc
from starcli.alignment.unchanged import act_on, check_unchanged, largest_change
from starcli.library.inputs import open_models
from starcli.symmetry.element import Element
from starcli.symmetry.permutation import Permutation
from starcli.workspace.workspace import Workspace

TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def opened(dtype: torch.dtype = torch.float32) -> tuple[Workspace, dict[str, Tensor]]:
    """A small network with a layer of scales and one of signs, in memory, and weights in `dtype`."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    workspace, [model], _ = open_models([network], {"input_shape": (4,)}, data=False)
    return workspace, {name: tensor.to(dtype) for name, tensor in model.tensors.items()}


@pytest.mark.parametrize("dtype", TYPES)
def test_an_element_passes_in_every_type_and_a_wrong_one_in_none(dtype):
    workspace, tensors = opened(dtype)
    element = Element.random(workspace.kinds, torch.Generator().manual_seed(1))
    moved, change = act_on(workspace, element, tensors)
    assert any(not torch.equal(moved[name], tensors[name]) for name in tensors)
    assert 0 < change <= largest_change(tensors)
    wrong = {**moved, "0.bias": moved["0.bias"] + 100 * largest_change(tensors) * moved["0.bias"].abs().max()}
    with pytest.raises(sc.StarcliError, match="would not stay the same"):
        check_unchanged(workspace, tensors, wrong)


def test_what_is_allowed_is_in_proportion_to_the_rounding_of_the_type():
    allowed = [largest_change({"weight": torch.zeros(1, dtype=dtype)}) for dtype in TYPES]
    assert allowed[:2] == [1e-9, 1e-5]
    assert allowed[2] == pytest.approx(1e-5 * 2**13)
    assert allowed[3] == pytest.approx(1e-5 * 2**16)
    assert largest_change({"count": torch.tensor(3)}) == 1e-9


def test_values_that_are_lost_are_named():
    workspace, tensors = opened(torch.float16)
    scales = {name: 1e6 * torch.ones_like(each) for name, each in Element.random(
        workspace.kinds, torch.Generator()).scales.items()}  # fmt: skip
    identity = Permutation.identity(workspace.kinds.spec)
    with pytest.raises(sc.StarcliError, match="too large") as error:
        act_on(workspace, Element(workspace.kinds, identity, scales=scales), tensors)
    assert "0.weight" in error.value.problems


def test_a_permutation_is_exact():
    workspace, tensors = opened()
    permutation = Permutation.random(workspace.spec.resolved, torch.Generator().manual_seed(0))
    moved, change = act_on(workspace, permutation, tensors)
    assert change is None
    assert all(torch.equal(moved[name], permutation.apply(tensors)[name]) for name in tensors)


def test_what_only_permutes_needs_no_network_in_float64(monkeypatch):
    workspace, tensors = opened()
    monkeypatch.setattr(Workspace, "network", None)
    kinds = workspace.kinds
    element = Element(kinds, Permutation.random(kinds.spec, torch.Generator().manual_seed(0)))
    moved, change = act_on(workspace, element, tensors)
    assert change is None
    assert not torch.equal(moved["0.weight"], tensors["0.weight"])
