"""Stars of networks under spectral normalisation: which vectors a step uses, and which the star has."""

from functools import cache

import pytest
import torch
from support.spectral import NORMALISED, ORIGINAL, STYLES, VECTORS, plain_network, spectral_workspace
from support.stars import RECIPE, objective_of, search_star, stopped_run
from support.tensors import same
from torch.nn.functional import cross_entropy

from starcli.star.source_bank import Source
from starcli.training.fixed_tensors import fixed_in_training
from starcli.training.train import train_network


@cache
def prepared(style):
    """A workspace of networks in a style, and two of them, trained."""
    workspace = spectral_workspace(style)
    models = [train_network(workspace, RECIPE.override(epochs=2, lr=0.1), seed).tensors for seed in range(2)]
    return workspace, [Source(f"s{number}", lambda model=model: model) for number, model in enumerate(models)]


@pytest.mark.parametrize("style", STYLES)
def test_a_step_is_at_the_normalised_network_of_the_point(style):
    """Its loss is that of W / sigma by a singular value decomposition, whatever point the step before was at."""
    workspace, sources = prepared(style)
    objective = objective_of(workspace, sources)
    star = objective.flat.state()
    inputs, labels = next(iter(workspace.dataset.train.batches(48)))
    for step in range(6):
        source, t = objective.draw(0, step, 0)
        other = objective.bank.aligned(source)
        point = {n: torch.lerp(star[n], other[n], t) for n in star if star[n].is_floating_point()}
        network = plain_network(style, star | point).train()
        expected = cross_entropy(network(inputs), labels)
        loss, _ = objective.step(inputs, labels, 0, step)
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-3, atol=1e-4)
    assert fixed_in_training(objective.flat, workspace.dataset.train) == {}
    objective.bank.close()


@pytest.mark.parametrize("style", STYLES)
def test_a_star_has_the_vectors_of_its_own_weights(style):
    workspace, sources = prepared(style)
    star = search_star(workspace, sources, RECIPE.override(epochs=1), 0, mu=1.0)
    for layer, axis in NORMALISED.items():
        matrix = star.tensors[f"{layer}.{ORIGINAL[style]}"].movedim(axis, 0).flatten(1)
        u, v = (star.tensors[f"{layer}.{name}"] for name in VECTORS[style])
        torch.testing.assert_close(u @ matrix @ v, torch.linalg.matrix_norm(matrix, 2))


def test_a_stopped_star_ends_as_if_never_stopped():
    workspace, sources = prepared("new")
    whole = search_star(workspace, sources, RECIPE.override(epochs=2), 1)
    pieces = stopped_run([1, 3], workspace, sources, RECIPE.override(epochs=2), 1)
    assert same(whole.tensors, pieces.tensors)
