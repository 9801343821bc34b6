"""Multi-label classification: any number of K labels of an example, binary cross-entropy, F1.

A label is predicted where its probability is 0.5 or more.  F1 = 2 TP / (2 TP + FP + FN), over all labels of all
examples together (micro) or as the mean over labels (macro); 0 where a label neither occurs nor is predicted, as
scikit-learn has it.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from starcli.evaluation.column_predictions import ColumnPredictions
from starcli.evaluation.confidence import auroc, ranked
from starcli.evaluation.tasks.column_task import ColumnTask
from starcli.evaluation.tasks.task import Scores
from starcli.registry.tasks import MULTI_LABEL


def f1_scores(chosen: Tensor, targets: Tensor) -> dict[str, float]:
    """Micro and macro F1 of predicted labels (N, K), bool, for true ones (N, K), 0 or 1.

    >>> f1_scores(torch.tensor([[True, False], [True, True]]), torch.tensor([[1, 0], [0, 1]]))
    {'micro_f1': 0.8, 'macro_f1': 0.8333333333333333}
    """
    true = targets > 0.5
    both, either = (chosen & true).sum(0).double(), (chosen.long() + true.long()).sum(0).double()  # (K,)
    each = torch.where(either > 0, 2 * both / either.clamp(min=1), torch.zeros_like(both))
    micro = float(2 * both.sum() / either.sum()) if float(either.sum()) else 0.0
    return {"micro_f1": micro, "macro_f1": float(each.mean())}


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Mean over positives of the precision among all that score as high or higher; NaN without positives.

    NaN too where a score is none. scores (N,) float, positive (N,) bool; of equal scores all count at once, as in
    scikit-learn.

    >>> average_precision(torch.tensor([0.9, 0.8, 0.3]), torch.tensor([True, False, True]))
    0.8333333333333333
    """
    if not bool(positive.any()) or bool(scores.isnan().any()):
        return math.nan
    ranking = ranked(scores, ~positive)
    hits = positive[ranking.order]
    precision = hits.cumsum(0)[ranking.last - 1].double() / ranking.last  # at the end of each one's run of equals
    return float(precision[hits].mean())


def _mean_over_labels(values: list[float]) -> float:
    """Mean of those that are numbers; NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _chosen(logits: Tensor, targets: Tensor) -> Tensor:
    """Predicted labels (N, K), bool; logits that are no numbers are wrong, whatever is true."""
    return torch.where(logits.isnan(), targets <= 0.5, logits >= 0)


class MultiLabel(ColumnTask):
    """K labels of each example, each there or not; predictions are logits."""

    name = MULTI_LABEL
    metrics = ("micro_f1", "macro_f1")

    def mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over examples and labels of - y log p - (1 - y) log(1 - p),  p = sigmoid of the output."""
        return binary_cross_entropy_with_logits(outputs, targets)

    def taught(self, teachers: Tensor) -> Tensor:
        """The mean probabilities."""
        return teachers.sigmoid().mean(0)

    def drawn_loss(self, outputs: Tensor, draws: Generator) -> Tensor:
        """Binary cross-entropy, summed over labels, with each label there or not as its probability says."""
        probabilities = outputs.detach().sigmoid().cpu()
        drawn = (torch.rand(probabilities.shape, generator=draws) < probabilities).to(outputs)
        return binary_cross_entropy_with_logits(outputs, drawn, reduction="sum")

    def scores_of(self, found: Tensor, targets: Tensor) -> Scores:
        """Binary cross-entropy and F1."""
        loss = float(self.mean_loss(found, targets.to(found.dtype)))
        return Scores(loss, f1_scores(_chosen(found, targets), targets), len(found))

    def means(self, predictions: Iterator[Tensor]) -> Iterator[Tensor]:
        """The logit of the mean probability: log sum_m p_m - log sum_m (1 - p_m)."""
        there: Tensor | None = None
        absent: Tensor | None = None
        for found in predictions:
            there = logsigmoid(found) if there is None else torch.logaddexp(there, logsigmoid(found))
            absent = logsigmoid(-found) if absent is None else torch.logaddexp(absent, logsigmoid(-found))
            yield there - absent

    def all_measures(self, found: Tensor, targets: Tensor) -> dict[str, float]:
        """Loss, F1, AUROC and average precision (means over labels), and the share of examples with all labels right.

        Of logits (N, K).
        """
        scores, true = self.scores_of(found, targets), targets > 0.5
        labels = range(targets.shape[1])
        ranks = [auroc(found[:, label], true[:, label]) for label in labels]
        precisions = [average_precision(found[:, label], true[:, label]) for label in labels]
        return {
            **scores.to_dict(),
            "auroc": _mean_over_labels(ranks),
            "average_precision": _mean_over_labels(precisions),
            "subset_accuracy": float((_chosen(found, targets) == true).all(1).double().mean()),
        }

    def predicted(self, outputs: Mapping[str, Tensor], **known: Any) -> ColumnPredictions:
        """Probabilities, and the labels of at least 0.5."""
        return ColumnPredictions.of(outputs, probabilities=True, measure=self.metrics_of, **known)


MULTI_LABEL_TASK = MultiLabel()
"""Labels of each example."""
