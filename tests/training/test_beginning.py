"""Training that begins at a model: a branch of a run is the rest of it, and what is drawn anew the seed decides."""

import pytest
import torch
from support.tensors import same
from support.training import Memory, Stopping

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import Interrupted, Progress
from starcli.training.beginning import Beginning
from starcli.training.stacked import train_stacked
from starcli.training.train import train_network

RECIPE = Recipe(epochs=4, batch_size=48, lr=0.05, momentum=0.0, warmup=0.5, augmentation=("pad-crop",))
"""Without momentum, which a branch does not have from before."""


class Notes(Progress):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def model(tensors, **metadata):
    return Checkpoint(tensors, Metadata(**metadata), "model")


@pytest.fixture
def kept(resnet):
    """A whole run, and the network after each of its epochs."""
    found = {}
    keep = {epoch: lambda each, epoch=epoch: found.update({epoch: each}) for epoch in range(4)}
    whole = train_network(resnet, RECIPE, 3, keep=keep)
    return whole, found


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_branch_by_the_same_seed_is_the_rest_of_the_run(resnet, kept, epoch):
    whole, on_the_way = kept
    beginning = Beginning(model(on_the_way[epoch].tensors), start_epoch=epoch)
    found = train_network(resnet, RECIPE, 3, beginning=beginning)
    assert same(found.tensors, whole.tensors)
    assert list(found.history) == list(whole.history)[epoch:]
    assert not same(train_network(resnet, RECIPE, 4, beginning=beginning).tensors, whole.tensors)


def test_a_network_after_no_epoch_is_as_its_seed_draws_it(resnet, kept):
    assert same(kept[1][0].tensors, resnet.network(3).state())


@pytest.mark.parametrize("pauses", [[1], [3 * 1 + 1, 2]], ids=str)
def test_a_stopped_branch_ends_as_if_never_stopped(resnet, kept, pauses):
    beginning = Beginning(model(kept[1][2].tensors), start_epoch=2)
    state = Memory()
    for pause in pauses:
        with pytest.raises(Interrupted):
            train_network(resnet, RECIPE, 5, beginning=beginning, state=state, progress=Stopping(pause))
    found = train_network(resnet, RECIPE, 5, beginning=beginning, state=state)
    whole = train_network(resnet, RECIPE, 5, beginning=beginning)
    assert same(found.tensors, whole.tensors)
    assert list(found.history) == list(whole.history)


def test_what_is_drawn_anew_the_seed_decides(resnet, kept):
    given = {name: tensor.clone() for name, tensor in kept[0].tensors.items()}
    for seed in (7, 8):
        network, drawn = resnet.network(seed), resnet.network(seed).state()
        Beginning(model(given), ("linear.*", "bn1.running_mean")).put(network)
        for name, tensor in network.state().items():
            anew = name.startswith("linear.") or name == "bn1.running_mean"
            assert torch.equal(tensor, (drawn if anew else given)[name])


def test_stacked_networks_begin_there_too(mlp):
    recipe = RECIPE.override(augmentation=())
    begun = train_network(mlp, recipe.override(epochs=1), 0).tensors
    beginning = Beginning(model(begun), ("fc2.*",), start_epoch=2)
    for seed, stacked in zip((1, 2), train_stacked(mlp, recipe, (1, 2), beginning=beginning), strict=True):
        alone = train_network(mlp, recipe, seed, beginning=beginning)
        for name, tensor in alone.tensors.items():
            torch.testing.assert_close(stacked.tensors[name], tensor, rtol=1e-3, atol=2e-4)
        assert [row["epoch"] for row in stacked.history] == [3, 4]


@pytest.mark.parametrize("epoch", [-1, 4, 9])
def test_a_recipe_of_which_nothing_is_left(epoch):
    with pytest.raises(StarcliError, match=f"start epoch {epoch}: expected 0 to 3 of 4 epochs"):
        Beginning(model({}), start_epoch=epoch).check(RECIPE, Notes())


def test_a_model_on_its_way_whose_schedule_would_begin_anew_has_a_note():
    on_its_way, notes = model({}, recipe={"train": {"after_epoch": 2}}), Notes()
    Beginning(on_its_way, start_epoch=2).check(RECIPE, notes)
    Beginning(model({}, recipe={"epochs": 2})).check(RECIPE, notes)
    assert notes.notes == []
    Beginning(on_its_way).check(RECIPE, notes)
    [note] = notes.notes
    assert note.endswith("and the schedule begins anew; --start-epoch 2 goes on with it")
