"""Stacks: tensors of lists of modules that a permutation moves values between."""

import pytest
import torch
from support.networks.lists import HEADS, MIXTURE, HeadList, Mixture
from torch import nn

from starcli.errors import StarcliError
from starcli.symmetry.archspec.resolve import resolve_for, resolve_spec
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.spec import parse
from starcli.symmetry.archspec.stacked import stacked, unstacked
from starcli.symmetry.archspec.validate import resolved_from_json
from starcli.symmetry.derive.to_yaml import to_yaml
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.proof.prove import prove

SHAPES = {"e.0.w": (3, 2), "e.1.w": (3, 2), "out": (4, 3)}
LINES = "{format: 1, tensors: {'e.[].w': [e, h], out: [_, h]}}"


def test_a_stack_stands_for_its_members() -> None:
    spec = resolve_spec(parse(LINES), SHAPES)
    assert spec.shapes == {"e.[].w": (2, 3, 2), "out": (4, 3)}
    assert spec.stacks == {"e.[].w": ("e.0.w", "e.1.w")}
    assert spec.member_shapes == SHAPES
    spec.check({name: torch.empty(shape) for name, shape in SHAPES.items()})
    assert resolved_from_json(spec.to_json()) == spec
    assert resolve_spec(parse(to_yaml(spec)), SHAPES) == spec


def test_stacking_is_undone() -> None:
    tensors = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    spec = resolve_spec(parse(LINES), SHAPES)
    seen = spec.seen(tensors)
    assert spec.seen(seen) is seen
    assert torch.equal(seen["e.[].w"][1], tensors["e.1.w"])
    back = unstacked(seen, spec.stacks)
    assert list(back) == list(tensors)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert stacked({"e.0.w": tensors["e.0.w"]}, spec.stacks).keys() == {"e.0.w"}


def test_values_move_from_one_module_to_another() -> None:
    spec = resolve_spec(parse(LINES), SHAPES)
    tensors = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    moved = Permutation(spec, {"e": torch.tensor([1, 0]), "h": torch.tensor([2, 0, 1])}).apply(tensors)
    assert torch.equal(moved["e.0.w"], tensors["e.1.w"][[2, 0, 1]])
    assert torch.equal(moved["e.1.w"], tensors["e.0.w"][[2, 0, 1]])
    assert torch.equal(moved["out"], tensors["out"][:, [2, 0, 1]])


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({"e.0.w": (3, 2), "e.1.w": (3, 1), "out": (4, 3)}, "there is no tensor e.[].w"),
        ({"e.1.w": (3, 2), "out": (4, 3)}, "there is no tensor e.[].w"),
    ],
)
def test_members_that_are_no_stack(shapes: dict[str, tuple[int, ...]], problem: str) -> None:
    with pytest.raises(StarcliError) as raised:
        resolve_spec(parse(LINES), shapes)
    assert problem in str(raised.value.problems)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"e.[].w": [2**39, 1]}, "tensors in stacks"),
        ({"e.[].w": [2, 3, 2], "e.1.w": [4]}, "e.1.w: in a stack, and by itself"),
    ],
)
def test_stacks_from_strangers(changed: dict[str, list[int]], problem: str) -> None:
    read = {"format": 1, "groups": {}, "buffers": [], "tied": [], "shapes": changed}
    read["tensors"] = {name: [str(n) for n in shape] for name, shape in changed.items()}
    with pytest.raises(StarcliError) as raised:
        resolved_from_json(read)
    assert problem in str(raised.value.problems)


def networks() -> list[tuple[nn.Module, Resolved, torch.Tensor]]:
    """Networks of lists of modules, their specs by hand, and an input."""
    found: list[tuple[nn.Module, str, torch.Tensor]] = [
        (Mixture(), MIXTURE, torch.zeros(3, 8)),
        (HeadList(), HEADS, torch.zeros(2, 5, 7)),
    ]
    return [(network, resolve_for(network, parse(spec)), inputs) for network, spec, inputs in found]


@pytest.mark.parametrize("number", [0, 1])
def test_written_stacks_are_proved_and_leave_the_function(number: int) -> None:
    network, spec, example = networks()[number]
    assert set(prove(network, spec, (example,)).verdicts.values()) == {"proved"}
    inputs = torch.randn_like(example)
    before = network(inputs)
    permutation = Permutation.random(spec, torch.Generator().manual_seed(1))
    network.load_state_dict(permutation.apply(network.state_dict()))
    assert torch.allclose(network(inputs), before, atol=1e-5)


def test_a_wrong_stack_is_refused() -> None:
    wrong = MIXTURE.replace("router.bias: [expert]", "router.bias: []")
    network = Mixture()
    assert prove(network, resolve_for(network, parse(wrong)), (torch.zeros(3, 8),)).failed == ("expert",)
