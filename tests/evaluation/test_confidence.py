"""Confidence metrics against brute force, and against torchmetrics, the field's reference."""

import itertools
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from starcli.evaluation.calibration import calibration_error, pooled, reliability
from starcli.evaluation.confidence import (
    Confidence,
    Judged,
    aurc,
    auroc,
    confidence,
    entropy,
    mark_undecided,
)
from starcli.evaluation.tasks.classification import CLASSIFICATION

SCORES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40)


def columns(rows: list[tuple[int, bool]]) -> tuple[Tensor, Tensor]:
    return torch.tensor([s / 5 for s, _ in rows], dtype=torch.float64), torch.tensor([p for _, p in rows])


@settings(max_examples=200, deadline=None)
@given(SCORES)
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, positive = columns(rows)
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[positive].tolist() for b in scores[~positive].tolist()
    ]
    found = auroc(scores, positive)
    if pairs:
        assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    else:
        assert math.isnan(found)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_aurc_is_the_mean_over_all_orders_of_ties(rows: list[tuple[int, bool]]) -> None:
    scores, wrong = columns(rows)
    orders = [
        order
        for order in itertools.permutations(range(len(rows)))
        if all(rows[i][0] >= rows[j][0] for i, j in itertools.pairwise(order))
    ]
    areas = [
        sum(sum(rows[i][1] for i in order[: n + 1]) / (n + 1) for n in range(len(rows))) / len(rows) for order in orders
    ]
    assert aurc(scores, wrong) == pytest.approx(sum(areas) / len(areas), abs=1e-12)


def predictions(count: int = 500, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    labels = torch.where(
        torch.rand(count, generator=generator) < 0.7,
        logits.argmax(1),
        torch.randint(classes, (count,), generator=generator),
    )
    return logits.log_softmax(1), labels


def test_torchmetrics_agrees() -> None:
    from torchmetrics.functional.classification import binary_auroc, multiclass_calibration_error

    outputs, labels = predictions()
    found = confidence(outputs, labels)
    probabilities = outputs.exp()
    correct = (probabilities.argmax(1) == labels).long()
    assert found.auroc_max_prob == pytest.approx(float(binary_auroc(probabilities.amax(1), correct)), abs=1e-6)
    # torchmetrics wants scores in [0, 1]
    certainty = 1 - entropy(outputs) / math.log(5)
    assert found.auroc_entropy == pytest.approx(float(binary_auroc(certainty, correct)), abs=1e-6)
    ece = multiclass_calibration_error(probabilities, labels, num_classes=5, n_bins=15, norm="l1")
    assert found.ece == pytest.approx(float(ece), abs=1e-6)


def test_proper_scores_are_their_formulas() -> None:
    outputs, labels = predictions()
    found = confidence(outputs, labels)
    target = torch.nn.functional.one_hot(labels, 5).double()
    assert found.brier == pytest.approx(float((outputs.exp() - target).square().sum(1).mean()), rel=1e-12)
    assert found.nll == pytest.approx(float(torch.nn.functional.nll_loss(outputs, labels)), rel=1e-12)
    assert found.errors == int((outputs.argmax(1) != labels).sum())
    assert found.accuracy == (500 - found.errors) / 500
    assert "count" not in found.to_json()


def test_certainty_and_impossibility_give_no_nan() -> None:
    """Probabilities of exactly 0 and 1: the published entropy is NaN there."""
    outputs = torch.tensor([[0.0, -math.inf], [0.0, -math.inf], [math.log(0.5)] * 2], dtype=torch.float64)
    torch.testing.assert_close(entropy(outputs), torch.tensor([0.0, 0.0, math.log(2)], dtype=torch.float64))
    found = confidence(outputs, torch.tensor([0, 0, 1]))
    assert found.auroc_entropy == 1.0
    assert found.auroc_max_prob == 1.0
    assert math.isfinite(found.nll)
    assert found.nll == pytest.approx(math.log(2) / 3)


def test_without_errors_there_is_no_ranking() -> None:
    outputs, labels = predictions()
    found = confidence(outputs, outputs.argmax(1))
    assert math.isnan(found.auroc_max_prob)
    assert math.isnan(found.auroc_entropy)
    assert found.aurc == 0
    assert not found.decided
    assert confidence(outputs, labels).decided


def test_a_prediction_that_is_no_number_is_wrong_and_ranks_nothing() -> None:
    """Also where the first class, which is the largest of NaNs, is the label."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [math.nan, 1.0], [math.inf, 0.0]]).double()
    logs, labels = logits.log_softmax(1), torch.tensor([0, 1, 0, 0])
    found = confidence(logs, labels)
    assert (found.accuracy, found.errors) == (0.5, 2)
    assert CLASSIFICATION.score([(logs, labels)]).accuracy == 0.5
    values = (found.nll, found.brier, found.ece, found.auroc_max_prob, found.auroc_entropy, found.aurc)
    assert all(map(math.isnan, values))


def test_calibration_error_is_the_gap_by_hand() -> None:
    certain = torch.tensor([1.0, 1.0, 0.55, 0.55], dtype=torch.float64)
    correct = torch.tensor([True, False, True, True])
    assert calibration_error(certain, correct) == pytest.approx((2 * 0.5 + 2 * 0.45) / 4)
    assert calibration_error(torch.ones(3), torch.ones(3, dtype=torch.bool)) == 0


def test_reliability_is_numpys_histogram_and_sums_to_the_calibration_error() -> None:
    outputs, labels = predictions()
    certain, correct = outputs.exp().amax(1), outputs.argmax(1) == labels
    found = reliability(certain, correct)
    edges = np.linspace(0, 1, 16)
    counts, _ = np.histogram(certain.numpy(), edges)
    assert found.count == tuple(counts)
    for values, means in ((certain, found.confidence), (correct, found.accuracy)):
        sums, _ = np.histogram(certain.numpy(), edges, weights=values.double().numpy())
        np.testing.assert_allclose(
            np.array(means, float), np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), rtol=1e-12
        )
    gap = np.nansum(counts * np.abs(np.array(found.accuracy, float) - np.array(found.confidence, float))) / 500
    assert calibration_error(certain, correct) == pytest.approx(gap, rel=1e-12)
    whole = confidence(outputs, labels)
    assert whole.reliability == found
    assert Confidence.from_dict(json.loads(json.dumps(asdict(whole)))) == whole


def test_pooled_reliability_is_that_of_all_predictions() -> None:
    outputs, labels = predictions()
    certain, correct = outputs.exp().amax(1), outputs.argmax(1) == labels
    found = pooled([reliability(certain[:100], correct[:100]), reliability(certain[100:], correct[100:])])
    expected = reliability(certain, correct)
    assert found.count == expected.count
    for one, other in ((found.confidence, expected.confidence), (found.accuracy, expected.accuracy)):
        np.testing.assert_allclose(np.array(one, float), np.array(other, float), rtol=1e-12)


def test_rankings_of_few_errors_are_not_shown() -> None:
    row = {"errors": 29, "aurc": 0.1, "auroc_entropy": 0.5, "auroc_max_prob": 0.5, "nll": 1.0}
    assert mark_undecided({**row, "decided": True}) == {**row, "decided": True}
    found = mark_undecided({**row, "decided": False})
    assert (found["aurc"], found["nll"]) == ("not decided", 1.0)


def test_predictions_added_one_after_the_other_are_those_of_all_together() -> None:
    generator = torch.Generator().manual_seed(0)
    logs = torch.randn(601, 1000, generator=generator, dtype=torch.float64).log_softmax(1)
    labels = torch.where(torch.rand(601, generator=generator) < 0.5, logs.argmax(1), 0)
    for temperature in (None, 1.7):
        judged = Judged(temperature)
        for rows, wanted in zip(torch.split(logs, 7), torch.split(labels, 7), strict=True):
            judged.add(rows, wanted)
        assert judged.measures() == confidence(logs, labels, temperature)
    probabilities = logs.exp()
    found, true = confidence(logs, labels), torch.nn.functional.one_hot(labels, 1000)
    assert found.brier == pytest.approx(float((probabilities - true).square().sum(1).mean()), rel=1e-12)
    expected = torch.distributions.Categorical(logits=logs).entropy()
    torch.testing.assert_close(entropy(logs), expected, rtol=1e-12, atol=0)
