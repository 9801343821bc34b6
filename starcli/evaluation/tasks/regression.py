"""Regression: any number of columns of numbers, mean squared error, R2 and RMSE."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from starcli.evaluation.column_predictions import ColumnPredictions
from starcli.evaluation.tasks.column_task import ColumnTask
from starcli.evaluation.tasks.task import Scores
from starcli.registry.tasks import REGRESSION


def r_squared(predictions: Tensor, targets: Tensor) -> float:
    """Mean over columns of 1 - sum (y - p)^2 / sum (y - mean y)^2; (N, columns), float64.

    Columns whose targets are all equal do not count; NaN where there is no other.

    >>> r_squared(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [2.0], [4.0]]))
    0.7857142857142857
    """
    predictions, targets = predictions.double(), targets.double()
    spread = (targets - targets.mean(0)).square().sum(0)  # (columns,)
    varies = (targets != targets[:1]).any(0)  # not by the spread: a mean of equal numbers may be rounded
    if not bool(varies.any()):
        return math.nan
    errors = (targets - predictions).square().sum(0)
    return float((1 - errors[varies] / spread[varies]).mean())


class Regression(ColumnTask):
    """Numbers of each example; predictions are the outputs themselves."""

    name = REGRESSION
    metrics = ("r2", "rmse")

    def mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over examples and columns of (y - p)^2."""
        return mse_loss(outputs, targets)

    def taught(self, teachers: Tensor) -> Tensor:
        """The mean of the outputs."""
        return teachers.mean(0)

    def drawn_loss(self, outputs: Tensor, draws: Generator) -> Tensor:
        """(y - p)^2 / 2, summed, of y with normal errors of variance 1; what does not depend on p is left out."""
        errors = torch.randn(outputs.shape, generator=draws).to(outputs)
        return mse_loss(outputs, outputs.detach() + errors, reduction="sum") / 2

    def scores_of(self, found: Tensor, targets: Tensor) -> Scores:
        """Mean squared error, R2 and RMSE."""
        loss = float(self.mean_loss(found, targets.to(found.dtype)))
        return Scores(loss, {"r2": r_squared(found.cpu(), targets.cpu()), "rmse": math.sqrt(loss)}, len(found))

    def means(self, predictions: Iterator[Tensor]) -> Iterator[Tensor]:
        """The mean number."""
        total: Tensor | None = None
        for count, found in enumerate(predictions, start=1):
            total = found if total is None else total + found
            yield total / count

    def all_measures(self, found: Tensor, targets: Tensor) -> dict[str, float]:
        """MSE, R2, RMSE and mean absolute error of numbers (N, columns)."""
        scores = self.scores_of(found, targets)
        return {**scores.to_dict(), "mae": float((found - targets.double()).abs().mean())}

    def predicted(self, outputs: Mapping[str, Tensor], **known: Any) -> ColumnPredictions:
        """The predicted numbers of models, by name."""
        return ColumnPredictions.of(outputs, measure=self.metrics_of, **known)

    def loss_unit(self, targets: Tensor) -> float:
        """Mean over columns of the variance."""
        return float(targets.double().var(0, correction=0).mean()) or 1.0


REGRESSION_TASK = Regression()
"""Numbers of each example."""
