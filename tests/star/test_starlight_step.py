"""A step of Starlight: its gradient is autograd's, and it draws every source as often."""

from contextlib import contextmanager

import pytest
import torch
from support.stars import objective_of
from torch.nn.functional import cross_entropy

from starcli.averaging.sampling import beta_t, constant_t
from starcli.training.batch_pieces import cut_batch


def pieces_of(inputs, labels, count):
    return [
        (p.number, inputs[p.start : p.stop], labels[p.start : p.stop], p.weight) for p in cut_batch(len(labels), count)
    ]


def by_autograd(objective, inputs, labels, epoch, step):
    """The gradient by the star of the objective, written down as the paper does, differentiated by autograd."""
    settings, flat = objective.settings, objective.flat
    star = objective.vector.clone().requires_grad_()
    network = objective.workspace.network().network

    def loss_at(vector, some_inputs, some_labels):
        values = torch.func.functional_call(network, flat.views(vector), (some_inputs,))
        return cross_entropy(values, some_labels)

    total = torch.zeros(())
    for number, some_inputs, some_labels, _ in pieces_of(inputs, labels, settings.draws_per_step):
        source, t = objective.draw(epoch, step, number)
        vector = flat.flatten(objective.bank.sources[source].open())
        point = (1 - t) * star + t * vector
        total = total + loss_at(point, some_inputs, some_labels) * len(some_labels) / len(labels)
    total = total + settings.mu * loss_at(star, inputs, labels) if settings.mu else total
    total = total / (1 + settings.mu) if settings.normalised else total
    mean = sum(flat.flatten(source.open()) for source in objective.bank.sources) / len(objective.bank.sources)
    pull = settings.pull / 2 * (star - mean).square().sum()
    (gradient,) = torch.autograd.grad(total + pull, star)
    return total.detach(), gradient


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sampling": beta_t},
        {"sampling": constant_t},
        {"mu": 1.0},
        {"mu": 0.3, "normalised": True},
        {"draws_per_step": 3},
        {"draws_per_step": 2, "mu": 1.0, "normalised": True},
        {"draws_per_step": 3, "pull": 0.5},
    ],
    ids=" ".join,  # names alone: a function's address differs from worker to worker
)
def test_the_gradient_is_autograds(mlp, mlps, changes):
    """The factor (1 - t) enters exactly once."""
    objective = objective_of(mlp, mlps, **changes)
    objective.begin_epoch(0)
    inputs, labels = next(mlp.dataset.train.batches(47))
    for step in range(3):
        objective.clear()
        loss = torch.zeros(())
        for number, *piece, weight in pieces_of(inputs, labels, objective.settings.draws_per_step):
            loss = loss + weight * objective.step(*piece, 0, step, number, weight)[0]
        expected_loss, expected = by_autograd(objective, inputs, labels, 0, step)
        torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
        found = torch.cat([gradient.flatten() for gradient in objective.gradients()])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_backward_pass_that_begins_again_keeps_the_pull(mlp, mlps, monkeypatch):
    """As on a GPU, where the first pass finds out that an operator takes its sums in any order."""

    @contextmanager
    def strict():
        yield
        raise RuntimeError("has no deterministic implementation")

    objective = objective_of(mlp, mlps, pull=0.5, mu=1.0)
    objective.begin_epoch(0)
    inputs, labels = next(mlp.dataset.train.batches(47))
    found = []
    for again in (False, True):
        objective.backward.strict = again
        monkeypatch.setattr("starcli.runtime.backward.strict_determinism", strict)
        objective.clear()
        objective.step(inputs, labels, 0, 0)
        found.append(torch.cat([gradient.flatten() for gradient in objective.gradients()]))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_noise_is_on_the_point_and_of_the_size_of_each_tensor(mlp, mlps):
    """The gradient is that of the loss there; the noise is a function of the place in the run."""
    objective = objective_of(mlp, mlps, noise=0.3)
    objective.begin_epoch(0)
    inputs, labels = next(mlp.dataset.train.batches(47))
    flat, network, noises = objective.flat, mlp.network().network, []
    for step in (0, 0, 1):
        objective.clear()
        objective.step(inputs, labels, 0, step)
        source, t = objective.draw(0, step, 0)
        plain = torch.lerp(objective.vector, flat.flatten(objective.bank.sources[source].open()), t)
        noises.append(flat.parameters - plain)
        for noise, tensor in zip(*(flat.views(each).values() for each in (noises[-1], plain)), strict=True):
            share = noise.norm() / tensor.norm()
            assert abs(share / 0.3 - 1) < 5 / (2 * noise.numel()) ** 0.5
        point = flat.parameters.clone().requires_grad_()
        loss = cross_entropy(torch.func.functional_call(network, flat.views(point), (inputs,)), labels)
        (expected,) = torch.autograd.grad((1 - t) * loss, point)
        found = torch.cat([each.flatten() for each in objective.gradients()])
        torch.testing.assert_close(found, expected[: len(found)], rtol=1e-4, atol=1e-7)
    assert torch.allclose(noises[0], noises[1])
    assert abs(torch.cosine_similarity(noises[0], noises[2], dim=0)) < 0.1
    assert abs(noises[0].mean()) < 0.1 * noises[0].std()


def test_sources_are_drawn_evenly(mlp, mlps):
    objective = objective_of(mlp, mlps)
    counts = torch.zeros(4)
    for step in range(4000):
        counts[objective.draw(0, step, 0)[0]] += 1
    assert counts.min() > 900
