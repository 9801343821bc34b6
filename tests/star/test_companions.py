"""Companions of a star: sources like others, in a part of the epochs, that a stopped search does not train again."""

import pytest
from support.stars import RECIPE, search_star
from support.tensors import same
from support.training import Stopping

from starcli.errors import StarcliError
from starcli.files.state import StateFile
from starcli.runtime.progress import Interrupted
from starcli.star import companions
from starcli.star.companions import shared_epochs
from starcli.star.source_bank import Source
from starcli.training.seeds import substream
from starcli.training.train import train_network

LONG = RECIPE.lasting(9)


@pytest.mark.parametrize("options", [{}, {"mu": 1.0, "sampling": "midpoint"}], ids=str)
def test_a_companion_is_a_short_trained_source(mlp, mlps, options):
    """To the bit, as if they were trained before and named among the sources of a shorter search."""
    star = search_star(mlp, mlps[:2], LONG, 1, companions=2, **options)
    seeds = [substream(substream(1, "star"), "companion", number) for number in (0, 1)]
    trained = [train_network(mlp, LONG.lasting(2), seed).tensors for seed in seeds]
    sources = [*mlps[:2], *(Source("companion", each.copy) for each in trained)]
    expected = search_star(mlp, sources, LONG.lasting(5), 1, **options)
    assert same(star.tensors, expected.tensors)
    assert list(star.history) == list(expected.history)
    assert len(star.symmetries) == 2  # those of the sources that were named
    assert same(star.aligned(1), expected.aligned(1))


@pytest.mark.parametrize(("options", "pieces"), [({"draws_per_step": 2}, 2), ({"sync_batchnorm": True}, 1)], ids=str)
def test_companions_are_trained_in_pieces_as_the_star_is(resnet, resnets, monkeypatch, options, pieces):
    """BatchNorm normalises each piece by itself: a draw, which ranks share, or a rank where it is synchronised."""
    asked = []

    def training(*arguments, **more):
        asked.append((more["pieces"], more["sync_batchnorm"]))
        return train_network(*arguments, **more)

    monkeypatch.setattr(companions, "train_network", training)
    recipe = RECIPE.lasting(2)
    star = search_star(resnet, resnets[:2], recipe, 1, companions=1, method=None, **options)
    assert asked == [(pieces, "sync_batchnorm" in options)]
    seed = substream(substream(1, "star"), "companion", 0)
    alone = train_network(resnet, recipe.lasting(1), seed, pieces=pieces)
    sources = [*resnets[:2], Source("companion", lambda: alone.tensors)]
    assert same(star.tensors, search_star(resnet, sources, recipe.lasting(1), 1, method=None, **options).tensors)


def test_the_state_of_a_search_that_diverged_is_in_no_other_ones_way(mlp, mlps, tmp_path):
    state = StateFile(tmp_path / "star.safetensors", "high rate", save_every=0.0)
    with pytest.raises(StarcliError, match="companion 1 of 1: the loss became"):
        search_star(mlp, mlps[:2], LONG.override(lr=1e8), 1, companions=1, state=state)
    assert state.path.exists()
    assert StateFile(tmp_path / "star.safetensors", "low rate").load() is None


def test_buffers_of_which_there_are_none_between_are_refused_before_companions_are_trained(mlp, mlps, monkeypatch):
    def refuse(*_):
        raise StarcliError("the models differ in buffers")

    monkeypatch.setattr("starcli.star.starlight.admit_points", refuse)
    monkeypatch.setattr("starcli.star.starlight.train_companions", None)
    with pytest.raises(StarcliError, match="the models differ in buffers"):
        search_star(mlp, mlps[:2], LONG, 1, companions=2)


def test_a_search_with_companions_takes_as_many_steps():
    for epochs, count in ((100, 12), (7, 3), (25, 1), (25, 0)):
        each, left = shared_epochs(epochs, count)
        assert count * each + left == epochs
        assert left >= epochs / 2
    with pytest.raises(StarcliError, match="there must be 8, found 7"):
        shared_epochs(7, 4)


def test_a_stopped_search_goes_on_in_the_same_companion(mlp, mlps, tmp_path):
    """Stopped in both companions and twice in the star (2 x 5 steps each, then 25): nothing is done again."""
    whole = search_star(mlp, mlps[:2], LONG, 1, companions=2)
    state = StateFile(tmp_path / "star.safetensors", "run")
    for pause in (3, 12, 14, 6):
        watcher = Stopping(pause)
        with pytest.raises(Interrupted):
            search_star(mlp, mlps[:2], LONG, 1, companions=2, state=state, progress=watcher)
    pieces = search_star(mlp, mlps[:2], LONG, 1, companions=2, state=state)
    assert same(whole.tensors, pieces.tensors)
    assert list(whole.history) == list(pieces.history)
    assert all(same(whole.aligned(number), pieces.aligned(number)) for number in range(2))
