"""Confidence of predictions: all metrics of predictions of classes, the ranking of errors among them.

AUROC and ECE are written out here (a dozen lines) rather than taken from torchmetrics, whose import takes longer than
everything else that `bma` does; the tests hold them to torchmetrics' values.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from starcli.evaluation.calibration import Reliability, calibration_error, reliability
from starcli.evaluation.temperature import scaled
from starcli.runtime.memory import row_slices

FEWEST_ERRORS = 30
"""Below this number of errors the ranking metrics are mostly noise."""

CONFIDENCE_METRICS = ("errors", "accuracy", "nll", "brier", "ece", "auroc_max_prob", "auroc_entropy", "aurc")
"""Metrics of predictions of classes."""

RANKING = ("auroc_max_prob", "auroc_entropy", "aurc")
"""Metrics of how well confidence tells errors from right answers."""


@dataclass(frozen=True)
class Confidence:
    """Metrics of predictions: accuracy, proper scores (nats; squared), calibration, and error ranking.

    The ranking metrics (`auroc_*`, higher is better; `aurc`, lower is better) are NaN where there is no error or
    nothing else. `decided` is false below 30 errors: print "not decided". `reliability` has what `ece` sums up.
    """

    count: int
    errors: int
    accuracy: float
    nll: float
    brier: float
    ece: float
    auroc_max_prob: float
    auroc_entropy: float
    aurc: float
    reliability: Reliability

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Confidence":
        """Inverse of `asdict`, also after JSON turned tuples into lists."""
        return cls(**{**value, "reliability": Reliability.from_dict(value["reliability"])})

    @property
    def decided(self) -> bool:
        """Whether there are enough errors for the ranking metrics to mean anything."""
        return self.errors >= FEWEST_ERRORS

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self.nll

    @property
    def values(self) -> dict[str, float]:
        """All metrics but the bins, as numbers."""
        return {name: float(getattr(self, name)) for name in CONFIDENCE_METRICS}

    def to_json(self) -> dict[str, Any]:
        """Metrics by name, without the count; `reliability` is a dictionary of lists."""
        values = {**asdict(self), "reliability": self.reliability.to_dict()}
        del values["count"]
        return values


def mark_undecided(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the ranking metrics in a row by "not decided" where there are too few errors (`decided` is false)."""
    return {**row, **({} if row.get("decided", True) else dict.fromkeys(RANKING, "not decided"))}


def entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy of predictions, - sum_c p_c log p_c in nats, with 0 log 0 = 0: (N, classes) -> (N,).

    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log())
    tensor([0.6931, 0.0000])
    """
    rows = log_probabilities.reshape(-1, log_probabilities.shape[-1])
    parts = [torch.special.entr(rows[some].exp()).sum(dim=1) for some in row_slices(rows)]
    return torch.cat(parts).view(log_probabilities.shape[:-1])


def _runs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Runs of equal numbers in sorted `values` (N,): the number of each one's run (N,), and the lengths of the runs."""
    _, group, lengths = torch.unique_consecutive(values, return_inverse=True, return_counts=True)
    return group, lengths


def auroc(scores: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half.

    (R - P (P + 1) / 2) / (P Q) with R the sum of the positives' average ranks, P positives and Q negatives (Mann and
    Whitney 1947); NaN without one of either, and where a score is NaN. scores: (N,) float; positive: (N,) bool. Exact
    in float64 for N below 10^7.

    >>> auroc(torch.tensor([0.9, 0.8, 0.3]), torch.tensor([True, False, True]))
    0.5
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives or bool(scores.isnan().any()):
        return math.nan
    ordered, order = scores.sort()
    group, lengths = _runs(ordered)
    last = lengths.cumsum(0).double()
    ranks = (last - (lengths - 1) / 2)[group]  # the average rank, from 1, of each run of equals
    total = float(ranks[positive[order]].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def aurc(confidence: Tensor, wrong: Tensor) -> float:
    """Area under the risk-coverage curve: the mean, over n, of the error rate among the n most confident.

    Among equally confident examples the order is random: its expectation is taken. NaN where a confidence is none.
    Geifman et al. 2019.

    >>> aurc(torch.tensor([0.9, 0.6]), torch.tensor([False, True]))
    0.25
    """
    if bool(confidence.isnan().any()):
        return math.nan
    risk = ranked(confidence, wrong).risk
    accepted = torch.arange(1, len(wrong) + 1, dtype=torch.float64)
    return float((risk.cumsum(0) / accepted).mean())


class Ranking(NamedTuple):
    """Examples from the most confident on, (N,) each, equal ones in runs.

    order: their places. risk: the share of errors in the run of each, which is `[first:last]` of `order`.
    """

    order: Tensor
    risk: Tensor
    first: Tensor
    last: Tensor


def ranked(confidence: Tensor, wrong: Tensor) -> Ranking:
    """Rank examples (N,) by confidence.

    >>> ranked(torch.tensor([0.6, 0.9, 0.6]), torch.tensor([True, False, False])).risk.tolist()
    [0.0, 0.5, 0.5]
    """
    ordered, order = confidence.sort(descending=True)
    group, lengths = _runs(ordered)
    last = lengths.cumsum(0)
    share = torch.zeros(len(lengths), dtype=torch.float64).index_add_(0, group, wrong[order].double()) / lengths
    return Ranking(order, share[group], (last - lengths)[group], last[group])


def confidence(log_probabilities: Tensor, labels: Tensor, temperature: float | None = None) -> Confidence:
    """All metrics of predictions (N, classes) as float64 log-probabilities, for labels (N,) int64, both on the CPU.

    temperature: that the predictions are brought to before.

    >>> predictions = torch.tensor([[0.8, 0.2], [0.4, 0.6]]).double()
    >>> found = confidence(predictions.log(), torch.tensor([0, 0]))
    >>> found.accuracy, round(found.nll, 4), round(found.brier, 2), found.decided
    (0.5, 0.5697, 0.4, False)
    """
    judged = Judged(temperature)
    judged.add(log_probabilities, labels)
    return judged.measures()


def predicts(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Whether predictions (N, classes) are right for labels (N,); those that are no numbers are not.

    >>> predicts(torch.tensor([[0.9, 0.1], [float("nan")] * 2]).log(), torch.tensor([0, 0]))
    tensor([ True, False])
    """
    return (log_probabilities.argmax(1) == labels) & ~log_probabilities[:, 0].isnan()  # one NaN makes a row of them


class Judged:
    """Predictions of which a few numbers each are kept, not the probabilities: all metrics of as many as there are.

    temperature: that they are brought to before.

    >>> judged = Judged()
    >>> judged.add(torch.tensor([[0.8, 0.2]]).double().log(), torch.tensor([0]))
    >>> judged.add(torch.tensor([[0.4, 0.6]]).double().log(), torch.tensor([0]))
    >>> judged.measures().accuracy
    0.5
    """

    def __init__(self, temperature: float | None = None) -> None:
        self.temperature = temperature
        self._parts: list[Judgement] = []

    def add(self, log_probabilities: Tensor, labels: Tensor) -> None:
        """Add predictions (n, classes) and their labels (n,), as of `confidence`."""
        for some in row_slices(log_probabilities):
            outputs, wanted = log_probabilities[some].double(), labels[some]
            if self.temperature is not None:
                outputs = scaled(outputs, self.temperature)
            correct = predicts(outputs, wanted)
            probabilities = outputs.exp().clamp_(max=1.0)  # a rounded log-probability may lie above 0
            true = outputs.gather(1, wanted[:, None]).squeeze(1)  # (n,)
            # sum_c (p_c - [c = y])^2 = sum_c p_c^2 - 2 p_y + 1
            brier = probabilities.square().sum(dim=1) - 2 * true.exp() + 1
            self._parts.append(Judgement(correct, probabilities.amax(dim=1), true, brier, entropy(outputs)))

    @property
    def each(self) -> "Judgement":
        """The figures of all predictions that were added."""
        return Judgement(*(torch.cat(values) for values in zip(*self._parts, strict=True)))

    def measures(self) -> Confidence:
        """The metrics of all that were added."""
        correct, highest, true, brier, uncertain = self.each
        count, errors = len(correct), int((~correct).sum())
        return Confidence(
            count=count,
            errors=errors,
            accuracy=(count - errors) / count,
            nll=-float(true.mean()),
            brier=float(brier.mean()),
            ece=calibration_error(highest, correct),
            auroc_max_prob=auroc(highest, correct),
            auroc_entropy=auroc(-uncertain, correct),
            aurc=aurc(highest, ~correct),
            reliability=reliability(highest, correct),
        )


class Judgement(NamedTuple):
    """Figures of each prediction, (N,) each, from which metrics follow: `true` is the log-probability of its label."""

    correct: Tensor
    highest: Tensor
    true: Tensor
    brier: Tensor
    entropy: Tensor
