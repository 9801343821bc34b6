"""Tasks whose predictions have a column for each target, and are judged together, without confidence."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from starcli.evaluation.tasks.task import Measures, Pieces, Scores, Task
from starcli.runtime.device import float64


class ColumnTask(Task):
    """Predictions (N, columns) are the outputs themselves, targets are float32 (N, columns)."""

    @abstractmethod
    def mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss over examples and columns."""

    @abstractmethod
    def taught(self, teachers: Tensor) -> Tensor:
        """Targets (N, columns) of a student of the outputs (teachers, N, columns)."""

    def loss(
        self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None
    ) -> Tensor:
        """See `mean_loss`; there are no classes to smooth or to weigh."""
        return self.mean_loss(outputs, targets)

    def loss_to(
        self, outputs: Tensor, teachers: list[Tensor], *, label_smoothing: float = 0.0, weights: Tensor | None = None
    ) -> Tensor:
        """The loss to what they have `taught`."""
        return self.mean_loss(outputs, self.taught(torch.stack(teachers)))

    @abstractmethod
    def scores_of(self, found: Tensor, targets: Tensor) -> Scores:
        """Loss and metrics of predictions (N, columns), float64, for targets in their type."""

    @abstractmethod
    def all_measures(self, found: Tensor, targets: Tensor) -> dict[str, float]:
        """Every metric of predictions (N, columns), `loss` first."""

    def predictions(self, outputs: Tensor) -> Tensor:
        """The outputs themselves, in float64."""
        return float64(outputs)

    def score(self, pieces: Pieces) -> Scores:
        """Loss and metrics of all pieces together."""
        found, targets = (torch.cat(each) for each in zip(*pieces, strict=True))
        return self.scores_of(found, targets)

    def judge(self, temperature: float | None = None) -> "ColumnJudge":
        """All metrics; there is no temperature."""
        self.refuse_useless(temperature=temperature)
        return ColumnJudge(self)

    def metrics_of(self, found: Tensor, targets: Tensor) -> Mapping[str, float]:
        """The task's metrics by name."""
        return self.scores_of(found, targets).metrics


@dataclass
class ColumnJudge:
    """Predictions (n, columns) and targets (n, columns), held together until they are measured."""

    task: ColumnTask
    _parts: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, predictions: Tensor, targets: Tensor) -> None:
        """See `Judge.add`."""
        self._parts.append((predictions, targets))

    def measures(self) -> Measures:
        """See `Judge.measures`."""
        found, targets = (torch.cat(each) for each in zip(*self._parts, strict=True))
        return Measures(len(found), self.task.all_measures(found, targets))
