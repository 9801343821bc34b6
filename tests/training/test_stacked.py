"""Stacked training: the same networks as one after the other, up to rounding."""

import pytest
import torch
from support.tensors import same
from support.training import Memory, Stopping, small

from starcli.errors import StarcliError
from starcli.recipes.recipe import Recipe
from starcli.runtime.arithmetic import RAISES, WARNS, arithmetic_restored
from starcli.runtime.progress import Interrupted
from starcli.training.stacked import train_stacked
from starcli.training.stacked_objective import StackedObjective, right
from starcli.training.train import train_network

RECIPE = Recipe(epochs=3, batch_size=48, lr=0.05)
SEEDS = (3, 1, 4)


@pytest.mark.parametrize(
    ("workspace", "changes"),
    [
        ({"hidden_dim": 16}, {}),
        ({"hidden_dim": 16}, {"optimizer": "adamw", "lr": 0.01, "label_smoothing": 0.1}),
        ({"hidden_dim": 16}, {"clip": 0.3, "nesterov": True, "warmup": 1.0}),
        ({"hidden_dim": 8, "batch_norm": "all", "depth": 2, "val_fraction": 0.2}, {}),
        ({"name": "resnet", "width": 2, "stages": 2, "limit": 60}, {"augmentation": ("pad-crop",), "batch_size": 20}),
    ],
    ids=str,
)
def test_each_seed_is_trained_as_alone(workspace, changes):
    where, recipe = small(**{"name": "mlp"} | workspace), RECIPE.override(**changes)
    for seed, stacked in zip(SEEDS, train_stacked(where, recipe, SEEDS), strict=True):
        alone = train_network(where, recipe, seed)
        assert stacked.tensors.keys() == alone.tensors.keys()
        for name, tensor in alone.tensors.items():
            torch.testing.assert_close(stacked.tensors[name], tensor, rtol=1e-3, atol=2e-4)
        assert stacked.metrics.keys() == alone.metrics.keys()
        for row, expected in zip(stacked.history, alone.history, strict=True):
            assert row == pytest.approx(expected, rel=1e-2)


def test_accuracies_are_whole_numbers_of_examples(mlp):
    """As of a network that is trained alone, to the last digit."""
    count = len(mlp.dataset.train)
    for trained in train_stacked(mlp, RECIPE, SEEDS):
        for row in trained.history:
            assert row["accuracy"] == round(row["accuracy"] * count) / count


@pytest.mark.parametrize("pauses", [[1], [5, 3], [7]], ids=str)
def test_a_stopped_stack_ends_as_if_never_stopped(mlp, pauses):
    state = Memory()
    for pause in pauses:
        with pytest.raises(Interrupted):
            train_stacked(mlp, RECIPE, SEEDS, state=state, progress=Stopping(pause))
    for whole, pieces in zip(
        train_stacked(mlp, RECIPE, SEEDS), train_stacked(mlp, RECIPE, SEEDS, state=state), strict=True
    ):
        assert same(whole.tensors, pieces.tensors)
        assert whole.history == pieces.history


def test_backward_passes_are_strict_where_sums_are_to_be_the_same(mlp):
    """As on a GPU, where attention keeps the order of its sums only then."""
    inputs, labels = next(mlp.dataset.train.batches(3 * 16))
    with arithmetic_restored():
        torch.set_deterministic_debug_mode(WARNS)
        stack, seen = StackedObjective(mlp, mlp.network(), RECIPE, SEEDS), []
        for leaf in stack.leaves.values():
            leaf.register_hook(lambda _: seen.append(torch.get_deterministic_debug_mode()))
        stack.step(inputs.view(3, 16, *inputs.shape[1:]), labels.view(3, 16), 0, 0)
        assert torch.get_deterministic_debug_mode() == WARNS
    assert seen == [RAISES] * len(stack.leaves)


def test_dropout_is_refused():
    with pytest.raises(StarcliError, match="dropout"):
        train_stacked(small("wrn", depth=10, dropout=0.3), RECIPE, SEEDS)


def test_a_loss_that_explodes_names_the_seed(mlp):
    with pytest.raises(StarcliError, match=r"seed 3, 1, 4"):
        train_stacked(mlp, RECIPE.override(lr=1e30), SEEDS)


def test_of_equal_outputs_the_first_is_the_prediction():
    """As `argmax` has it, with which networks that are trained alone are scored."""
    outputs = torch.randn(5, 4, 50, generator=torch.Generator().manual_seed(0)).round()
    labels = torch.arange(200).view(4, 50) % 5
    assert torch.equal(right(outputs, labels), outputs.argmax(0) == labels)
    assert bool(((outputs == outputs.amax(0)).sum(0) > 1).any())
