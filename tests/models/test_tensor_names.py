"""Tensors by patterns of their names: tied ones together, and whatever a model has in their place."""

import pytest
import torch
from torch import nn

from starcli.errors import StarcliError
from starcli.models.tensor_names import names_like, with_own_values


class Tied(nn.Module):
    """An output layer that shares the weights of the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.head.weight = self.embedding.weight


def test_a_tied_tensor_goes_by_all_its_names():
    assert names_like(Tied(), ["head.w*"], "--only") == ["embedding.weight", "head.weight"]
    assert names_like(Tied(), ["head.b*", "head.b*"], "--only") == ["head.bias"]


def test_buffers_count_too():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert names_like(network, ["1.running*"], "--only") == ["1.running_mean", "1.running_var"]


def test_a_pattern_that_nothing_matches_says_what_there_is():
    with pytest.raises(StarcliError, match=r"--only fc\.\*: no tensor") as caught:
        names_like(nn.Linear(2, 3), ["weight", "fc.*"], "--only")
    assert caught.value.problems == ("weight, bias",)


def test_what_a_model_has_in_their_place_is_of_no_matter():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    model = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    other = {**model, "1.weight": torch.zeros(7, 3), "1.more": torch.zeros(1)}
    del other["1.bias"]
    found, own = with_own_values(network, other, ["1.*"]), network.state_dict()
    assert found.keys() == own.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, own[name] if name.startswith("1.") else model[name])
