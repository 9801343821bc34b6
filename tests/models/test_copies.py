"""Copies of networks that keep computed tensors, which torch's own deep copy refuses."""

import copy

import pytest
import torch
from support.state_dict_networks import old_weight_norm
from torch import nn

from starcli.models.copies import copy_network


def test_weight_norm_is_copied() -> None:
    network = nn.Sequential(old_weight_norm(nn.Linear(4, 3)), nn.ReLU(), old_weight_norm(nn.Linear(3, 2), dim=None))
    with pytest.raises(RuntimeError):
        copy.deepcopy(network)
    again, inputs = copy_network(network), torch.randn(5, 4)
    assert torch.equal(again(inputs), network(inputs))
    with torch.no_grad():
        again[0].weight_g.mul_(2)
    assert not torch.equal(again(inputs), network(inputs))
    assert torch.equal(network[0].weight_g * 2, again[0].weight_g)


def test_a_computed_tensor_that_two_modules_keep_is_one_in_the_copy() -> None:
    network = nn.Sequential(nn.Identity(), nn.Identity())
    network[0].kept = network[1].kept = [torch.ones(2, requires_grad=True) * 3]
    again = copy_network(network)
    assert again[0].kept[0] is again[1].kept[0] is not network[0].kept[0]
    assert again[0].kept[0].tolist() == [3, 3]


def test_replaced_objects_take_the_place_of_copies() -> None:
    network, other = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), nn.Identity()
    assert copy_network(network, {id(network[0]): other})[0] is other
