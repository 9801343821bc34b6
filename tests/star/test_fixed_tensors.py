"""Stars of networks with what training leaves as it is: frozen parameters, float buffers that are no statistics."""

from dataclasses import dataclass

import pytest
import torch
from support.stars import OPTIONS, RECIPE, objective_of, search_star, stopped_run
from support.tensors import same
from support.training import Frozen, Small, Stopping, small
from torch import nn
from torch.nn.functional import cross_entropy

from starcli.errors import StarcliError
from starcli.models.flat_network import FlatNetwork
from starcli.star import source_vectors as sources_module
from starcli.star.source_bank import Source
from starcli.symmetry.permutation import Permutation
from starcli.training.fixed_tensors import fixed_in_training
from starcli.training.seeds import generator
from starcli.training.train import train_network

FIXED = ["fc1.weight", "fc1.bias"]


@pytest.fixture(scope="module")
def frozen():
    base = small("mlp", hidden_dim=16)
    return Frozen(base.name, base.arguments, base.dataset)


@pytest.fixture(scope="module")
def sources(frozen):
    trained = [train_network(frozen, RECIPE.override(epochs=6, lr=0.1), seed) for seed in range(3)]
    return [Source(f"f{number}", lambda m=m: m.tensors) for number, m in enumerate(trained)]


def loss_of(workspace, tensors, inputs, labels):
    flat = workspace.network()
    flat.load(tensors)
    return cross_entropy(flat.network(inputs), labels).detach()


@pytest.mark.parametrize("t", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kept", [0, 2**30])
def test_the_whole_network_goes_along_the_line(frozen, sources, t, kept, monkeypatch):
    """A source permuted, too: at its end the loss is its own."""
    monkeypatch.setattr(sources_module, "KEPT_SOURCE_BYTES", kept)
    objective = objective_of(frozen, sources, sampling=lambda _: t)
    star = objective.flat.state()
    objective.bank.set({i: Permutation.random(frozen.spec.resolved, generator(i)) for i in (1, 2)})
    inputs, labels = next(iter(frozen.dataset.train.batches(47)))
    for step in range(4):
        source, _ = objective.draw(0, step, 0)
        loss, _ = objective.step(inputs, labels, 0, step)
        other = objective.bank.aligned(source)
        point = {name: torch.lerp(star[name], other[name], t) for name in star}
        torch.testing.assert_close(loss, loss_of(frozen, point, inputs, labels))
        if t == 1:
            torch.testing.assert_close(loss, loss_of(frozen, sources[source].open(), inputs, labels))
    objective.bank.close()


def test_sources_are_aligned_to_the_star_and_not_to_a_point(frozen, sources):
    objective = objective_of(frozen, sources, sampling=lambda _: 1.0)
    star = objective.flat.state()
    objective.step(*next(iter(frozen.dataset.train.batches(47))), 0, 0)
    assert not torch.equal(objective.flat.state()["fc1.weight"], star["fc1.weight"])
    assert same(objective._named(), star)


def test_the_stars_own_loss_is_that_of_the_star(frozen, sources):
    objective = objective_of(frozen, sources, sampling=lambda _: 1.0, mu=1.0)
    star = objective.flat.state()
    inputs, labels = next(iter(frozen.dataset.train.batches(47)))
    source, _ = objective.draw(0, 0, 0)
    expected = sum(loss_of(frozen, tensors, inputs, labels) for tensors in (star, sources[source].open()))
    torch.testing.assert_close(objective.step(inputs, labels, 0, 0)[0], expected)


def test_the_star_has_its_first_sources_or_its_first_weights(frozen, sources):
    recipe = RECIPE.override(epochs=1)
    star, other = (search_star(frozen, sources[:2], recipe, 0, **how) for how in ({}, {"init": sources[2].open()}))
    assert all(torch.equal(star.tensors[name], sources[0].open()[name]) for name in FIXED)
    assert all(torch.equal(other.tensors[name], sources[2].open()[name]) for name in FIXED)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_stopped_one_ends_as_if_never_stopped(frozen, sources, options):
    whole = search_star(frozen, sources, RECIPE, 1, **options)
    pieces = stopped_run([1, 6], frozen, sources, RECIPE, 1, **options)
    assert same(whole.tensors, pieces.tensors)
    assert list(whole.history) == list(pieces.history)


class Buffers(nn.Module):
    """A spectral norm, whose vectors change in training, a mask, statistics, a scale and dropout."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(64), nn.Dropout(0.5)
        self.last = nn.utils.parametrizations.spectral_norm(nn.Linear(64, 10))
        self.register_buffer("mask", torch.tensor([0.0] * 9 + [-torch.inf]))
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x):
        return self.scale * self.last(self.dropout(self.norm(x.flatten(1)))) + self.mask.clamp(min=-9)


@dataclass(frozen=True)
class WithBuffers(Small):
    def network(self, seed=None):
        flat = FlatNetwork(Buffers())
        flat.network.scale.fill_(1.0 + (seed or 0))
        return flat


def test_what_is_fixed(frozen):
    workspace = WithBuffers("", {}, frozen.dataset)
    flat = workspace.network()
    before, drawn = flat.state(), torch.get_rng_state()
    assert list(fixed_in_training(flat, frozen.dataset.train)) == ["mask", "scale"]
    assert same(flat.state(), before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert flat.network.training
    assert list(fixed_in_training(frozen.network(), frozen.dataset.train)) == FIXED
    assert fixed_in_training(small("resnet", limit=20, width=2, stages=2).network(), frozen.dataset.train) == {}


def test_buffers_go_along_the_line(frozen):
    """The infinite entries of a mask, equal in all models, too."""
    workspace = WithBuffers("", {}, frozen.dataset)
    states = [workspace.network(seed).state() for seed in (1, 3)]
    ends = [Source("", lambda state=state: state) for state in states]
    objective = objective_of(workspace, ends, sampling=lambda _: 0.25)
    inputs, labels = next(iter(frozen.dataset.train.batches(20)))
    for step in range(4):
        objective.step(inputs, labels, 0, step)
        scale = 0.75 * 10.0 + 0.25 * (2.0 + 2 * objective.draw(0, step, 0)[0])
        assert objective.flat.network.scale.item() == scale
        assert objective.flat.network.mask.tolist() == [0.0] * 9 + [-torch.inf]


def test_buffers_that_differ_are_refused_before_training_begins(frozen):
    workspace = WithBuffers("", {}, frozen.dataset)
    states = [workspace.network(seed).state() for seed in (1, 3)]
    ends = [Source(str(number), lambda state=state: state) for number, state in enumerate(states)]
    recipe = RECIPE.override(epochs=1)
    with pytest.raises(StarcliError, match="scale, of Buffers"):
        search_star(workspace, ends, recipe, 0, method=None)
    with pytest.raises(StarcliError, match="scale, of Buffers"):
        search_star(workspace, [ends[0], ends[0]], recipe, 0, method=None, held_out=ends[1:])
    allowed, watcher = WithBuffers("", {}, frozen.dataset, average_buffers=True), Stopping()
    found = search_star(allowed, ends, recipe, 0, method=None, progress=watcher)
    assert "averaged like weights: scale" in watcher.notes
    assert found.tensors["scale"] == states[0]["scale"]
