"""A task: what a network is trained for, what it is judged by, and how predictions of several are averaged."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import Generator, Tensor

from starcli.errors import StarcliError
from starcli.evaluation.confidence import Confidence
from starcli.evaluation.temperature import Temperature
from starcli.registry.entry import resolve
from starcli.registry.tasks import TASKS

if TYPE_CHECKING:
    from starcli.evaluation.column_predictions import AnyPredictions

Pieces = Iterable[tuple[Tensor, Tensor]]
"""Predictions (n, ...) in float64 as of `Task.predictions`, and their targets (n,) or (n, columns), piece by piece."""


@dataclass(frozen=True)
class Scores:
    """Mean loss over `count` predictions, and the task's metrics: `scores.accuracy`, of numbers `scores.r2`.

    >>> Scores(0.5, {"accuracy": 0.9}, 10).accuracy
    0.9
    """

    loss: float
    metrics: Mapping[str, float]
    count: int

    @property
    def quality(self) -> float:
        """The first metric, by which models are chosen: more is better."""
        return next(iter(self.metrics.values()))

    def to_dict(self) -> dict[str, float]:
        """Loss and metrics by name."""
        return {"loss": self.loss, **self.metrics}

    def __getattr__(self, name: str) -> float:
        """A metric by its name."""
        value: float = metric_of(self, name)
        return value


def metric_of(holder: object, name: str) -> Any:
    """The metric `name` of an object with `metrics`, as its attribute. Raises AttributeError as these do."""
    found = vars(holder).get("metrics", {})
    if name not in found:
        raise AttributeError(f"{type(holder).__name__} has no {name!r}")
    return found[name]


@dataclass(frozen=True)
class Measures:
    """Metrics of `count` predictions that have no confidence: `loss` and the task's own, by name."""

    count: int
    values: Mapping[str, float]

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self.values["loss"]

    def to_json(self) -> dict[str, Any]:
        """Metrics by name."""
        return dict(self.values)


class Judge(Protocol):
    """Predictions that are judged together, added piece by piece."""

    def add(self, predictions: Tensor, targets: Tensor) -> None:
        """Add predictions (n, ...) and their targets, both on the CPU."""

    def measures(self) -> Confidence | Measures:
        """All metrics of what was added."""


class Task(ABC):
    """A task: the loss that a network is trained by, its metrics, and how predictions are averaged.

    name: as of `--task`. metrics: names, in `starcli.registry.tasks.METRICS`, of
    what is measured beside the loss; the first is more where models are better. counts: whether that is a share of
    examples, which training counts in passing.
    """

    name: str
    metrics: tuple[str, ...]
    counts: bool = False
    has_confidence: bool = False

    @abstractmethod
    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """Mean loss of a network's outputs (R, C), float32, for targets as of `prediction_rows`: what is minimised.

        class_weights: (C,) float32, of the weighted mean that `training.class_weights` defines.
        """

    @abstractmethod
    def loss_to(
        self,
        outputs: Tensor,
        teachers: list[Tensor],
        *,
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Mean loss of outputs (R, C) where the mean prediction of teachers' outputs, (R, C) each, is the target.

        weights: (R,) float32, by which the mean is weighted.
        """

    @abstractmethod
    def drawn_loss(self, outputs: Tensor, draws: Generator) -> Tensor:
        """- log p(y | x) in nats, summed, of targets y that are drawn from what outputs (R, C) say of them."""

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Predictions of outputs (R, C), to be judged and averaged: (R, C) float64."""

    @abstractmethod
    def score(self, pieces: Pieces) -> Scores:
        """Loss and metrics of predictions, summed in float64."""

    @abstractmethod
    def means(self, predictions: Iterator[Tensor]) -> Iterator[Tensor]:
        """The mean prediction of the first 1, 2, 3, ... of several predictors, in the form of `predictions`."""

    @abstractmethod
    def judge(self, temperature: float | None = None) -> Judge:
        """A `Judge`, which takes all metrics of predictions, at a temperature."""

    @abstractmethod
    def predicted(self, outputs: Mapping[str, Tensor], **known: Any) -> "AnyPredictions":
        """Predictions of predictors, by name, for each example, with what is known of the examples."""

    def mean(self, predictions: Iterator[Tensor]) -> Tensor:
        """The last of `means`, over all predictors."""
        return deque(self.means(predictions), maxlen=1).pop()

    def measures(self, predictions: Tensor, targets: Tensor, temperature: float | None = None) -> Confidence | Measures:
        """All metrics of predictions, both on the CPU."""
        judge = self.judge(temperature)
        judge.add(predictions, targets)
        return judge.measures()

    def loss_unit(self, targets: Tensor) -> float:
        """A loss that is large: 1 nat, which of numbers their variance takes the place of."""
        return 1.0

    def refuse_useless(self, *, temperature: Temperature | None = None, **others: object) -> None:
        """Raise StarcliError for what this task has no use for: a temperature, or settings of training that are on."""
        said = {"a temperature": temperature, **others}
        useless = [name for name, value in said.items() if value and not self.has_confidence]
        if useless:
            raise StarcliError(f"{useless[0]} is for classes, and the task is {self.name}")


def task_named(name: str) -> Task:
    """The task called so. Raises StarcliError for another name."""
    found: Task = resolve(TASKS, "task", name)
    return found
