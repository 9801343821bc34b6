"""Next tokens: losses are means over tokens, whatever the batches and the pieces of a batch, everywhere the same."""

from pathlib import Path

import pytest
import torch
from support.training import Small
from torch import Tensor
from torch.nn.functional import cross_entropy

from starcli.averaging.predict_inputs import labelled_inputs
from starcli.data.dataset import open_data
from starcli.data.text_options import TextOptions
from starcli.evaluation.scores import score_network
from starcli.models import logits
from starcli.models.build import build_network, complete_arguments
from starcli.recipes.recipe import Recipe
from starcli.training.run import TrainingRun
from starcli.training.train import PlainObjective, train_network

PACKAGES = Path(__file__).parent.parent / "data" / "packages.csv"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def gpt() -> Small:
    """Short texts and long ones, so that a mean over texts is another one."""
    data = open_data(f"text:{PACKAGES}", limit=50, texts=TextOptions(task="next-token", length=70))
    arguments = complete_arguments(
        "gpt",
        {"dim": 8, "heads": 2, "depth": 1, "mlp_dim": 8},
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        vocab_size=data.vocab_size,
        task="next-token",
    )
    return Small("gpt", arguments, data)


def loss_by_torch(outputs: Tensor, tokens: Tensor) -> Tensor:
    """Outputs at all but the last token against the following tokens, padding left out."""
    return cross_entropy(outputs[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=-1)


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_the_loss_is_the_mean_over_tokens(gpt: Small, batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starcli.evaluation.scores.PROBABILITIES_AT_ONCE", 257 * 100)  # a batch in pieces
    network, split = gpt.network(1).network, gpt.dataset.train
    with torch.no_grad():
        outputs = network.eval()(split.raw)
    found = score_network(network, split, batch_size=batch_size, device=CPU)
    assert found.loss == pytest.approx(float(loss_by_torch(outputs, split.raw)), rel=1e-6)
    known = split.raw[:, 1:] >= 0
    right = (outputs[:, :-1].argmax(2) == split.raw[:, 1:])[known].float().mean()
    assert found.accuracy == pytest.approx(float(right), rel=1e-6)
    assert found.count == int(known.sum()) == len(split.targets)


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_step_follows_the_mean_over_the_tokens_of_its_batch(gpt: Small, pieces: int) -> None:
    recipe = Recipe(epochs=1, batch_size=50, lr=0.0)
    objective = PlainObjective(gpt, flat := gpt.network(1), recipe)
    run = TrainingRun(objective, gpt.dataset, recipe, 0, pieces=pieces)
    [batch] = run._batches()
    objective.clear()
    total = 0.0
    for inputs, labels, piece in batch:
        loss, _ = objective.step(inputs, labels, 0, 0, piece.number, piece.weight)
        total += piece.weight * float(loss)
    loss = loss_by_torch(flat.network(gpt.dataset.train.raw), gpt.dataset.train.raw)
    assert total == pytest.approx(float(loss.detach()), rel=1e-5)
    expected = torch.autograd.grad(loss, objective.parameters)
    for own, other in zip(objective.gradients(), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [6, 50])
def test_an_epochs_row_is_the_mean_over_all_its_tokens(gpt: Small, batch_size: int) -> None:
    trained = train_network(gpt, Recipe(epochs=1, batch_size=batch_size, lr=1e-12, weight_decay=0.0), 1)
    [row] = trained.history
    assert row["loss"] == pytest.approx(trained.metrics["train"]["loss"], rel=1e-5)
    assert row["accuracy"] == pytest.approx(trained.metrics["train"]["accuracy"], rel=1e-5)


def test_what_is_there_to_be_learned_is_learned(gpt: Small) -> None:
    trained = train_network(gpt, Recipe(epochs=12, batch_size=10, lr=0.02, optimizer="adam"), 1)
    assert trained.metrics["train"]["loss"] < 4  # that of a guess is log 257 = 5.5


def test_predictions_know_their_texts_and_places(gpt: Small) -> None:
    found = labelled_inputs(gpt.dataset, "train")
    assert found.label is not None and found.position is not None  # noqa: PT018
    for text, place, label in zip(found.index, found.position, found.label, strict=True):
        [row] = (gpt.dataset.train.index == text).nonzero().flatten()
        assert gpt.dataset.train.raw[row, place] == label


def test_rows_of_outputs() -> None:
    outputs, labels = torch.randn(2, 3, 5), torch.tensor([[1, 2, -1], [4, -1, -1]])
    rows, targets = logits.prediction_rows(outputs, labels, 5, "training")
    assert torch.equal(rows, torch.stack([outputs[0, 0], outputs[0, 1], outputs[1, 0]]))
    assert targets.tolist() == [1, 2, 4]


def test_an_encoder_is_not_for_next_tokens(gpt: Small) -> None:
    data = gpt.dataset
    with pytest.raises(Exception, match="predicts the class of a text, not next tokens"):
        complete_arguments("bert", {}, input_shape=data.input_shape, num_classes=257, vocab_size=257, task="next-token")
    assert build_network("bert", length=70)(data.train.raw[:2]).shape == (2, 10)
