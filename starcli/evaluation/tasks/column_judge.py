"""Judge of predictions that have a column for each target, held together until they are measured."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from starcli.evaluation.tasks.task import Measures


@dataclass
class ColumnJudge:
    """Predictions (n, columns) and targets (n, columns), of which `measure` gives the metrics."""

    measure: Callable[[Tensor, Tensor], dict[str, float]]
    _parts: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, predictions: Tensor, targets: Tensor) -> None:
        """See `Judge.add`."""
        self._parts.append((predictions, targets))

    def measures(self) -> Measures:
        """See `Judge.measures`."""
        found, targets = (torch.cat(each) for each in zip(*self._parts, strict=True))
        return Measures(len(found), self.measure(found, targets))
