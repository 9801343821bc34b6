"""Class weights: steps against torch's weighted loss, whatever the pieces; recorded, inherited, refused."""

import pytest
import torch
from support.data import refused
from support.program import run_here
from support.training import small
from torch.nn.functional import cross_entropy

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata
from starcli.evaluation.tasks.task import task_named
from starcli.recipes.recipe import Recipe
from starcli.training.class_weights import balanced_weights, class_weights_of
from starcli.training.run import TrainingRun
from starcli.training.stacked import train_stacked
from starcli.training.train import PlainObjective, train_network

WEIGHTS = tuple(0.5 + 0.4 * number for number in range(10))
ONE_STEP = Recipe(epochs=1, batch_size=60, lr=0.1, momentum=0, weight_decay=0, schedule="constant")


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_step_follows_torchs_weighted_loss_of_its_batch(pieces, smoothing):
    where = small("mlp", limit=60, hidden_dim=8)
    recipe = ONE_STEP.override(class_weights=WEIGHTS, label_smoothing=smoothing)
    network = where.network(0)
    split = where.dataset.train
    [(inputs, labels)] = split.batches(60)
    loss = cross_entropy(network.network(inputs), labels, weight=torch.tensor(WEIGHTS), label_smoothing=smoothing)
    loss.backward()
    expected = [each.detach() - 0.1 * each.grad for each in network.network.parameters()]
    objective = PlainObjective(where, where.network(0), recipe)
    [row] = TrainingRun(objective, where.dataset, recipe, 0, pieces=pieces).run()
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-6)
    for own, other in zip(objective.flat.network.parameters(), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-7)


def test_balanced_weights_are_those_of_scikit_learn():
    # compute_class_weight("balanced", classes=[0, 1, 3], y=[0] * 7 + [1] * 2 + [3]) of scikit-learn 1.5
    labels = torch.tensor([0] * 7 + [1] * 2 + [3])
    assert balanced_weights(labels, 5).tolist() == pytest.approx([10 / 21, 10 / 6, 1, 10 / 3, 1])


@pytest.mark.parametrize("weights", ["balanced", WEIGHTS])
def test_stacked_networks_are_weighted_as_alone(weights):
    where = small("mlp", hidden_dim=16, val_fraction=0.2)
    recipe = Recipe(epochs=2, batch_size=48, lr=0.05, class_weights=weights, label_smoothing=0.1)
    for seed, stacked in zip((3, 1), train_stacked(where, recipe, (3, 1)), strict=True):
        alone = train_network(where, recipe, seed)
        for name, tensor in alone.tensors.items():
            torch.testing.assert_close(stacked.tensors[name], tensor, rtol=1e-3, atol=2e-4)
        assert [row["loss"] for row in stacked.history] == pytest.approx([row["loss"] for row in alone.history])
        correct = [row["accuracy"] for row in alone.history]
        assert [row["accuracy"] for row in stacked.history] == pytest.approx(correct)


def test_distillation_weighs_examples_by_their_class():
    outputs, teacher = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    weights = torch.arange(1.0, 7)
    each = torch.stack([cross_entropy(outputs[n : n + 1], teacher[n : n + 1].softmax(1)) for n in range(6)])
    found = task_named("classes").loss_to(outputs, [teacher], weights=weights)
    torch.testing.assert_close(found, (weights * each).sum() / weights.sum())


@pytest.mark.filterwarnings("ignore:training weighs classes")
def test_weights_are_recorded_inherited_and_in_the_loss_of_a_star():
    models = [sc.train("mlp", "digits", epochs=1, limit=60, seed=n, class_weights=WEIGHTS) for n in (0, 1)]
    plain = sc.train("mlp", "digits", epochs=1, limit=60)
    assert models[0].metadata.recipe["class_weights"] == list(WEIGHTS)
    assert "class_weights" not in plain.metadata.recipe
    assert models[0].metadata.weights_sha256 != plain.metadata.weights_sha256
    star = sc.find_star(models, alignment="none", epochs=1)
    assert star.metadata.recipe["class_weights"] == list(WEIGHTS)
    distilled = sc.fuse(models, method="distil", alignment="none", epochs=1, class_weights="balanced")
    assert distilled.metadata.recipe["class_weights"] == "balanced"
    other = sc.find_star(models, alignment="none", epochs=1, class_weights=[1.0] * 10)
    assert other.metadata.weights_sha256 != star.metadata.weights_sha256


def test_equal_weights_change_nothing():
    where = small("mlp", limit=60, hidden_dim=8)
    one, other = (train_network(where, ONE_STEP.override(class_weights=each), 0) for each in (None, [2.0] * 10))
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(other.tensors[name], tensor)
    assert one.metrics["test"]["loss"] == pytest.approx(other.metrics["test"]["loss"], rel=1e-5)


def test_faults():
    for wrong in ("equal", [], [1.0, -1.0], [0.0], [float("nan")], 3):
        refused(lambda wrong=wrong: Recipe().override(class_weights=wrong), "class_weights: expected balanced")
    data = small("mlp", limit=20).dataset
    refused(lambda: class_weights_of(Recipe(class_weights=(1.0, 2.0)), data), "2 weights, and digits has 10 classes")
    numbers = dict.fromkeys(("train", "test"), (torch.rand(20, 3), torch.rand(20, 2)))
    refused(lambda: sc.train("mlp", numbers, epochs=1, class_weights="balanced"), "the task is regression")


def test_the_command_line_says_what_it_weighs_and_star_inherits_it(tmp_path):
    (tmp_path / "weights.txt").write_text("\n".join(map(str, WEIGHTS)))
    size = ("--arch", "mlp", "--limit", "60", "--epochs", "1")
    out = (tmp_path / "0.safetensors", tmp_path / "1.safetensors", tmp_path / "star.safetensors")
    ran = run_here("train", *size, "--class-weights", tmp_path / "weights.txt", "-o", out[0])
    assert "training weighs classes: 0.5 (0) to 4.1 (9); what is measured is not weighted" in ran.err
    run_here("train", *size, "--class-weights", ",".join(map(str, WEIGHTS)), "--seed", "1", "-o", out[1])
    star = run_here("star", "--sources", *out[:2], "--align", "none", "-o", out[2])
    assert "training weighs classes: 0.5 (0) to 4.1 (9)" in star.err
    for path in out:
        assert read_metadata(path)[1].recipe["class_weights"] == list(WEIGHTS)
    assert run_here("train", *size, "--class-weights", "1,x", "-o", tmp_path / "x.safetensors").status == 1
