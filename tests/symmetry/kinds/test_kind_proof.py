"""Wrong claims are refuted, places that might be left out are found."""

import pytest
import torch
from torch import Tensor, nn

from starcli.symmetry.derive.derive import derive
from starcli.symmetry.kinds.elements import (
    acted,
    diagonal_acts,
    random_invertible,
    random_rotation,
    random_scales,
    random_signs,
)
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.kind_proof import KindProof

EXAMPLE = (torch.zeros(2, 9),)


def proof_of(network: nn.Module) -> KindProof:
    spec = derive(network, EXAMPLE).resolved
    return KindProof(GenericSetting(network, spec, EXAMPLE, list(spec.groups), torch.Generator().manual_seed(0)))


def layers(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(9, 6), activation, nn.Linear(6, 3))


def elements(proof: KindProof, kind: str) -> dict:
    """An element of a kind at the places of the only group: 0.weight, 0.bias and, inverse, 2.weight."""
    generator = torch.Generator().manual_seed(1)
    g = {
        "signed": random_signs, "scaled": random_scales, "orthogonal": random_rotation, "invertible": random_invertible,
    }[kind]((6,), generator)  # fmt: skip
    at = proof.setting.places["units.0"]
    if g.dim() == 1:
        return {("units.0", 0): diagonal_acts(g, {place: 1 - 2 * place.axis for place in at})}
    inverse = torch.linalg.inv(g).T
    return {("units.0", 0): {place: inverse if place.axis else g for place in at}}


@pytest.mark.parametrize(
    ("activation", "holding"),
    [
        (nn.ReLU(), {"scaled"}),
        (nn.Tanh(), {"signed"}),
        (nn.GELU(), set()),
        (nn.Identity(), {"signed", "scaled", "orthogonal", "invertible"}),
    ],
    ids=["relu", "tanh", "gelu", "identity"],
)
def test_only_right_claims_hold(activation, holding):
    proof = proof_of(layers(activation))
    kinds = ("signed", "scaled", "orthogonal", "invertible")
    assert {kind for kind in kinds if proof.holding(elements(proof, kind))} == holding


def test_the_faulty_among_many_are_found():
    proof = proof_of(nn.Sequential(layers(nn.ReLU())[:2], nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3)))
    generator = torch.Generator().manual_seed(0)
    claims = {
        (name, 0): diagonal_acts(
            random_scales((n,), generator), {p: 1 - 2 * p.axis for p in proof.setting.places[name]}
        )
        for name, n in proof.spec.sizes.items()
    }
    assert proof.refuted(claims) == {("units.1", 0)}


class Unread(nn.Module):
    """A hidden layer of which a second reader adds nothing to the output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.idle = nn.Linear(9, 6), nn.Linear(6, 3), nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.second(x) + 1e-8 * self.idle(x)


def test_a_place_that_might_be_left_out_fails():
    proof = proof_of(Unread())
    [acts] = [diagonal_acts(random_scales((6,), torch.Generator().manual_seed(0)), {p: 1 - 2 * p.axis for p in at})
              for at in proof.setting.places.values()]  # fmt: skip
    assert not proof.refuted({("first", 0): acts})
    assert [place.tensor for place in proof.unneeded(acts, acts)] == ["idle.weight"]


def test_elements_act_on_units_and_on_nothing_else():
    proof = proof_of(layers(nn.Identity()))
    [acts] = elements(proof, "invertible").values()
    changed = acted(proof.spec, proof.base, acts)
    g = next(act for place, act in acts.items() if place.axis == 0)
    base = {name: tensor.double() for name, tensor in proof.base.items()}
    torch.testing.assert_close(changed["0.weight"], g @ base["0.weight"])
    torch.testing.assert_close(changed["2.weight"], base["2.weight"] @ torch.linalg.inv(g))
    assert changed.keys() == {"0.weight", "0.bias", "2.weight"}
    assert float(torch.linalg.cond(g)) <= 4


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 3)])
def test_rotations_are_orthogonal_and_fix_ones_where_they_should(shape):
    generator = torch.Generator().manual_seed(0)
    eye = torch.eye(shape[-1], dtype=torch.float64)
    for fix_ones in (False, True):
        q = random_rotation(shape, generator, fix_ones=fix_ones)
        torch.testing.assert_close(q @ q.transpose(-1, -2), eye.expand_as(q))
        assert torch.allclose(q.sum(-1), torch.ones(shape).double()) == fix_ones


def test_the_screen_keeps_what_holds_and_leaves_out_what_its_first_unit_refutes():
    network = nn.Sequential(
        nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3)
    )
    proof = proof_of(network)
    setting = proof.setting
    signs, scales = {}, {}
    for i, (name, at) in enumerate(setting.places.items()):
        shape = setting.shape(name)
        signs[name, i] = diagonal_acts(random_signs(shape, setting.generator), dict.fromkeys(at, 1))
        way = {place: -1 if place.axis else 1 for place in at}
        scales[name, i] = diagonal_acts(random_scales(shape, setting.generator), way)
    assert [name for name, _ in proof.possible(signs)] == ["units.0"]
    assert [name for name, _ in proof.possible(scales)] == ["units.2"]
    assert {name for name, _ in proof.refuted(signs)} == {"units.2", "units.4"}
    assert {name for name, _ in proof.refuted(scales)} == {"units.0", "units.4"}


def test_the_screen_refutes_even_functions_of_a_stream_that_norms_keep_from_no_output():
    class Normed(nn.Module):
        """What writes the units is read by a norm without parameters."""

        def __init__(self) -> None:
            super().__init__()
            self.write, self.norm = nn.Linear(9, 6), nn.LayerNorm(6, elementwise_affine=False)
            self.read = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.norm(self.write(x)))

    proof = proof_of(Normed())
    at = proof.setting.places["write"]
    g = random_signs((6,), torch.Generator().manual_seed(0))
    everywhere, written = diagonal_acts(g, dict.fromkeys(at, 1)), {p: g for p in at if p.axis == 0}
    assert proof.screen.groups == []
    assert list(proof.possible({("write", 0): everywhere, ("write", 1): written})) == [("write", 0)]
    assert proof.refuted({("write", 1): written}) == {("write", 1)}
