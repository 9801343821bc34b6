"""Planted elements of every kind: undone by alignment over all kinds, and what is left is told apart from rounding."""

from functools import cache

import pytest
import torch
from torch import nn

import starcli as sc
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.planted import relative_distance, units_back
from starcli.alignment.selftest import NOISES, plant_and_recover
from starcli.library.inputs import open_models
from starcli.models.build import build_network
from starcli.symmetry.element import Element
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import one_after_the_other
from starcli.workspace.workspace import Workspace

VIT = {"patch_size": 4, "dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24, "image_size": 8, "in_channels": 1}


def dense(activation: nn.Module) -> nn.Module:
    layers = [nn.Linear(64, 12), activation, nn.Linear(12, 10), activation, nn.Linear(10, 3)]
    return nn.Sequential(nn.Flatten(), *layers)


NETWORKS = {
    "relu": lambda: dense(nn.ReLU()),
    "tanh": lambda: dense(nn.Tanh()),
    "vit": lambda: build_network("vit", **VIT, num_classes=3),
}


@cache
def opened(name: str) -> tuple[Workspace, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    network = NETWORKS[name]()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    workspace, [model], _ = open_models([network], {"input_shape": (1, 8, 8)}, data=False)
    return workspace, dict(model.tensors)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", NETWORKS)
def test_weight_matching_over_all_kinds_undoes_them(name, noise):
    workspace, tensors = opened(name)
    aligner = Aligner(Alignment("weight", restarts=2, kinds="all"), workspace)
    found = plant_and_recover(aligner, tensors, noise=noise, plants=2)
    assert found.recovered == found.units > 0
    assert (found.planted, found.plants) == ("elements of all kinds", 2)
    assert found.lost == ()
    assert found.distance < (0.5 if noise else 1e-6)
    assert found.difference < 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_not_undone_is_counted(name):
    workspace, tensors = opened(name)
    kinds = workspace.kinds
    planted = Element.random(kinds, torch.Generator().manual_seed(0))
    nothing, all_of_it = Permutation.identity(workspace.spec.resolved), planted.inverse()
    for found, back in ((nothing, False), (all_of_it, True)):
        whole = one_after_the_other(planted, found)
        moved = relative_distance(kinds.spec, tensors, whole.apply(tensors))
        assert (moved < 1e-6) == back
        shares = {}
        for group in kinds.groups:
            alike = torch.arange(kinds.spec.groups[group].size).expand(kinds.spec.index_shape(group))
            shares[group] = float(units_back(whole, group, alike).double().mean())
        assert all(share == 1 for share in shares.values()) == back
        assert min(shares.values()) < 0.6 or back


@pytest.mark.parametrize("swapped", [False, True])
def test_a_mixed_unit_is_back_where_most_of_it_is_at_its_own_place_of_its_own_head(swapped):
    """Units are put in another order, then mixed: `parts` of old units (columns) make new ones (rows) in the end."""
    workspace, _ = opened("vit")
    kinds, group, head = workspace.kinds, "blocks.0.attn.qkv.unit", "blocks.0.attn.qkv.head"
    generator = torch.Generator().manual_seed(0)
    diagonal = torch.tensor([[1.0, 0.9, 0.6, 0.4, 0.1, 0.0, -0.9, 0.6], [0.6] * 8], dtype=torch.float64)
    parts = 0.1 * torch.rand(2, 8, 8, generator=generator, dtype=torch.float64)
    parts.diagonal(dim1=-2, dim2=-1).copy_(diagonal)
    order = torch.stack([torch.randperm(8, generator=generator) for _ in range(2)])
    moves = torch.eye(8, dtype=torch.float64)[order]  # new unit k is the old one order[k]
    still = Permutation.identity(kinds.spec).index
    permutation = Permutation(kinds.spec, {**still, group: order, head: torch.tensor([1, 0] if swapped else [0, 1])})
    whole = Element(kinds, permutation, matrices={group: parts @ moves.mT})
    alike = torch.arange(8).expand(2, 8)
    assert units_back(whole, group, alike).tolist() == ((diagonal > 0.5) & (not swapped)).tolist()


def test_the_library_shows_it():
    network = dense(nn.ReLU())
    rows = sc.selftest(network, method=sc.Alignment("weight", kinds="all"), plants=1, input_shape=(1, 8, 8))
    assert [row["alignment"] for row in rows] == ["weight, 1 restart, all kinds"] * 2
    assert rows[0]["share"] == 1
    assert 0 < rows[0]["distance"] < 1e-6
