"""Classification: softmax, cross-entropy in nats, accuracy; of examples, or of tokens, next ones or masked ones."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, nll_loss

from starcli.evaluation.confidence import Judged, predicts
from starcli.evaluation.predictions import Predictions
from starcli.evaluation.tasks.task import Pieces, Scores, Task
from starcli.registry.tasks import CLASSES, MASKED_TOKEN, NEXT_TOKEN
from starcli.runtime.device import float64


class Classification(Task):
    """One class of each prediction; predictions are log-probabilities."""

    metrics = ("accuracy",)
    counts = True
    has_confidence = True

    def __init__(self, name: str) -> None:
        self.name = name

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy of logits for classes (R,)."""
        return cross_entropy(outputs, targets, weight=class_weights, label_smoothing=label_smoothing)

    def loss_to(
        self,
        outputs: Tensor,
        teachers: list[Tensor],
        *,
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Mean cross-entropy with the mean of the teachers' softmax outputs."""
        mean = torch.stack([each.softmax(1) for each in teachers]).mean(0)
        if weights is None:
            return cross_entropy(outputs, mean, label_smoothing=label_smoothing)
        return weights @ cross_entropy(outputs, mean, reduction="none", label_smoothing=label_smoothing) / weights.sum()

    def drawn_loss(self, outputs: Tensor, draws: Generator) -> Tensor:
        """Cross-entropy with a class of each prediction drawn by its probabilities."""
        probabilities = float64(outputs.detach()).softmax(-1).cpu()
        drawn = torch.multinomial(probabilities, 1, generator=draws)[:, 0].to(outputs.device)
        return cross_entropy(outputs, drawn, reduction="sum")

    def predictions(self, outputs: Tensor) -> Tensor:
        """Log-probabilities."""
        return torch.log_softmax(float64(outputs), dim=1)

    def score(self, pieces: Pieces) -> Scores:
        """Mean cross-entropy and accuracy."""
        losses, correct, count = [], [], 0
        for found, labels in pieces:
            # kept on the device: asking for a number here would wait for each batch
            losses.append(nll_loss(found, labels, reduction="sum"))
            correct.append(predicts(found, labels).sum())
            count += len(labels)
        accuracy = int(torch.stack(correct).sum()) / count
        return Scores(float(torch.stack(losses).sum()) / count, {"accuracy": accuracy}, count)

    def means(self, predictions: Iterator[Tensor]) -> Iterator[Tensor]:
        """The log of the mean probability: added in log space, where what underflows still has its logarithm."""
        total: Tensor | None = None
        for count, found in enumerate(predictions, start=1):
            total = found if total is None else torch.logaddexp(total, found)
            yield total - math.log(count)

    def judge(self, temperature: float | None = None) -> Judged:
        """Accuracy, proper scores, calibration and the ranking of errors."""
        return Judged(temperature)

    def predicted(self, outputs: Mapping[str, Tensor], **known: Any) -> Predictions:
        """Probabilities, the most probable class, and entropy."""
        return Predictions.of(outputs, **known)


CLASSIFICATION = Classification(CLASSES)
"""A class of each example."""
CONTINUATION = Classification(NEXT_TOKEN)
"""The token that follows each token."""
MASKED = Classification(MASKED_TOKEN)
"""The token that is masked."""
