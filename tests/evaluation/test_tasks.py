"""Losses, metrics and averages of the tasks against plain formulas and torchmetrics."""

import math

import pytest
import torch

from starcli.errors import StarcliError
from starcli.evaluation.tasks.classification import CLASSIFICATION
from starcli.evaluation.tasks.multi_label import MULTI_LABEL_TASK, f1_scores
from starcli.evaluation.tasks.regression import REGRESSION_TASK, r_squared
from starcli.registry.tasks import METRICS, TASKS


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_regression_is_measured_as_by_torchmetrics() -> None:
    from torchmetrics.functional import mean_squared_error, r2_score  # 3 s, in one worker and not in all

    targets = 3 + 2 * drawn(50, 3)
    found = targets + drawn(50, 3, seed=1)
    for pieces in ([(found, targets)], list(zip(found.split(7), targets.split(7), strict=True))):
        scores = REGRESSION_TASK.score(pieces)
        assert scores.loss == pytest.approx(float(mean_squared_error(found, targets)))
        assert scores.r2 == pytest.approx(float(r2_score(found, targets)))
        assert (scores.rmse, scores.count) == (pytest.approx(math.sqrt(scores.loss)), 50)
    measures = REGRESSION_TASK.measures(found, targets)
    assert measures.values["mae"] == pytest.approx(float((found - targets).abs().mean()))
    assert float(REGRESSION_TASK.loss(found, targets)) == pytest.approx(scores.loss)


def test_r2_is_one_for_the_targets_zero_for_their_mean_and_none_where_nothing_varies() -> None:
    targets = drawn(9, 2)
    assert r_squared(targets, targets) == 1
    assert r_squared(targets.mean(0).expand_as(targets), targets) == pytest.approx(0, abs=1e-12)
    assert math.isnan(r_squared(targets, torch.ones(9, 2)))
    tenths = torch.full((37, 1), 0.1, dtype=torch.float64)  # whose mean is none of them
    assert r_squared(drawn(37, 2), torch.cat([drawn(37, 1, seed=2), tenths], 1)) > -10


def test_labels_are_measured_as_by_torchmetrics() -> None:
    from torchmetrics.functional.classification import (
        multilabel_auroc,
        multilabel_average_precision,
        multilabel_exact_match,
        multilabel_f1_score,
    )

    targets, logits = (drawn(60, 4) > 0.3).long(), drawn(60, 4, seed=1).round(decimals=1)  # ties
    values = MULTI_LABEL_TASK.measures(logits, targets.float()).values
    chances = logits.sigmoid()
    for kind in ("micro", "macro"):
        expected = multilabel_f1_score(chances + 1e-9, targets, 4, average=kind)
        assert values[f"{kind}_f1"] == pytest.approx(float(expected), abs=1e-6)
    assert values["auroc"] == pytest.approx(float(multilabel_auroc(chances, targets, 4)), abs=1e-6)
    precision = multilabel_average_precision(chances, targets, 4)
    assert values["average_precision"] == pytest.approx(float(precision), abs=1e-6)
    right = multilabel_exact_match(chances + 1e-9, targets, 4)
    assert values["subset_accuracy"] == pytest.approx(float(right), abs=1e-6)
    plain = -(targets * chances.log() + (1 - targets) * (1 - chances).log()).mean()
    assert values["loss"] == pytest.approx(float(plain))
    assert float(MULTI_LABEL_TASK.loss(logits, targets.double())) == pytest.approx(float(plain))


def test_means_are_of_numbers_and_of_probabilities() -> None:
    outputs = 4 * drawn(3, 5, 2)
    for count, mean in enumerate(REGRESSION_TASK.means(iter(outputs)), start=1):
        torch.testing.assert_close(mean, outputs[:count].mean(0))
    for count, mean in enumerate(MULTI_LABEL_TASK.means(iter(outputs)), start=1):
        torch.testing.assert_close(mean.sigmoid(), outputs[:count].sigmoid().mean(0))
    far = torch.tensor([[[-2000.0]], [[-1000.0]]], dtype=torch.float64)
    assert float(MULTI_LABEL_TASK.mean(iter(far))) == pytest.approx(-1000 - math.log(2))


def test_a_student_of_one_teacher_has_the_least_loss_as_the_teacher() -> None:
    """The gradient of the loss to teachers' mean prediction is 0 there."""
    teacher = drawn(6, 3)
    for task in (CLASSIFICATION, REGRESSION_TASK, MULTI_LABEL_TASK):
        student = teacher.clone().requires_grad_()
        [gradient] = torch.autograd.grad(task.loss_to(student, [teacher]), student)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_a_student_of_several_teachers_has_the_least_loss_at_their_mean_prediction() -> None:
    teachers = list(2 * drawn(3, 6, 4))
    means = {
        CLASSIFICATION: torch.stack([each.softmax(1) for each in teachers]).mean(0).log(),
        REGRESSION_TASK: torch.stack(teachers).mean(0),
        MULTI_LABEL_TASK: torch.stack([each.sigmoid() for each in teachers]).mean(0).logit(),
    }
    for task, mean in means.items():
        student = mean.clone().requires_grad_()
        [gradient] = torch.autograd.grad(task.loss_to(student, teachers), student)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)


@pytest.mark.parametrize("weights", [None, torch.arange(1.0, 7, dtype=torch.float64)])
def test_smoothed_labels_of_teachers_by_hand(weights: torch.Tensor | None) -> None:
    outputs, teachers = drawn(6, 4), list(drawn(2, 6, 4, seed=1))
    taught = 0.8 * torch.stack([each.softmax(1) for each in teachers]).mean(0) + 0.2 / 4
    each = -(taught * outputs.log_softmax(1)).sum(1)
    expected = each.mean() if weights is None else (weights * each).sum() / weights.sum()
    torch.testing.assert_close(
        CLASSIFICATION.loss_to(outputs, teachers, label_smoothing=0.2, weights=weights), expected
    )


def test_losses_of_drawn_targets_are_entropies_in_the_mean() -> None:
    """E[- log p(y)] of y ~ p is the entropy of p; of numbers with errors of variance 1 half of their count."""
    outputs = 2 * drawn(2, 3)
    chances, there = outputs.softmax(1), outputs.sigmoid()
    entropies = {
        CLASSIFICATION: -(chances * chances.log()).sum(),
        MULTI_LABEL_TASK: -(there * there.log() + (1 - there) * (1 - there).log()).sum(),
        REGRESSION_TASK: torch.tensor(outputs.numel() / 2),
    }
    for task, entropy in entropies.items():
        draws = torch.Generator().manual_seed(0)
        losses = torch.stack([task.drawn_loss(outputs, draws) for _ in range(4000)])
        assert float(losses.mean()) == pytest.approx(float(entropy), rel=0.03)
        again = task.drawn_loss(outputs, torch.Generator().manual_seed(0))
        assert torch.equal(again, losses[0])


def test_a_loss_that_is_large_is_the_mean_variance_of_numbers() -> None:
    targets = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert REGRESSION_TASK.loss_unit(targets) == 0.5  # (1 + 0) / 2
    assert REGRESSION_TASK.loss_unit(targets[:, 1:]) == 1  # nothing varies
    assert CLASSIFICATION.loss_unit(torch.tensor([0, 1])) == 1


def test_classes_are_scored_over_all_pieces_together() -> None:
    """Pieces of unequal sizes, of which each prediction counts alike."""
    found, labels = drawn(13, 4).log_softmax(1), torch.arange(13) % 4
    for pieces in ([(found, labels)], list(zip(found.split([1, 9, 3]), labels.split([1, 9, 3]), strict=True))):
        scores = CLASSIFICATION.score(pieces)
        assert scores.loss == pytest.approx(-float(found[torch.arange(13), labels].sum()) / 13, rel=1e-12)
        assert (scores.accuracy, scores.count) == (int((found.argmax(1) == labels).sum()) / 13, 13)


def test_labels_that_neither_occur_nor_are_predicted_have_an_f1_of_zero() -> None:
    """As scikit-learn has it, whose f1_score(..., zero_division=0) gives these."""
    chosen, true = torch.tensor([[True, False], [True, False]]), torch.tensor([[1, 0], [0, 0]])
    assert f1_scores(chosen, true) == {"micro_f1": pytest.approx(2 / 3), "macro_f1": pytest.approx(1 / 3)}
    nothing = torch.zeros(3, 2)
    assert f1_scores(nothing.bool(), nothing) == {"micro_f1": 0.0, "macro_f1": 0.0}


def test_what_other_tasks_do_not_have_is_refused() -> None:
    assert CLASSIFICATION.refuse_useless(temperature=2.0) is None
    for task in (REGRESSION_TASK, MULTI_LABEL_TASK):
        with pytest.raises(StarcliError, match="a temperature is for classes, and the task is"):
            task.refuse_useless(temperature="fit")
        with pytest.raises(StarcliError, match="label_smoothing is for classes"):
            task.refuse_useless(label_smoothing=0.1)
        assert set(task.metrics) <= set(METRICS)
        assert task.name in TASKS


def test_labels_predicted_by_no_number_are_wrong() -> None:
    """Of two examples one is right: the other's logits are no numbers, of a label that is there and one that is not."""
    found = torch.tensor([[2.0, -2.0], [math.nan, math.nan]], dtype=torch.float64)
    values = MULTI_LABEL_TASK.measures(found, torch.tensor([[1.0, 0.0], [1.0, 0.0]])).values
    assert (values["subset_accuracy"], values["micro_f1"]) == (0.5, 0.5)  # 2 TP / (2 TP + FP + FN) = 2 / (2 + 1 + 1)
    assert all(math.isnan(values[name]) for name in ("loss", "auroc", "average_precision"))
