"""The check that a model computes the same function after what acted on it: told from rounding, in every type."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import starcli as sc
from starcli.alignment.unchanged import act_on, check_acted
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
    assert 0 < change <= 10 * torch.finfo(dtype).eps
    with pytest.raises(sc.StarcliError, match="would not stay the same"):
        act_on(workspace, wrong(workspace), tensors)


@pytest.mark.parametrize("seed", [76, 229, 251])  # of 300 weights six were refused by one rounding as the measure
def test_a_network_of_one_output_is_not_refused_by_chance(seed):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    workspace, [model], _ = open_models([network], {"input_shape": (4,)}, data=False)
    torch.manual_seed(seed)
    tensors = {name: torch.randn_like(tensor) for name, tensor in model.tensors.items()}
    element = Element.random(workspace.kinds, torch.Generator().manual_seed(0))
    moved, change = act_on(workspace, element, tensors)
    assert 0 < change < 1e-6
    moved["0.bias"] = moved["0.bias"] + 1e-4
    with pytest.raises(sc.StarcliError, match="would not stay the same"):
        check_acted(workspace, element, tensors, moved)


def wrong(workspace: Workspace) -> Element:
    """What is claimed to be a symmetry and is none: one unit behind a tanh doubles, less than bfloat16 rounds."""
    kinds, groups = workspace.kinds, {}
    for name, kind in workspace.kinds.groups.items():
        groups[name] = kind if kind.kind == "scaled" else replace(kind, kind="scaled", scalings=kind.signs, signs=())
    claimed = replace(kinds, groups=groups)
    [name] = [name for name, kind in kinds.groups.items() if kind.kind != "scaled"]
    scales = torch.ones(1, 5, dtype=torch.float64)
    scales[0, 0] = 1 + 1e-4
    return Element(claimed, Permutation.identity(kinds.spec), scales={name: scales})


def test_what_is_written_may_be_rounded_by_its_type_alone():
    workspace, tensors = opened()
    element = Element.random(workspace.kinds, torch.Generator().manual_seed(1))
    moved = element.apply(tensors)
    assert check_acted(workspace, element, tensors, moved) < 1e-6
    moved["0.bias"] = moved["0.bias"] + 1e-4
    with pytest.raises(sc.StarcliError, match="would not stay the same"):
        check_acted(workspace, element, tensors, moved)


def test_one_rounded_tensor_leaves_the_others_exact():
    """A bias in bfloat16 allows no change of a network in float32 but what its own rounding makes."""
    workspace, tensors = opened()
    tensors["4.bias"] = (1e-4 * tensors["4.bias"]).bfloat16()
    element = Element.random(workspace.kinds, torch.Generator().manual_seed(1))
    moved, change = act_on(workspace, element, tensors)
    assert change < 1e-6
    moved["0.bias"] = moved["0.bias"] + 1e-3
    with pytest.raises(sc.StarcliError, match="would not stay the same"):
        check_acted(workspace, element, tensors, moved)


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
