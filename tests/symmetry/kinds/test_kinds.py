"""Kinds as JSON and back."""

import copy
import json

import pytest
import torch
from support.shipped import CASES, resolve
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.models.build import build_network
from starcli.symmetry.kinds.derive_kinds import derive_kinds
from starcli.symmetry.kinds.kinds import Kinds, kinds_from_json

NETWORK = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return derive_kinds(NETWORK, (torch.zeros(2, 9),))


@pytest.mark.parametrize("name", ["mlp", "resnet", "vit"])
def test_json_is_read_back_as_equal_kinds(name: str) -> None:
    case = CASES[name]
    arguments = case.complete()
    network = build_network(case.name, **arguments)
    spec = resolve(case.name, arguments, network)
    found = derive_kinds(network, (torch.zeros(2, *case.input_shape),), spec=spec)
    back = kinds_from_json(json.loads(json.dumps(found.to_json())))
    assert back == found
    assert list(back.groups) == list(found.groups)
    assert back.continuous_dimension == found.continuous_dimension


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("groups", "units.0", "kind"), "rotated", "groups.units.0.kind"),
        (("groups", "units.0", "more"), 1, "groups.units.0.more"),
        (("groups", "units.0", "exponents"), [["0.weight", 7, 0, 1]], "does not stand on axis 7 of 0.weight"),
        (("groups", "units.0", "scalings"), [[["0.weight", 0, 0, 0.5]]], "scalings"),
        (("groups", "other"), {}, "there is no such group"),
        (("groups",), {}, "group units.0: missing"),
    ],
)
def test_json_from_anywhere_is_checked(kinds: Kinds, path: tuple[str, ...], value: object, message: str) -> None:
    written = copy.deepcopy(kinds.to_json())
    inner = written
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(StarcliError) as caught:
        kinds_from_json(written)
    assert message in "\n".join(caught.value.problems)


def test_permutations_alone_have_no_continuous_part(kinds: Kinds) -> None:
    plain = Kinds.permutations(kinds.spec, "why")
    assert {each.kind for each in plain.groups.values()} == {"permutation"}
    assert plain.continuous_dimension == 0
    assert kinds_from_json(plain.to_json()).notes == ("why",)


class Cut(nn.Module):
    """A network that no gradient goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(9, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu()).detach()


def test_a_network_that_cannot_be_differentiated_has_permutations_alone_and_a_note() -> None:
    found = derive_kinds(Cut(), (torch.zeros(2, 9),), groups=["first"])
    assert {kind.kind for kind in found.groups.values()} == {"permutation"}
    assert found.notes == ("only permutations of units are known: the network cannot be differentiated",)
