"""Which loss and which metric a row of results has, and what titles and sentences call them."""

from collections.abc import Mapping, Sequence
from typing import Any

from starcli.registry.tasks import CLASSES, METRICS, REGRESSION


def metric_in(row: Any) -> str:
    """The first of the metrics that a row has: accuracy, of numbers R2, of labels micro F1; without any, accuracy."""
    return next((name for name in METRICS if isinstance(row, Mapping) and name in row), "accuracy")


def loss_in(row: Mapping[str, Any]) -> Any:
    """The loss that a row has, called `nll` where predictions of classes are judged; None without any."""
    return row.get("nll", row.get("loss"))


def loss_title(task: str) -> str:
    """Name and unit of the loss of a task."""
    return f"loss ({unit_of_loss(task)})"


def unit_of_loss(task: str) -> str:
    """Unit of losses and barriers of a task: nats, of numbers their mean squared error."""
    return "MSE" if task == REGRESSION else "nats"


def loss_unit(rows: Sequence[Mapping[str, Any]]) -> str:
    """Unit of the losses in the rows of one command, some of which may not say their task."""
    return unit_of_loss(REGRESSION if any(row.get("task") == REGRESSION for row in rows) else CLASSES)
