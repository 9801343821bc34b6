"""Batches and training sets of a single example: refused before training where BatchNorm has no variance of one."""

import pytest
import torch
from support.tensors import same
from support.training import Memory, Stopping, search_of
from torch import nn

from starcli.errors import StarcliError
from starcli.library.networks import network_copies
from starcli.models.flat_network import FlatNetwork
from starcli.recipes.recipe import Recipe
from starcli.star.settings import StarSettings
from starcli.star.starlight import starlight
from starcli.training.stacked import train_stacked
from starcli.training.train import train_network
from starcli.training.trial import trial_pass
from starcli.workspace.choices import Choices
from starcli.workspace.given import Given
from starcli.workspace.workspace import new_workspace


def vectors():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10))


def images():
    """BatchNorm over the pixels of one image has a variance."""
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10))


def workspace_of(build, limit):
    return new_workspace(Choices(data="digits", limit=limit, device="cpu"), Given(builder=network_copies(build)))


def star(workspace, recipe, **options):
    models = [workspace.network(seed).state() for seed in (0, 1)]
    return starlight(workspace, search_of(models, recipe, StarSettings()), **options)


WAYS = {
    "train": lambda workspace, recipe, **options: train_network(workspace, recipe, 0, **options),
    "stacked": lambda workspace, recipe, **options: train_stacked(workspace, recipe, [0, 1], **options),
    "star": star,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("limit", "size", "words"), [(20, 1, "--batch-size 1"), (1, 8, "one training example")])
def test_batch_norm_of_vectors_is_refused_at_once(way, limit, size, words):
    said = f"{words}: this network is trained on batches of 2 examples or more"
    if way == "star" and limit == 1:
        said = "the BatchNorm statistics of a star need at least 2 training examples, found 1"
    watcher = Stopping()
    with pytest.raises(StarcliError, match=said):
        WAYS[way](workspace_of(vectors, limit), Recipe(epochs=1, batch_size=size), state=Memory(), progress=watcher)
    assert watcher.rows == []


@pytest.mark.parametrize("way", ["train", "stacked"])
@pytest.mark.parametrize(("build", "limit", "size"), [(images, 11, 1), (images, 1, 8), (vectors, 11, 10)])
def test_what_can_be_trained_is(way, build, limit, size):
    """A last batch of one is left out."""
    WAYS[way](workspace_of(build, limit), Recipe(epochs=1, batch_size=size))


def test_a_star_of_one_example_has_no_statistics():
    watcher = Stopping()
    with pytest.raises(StarcliError, match="at least 2 training examples"):
        star(workspace_of(images, 1), Recipe(epochs=1, batch_size=8), progress=watcher)
    assert watcher.rows == []


def test_a_trial_leaves_no_trace():
    flat = FlatNetwork(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval())
    before, drawn = flat.state(), torch.get_rng_state()
    with trial_pass(flat, torch.randn(5, 3, generator=torch.Generator())):
        assert not torch.equal(flat.network[1].running_mean, before["1.running_mean"])
    assert same(flat.state(), before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not flat.network.training
