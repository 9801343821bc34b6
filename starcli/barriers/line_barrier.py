"""The barrier on the straight line between two models.

B(A, B) = max_t  L((1 - t) A + t B) - ((1 - t) L(A) + t L(B))   over an even grid of t, ends included.
Entezari et al. 2021, eq. 2; Frankle et al. 2020.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starcli.alignment.measure import POINTS
from starcli.barriers.path import Path
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.result_table import frame_of
from starcli.evaluation.tasks.task import Scores, metric_of
from starcli.registry.splits import SPLITS
from starcli.registry.tasks import METRICS
from starcli.runtime.rehearsal import few_if_rehearsed

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_POINTS = 1_000_000
"""Points of a path at most: all of them are held in memory, and a few thousand show any barrier."""


def grid(points: int, most: int = MOST_POINTS) -> tuple[float, ...]:
    """`points` even values of t from 0 to 1, both included: i / (points - 1); of the ends alone all barriers were 0.

    StarcliError for fewer than 3, or more than `most`.
    """
    if points < 3:
        raise StarcliError(f"a path needs at least 3 points, its ends and one between; found {points}")
    if points > most:
        raise StarcliError(f"at most {most:,} points are measured on one line; found {points:,}")
    return tuple(i / (points - 1) for i in range(points))


def _line(first: float, last: float, t: float) -> float:
    """(1 - t) first + t last, exact at both ends and wherever first = last."""
    if t < 0.5:
        return first + t * (last - first)
    return last - (1 - t) * (last - first)


def rises(ts: Sequence[float], values: Sequence[float]) -> tuple[float, ...]:
    """values(t) minus the straight line between the first and the last value, at each t: exactly 0 at the ends."""
    first, last = values[0], values[-1]
    return tuple(value - _line(first, last, t) for t, value in zip(ts, values, strict=True))


def _largest(values: Sequence[float]) -> float:
    """The maximum, NaN if there is any (Python's `max` depends on the order)."""
    return math.nan if any(math.isnan(v) for v in values) else max(values)


def loss_barrier(ts: Sequence[float], losses: Sequence[float]) -> float:
    """Largest rise of the path above the straight line between its ends, in nats; never below 0.

    max_t losses(t) - ((1 - t) losses[0] + t losses[-1]), with ts[0] = 0 and ts[-1] = 1.  Entezari et al. 2021, eq. 2.
    NaN where a loss is NaN or an end is infinite.
    """
    return _largest(rises(ts, losses))


def metric_barrier(ts: Sequence[float], values: Sequence[float], *, falls: bool = False) -> float:
    """Largest worsening of a metric below the straight line between its ends: of accuracy a share in [0, 1].

    falls: less of the metric is better; then it is the largest rise above the line.
    """
    return _largest(rises(ts, values) if falls else [0.0 - rise for rise in rises(ts, values)])


@dataclass(frozen=True)
class Curve:
    """Loss (nats; of numbers their mean squared error) at each `t` along a path, and what is read off it.

    metrics: values of the task's metrics along the path, also as attributes: `curve.accuracy` (shares), of numbers
    `curve.r2`. Their largest worsening is `curve.accuracy_barrier`.
    """

    t: tuple[float, ...]
    loss: tuple[float, ...]
    metrics: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, ts: Sequence[float], scores: Sequence[Scores]) -> "Curve":
        """The curve through `scores` at `ts`."""
        metrics = {name: tuple(s.metrics[name] for s in scores) for name in scores[0].metrics}
        return cls(tuple(ts), tuple(s.loss for s in scores), metrics)

    @cached_property
    def loss_barrier(self) -> float:
        """Largest rise of the loss above the straight line between its ends: see the function of this name."""
        return loss_barrier(self.t, self.loss)

    @cached_property
    def barriers(self) -> Mapping[str, float]:
        """Largest worsening of each metric."""
        return {name: getattr(self, f"{name}_barrier") for name in self.metrics}

    @cached_property
    def loss_max(self) -> float:
        """Largest loss on the path."""
        return _largest(self.loss)

    @property
    def t_max(self) -> float:
        """The t where the loss is largest."""
        return math.nan if math.isnan(self.loss_max) else self.t[self.loss.index(self.loss_max)]

    def __getattr__(self, name: str) -> Any:
        """Values of a metric by its name, or its barrier by `NAME_barrier`."""
        metric = name.removesuffix("_barrier")
        values = metric_of(self, metric)
        return values if metric == name else metric_barrier(self.t, values, falls=METRICS[metric].falls)

    def to_dict(self) -> dict[str, Any]:
        """`loss`, each metric, `loss_barrier`, `NAME_barrier` of each metric, `loss_max` and `t_max`."""
        drops = {f"{name}_barrier": value for name, value in self.barriers.items()}
        found = {"loss": self.loss, **self.metrics, "loss_barrier": self.loss_barrier, **drops}
        return {**found, "loss_max": self.loss_max, "t_max": self.t_max}

    @classmethod
    def from_dict(cls, ts: Sequence[float], value: Mapping[str, Any]) -> "Curve":
        """Inverse of `to_dict`, also after JSON turned tuples into lists and changed the order of keys."""
        metrics = {name: tuple(value[name]) for name in METRICS if name in value}
        return cls(tuple(ts), tuple(value["loss"]), metrics)


@dataclass(frozen=True, repr=False)
class Barrier:
    """A straight line or curve from one model to another, measured at `t` on the training split and on another one.

    `curves["train"]` and `curves["test"]` (or `curves["validation"]`) have the losses, the metrics and the barriers.
    about: what a result says beside: which models, how they were aligned and measured, and what all of it rests on.
    """

    t: tuple[float, ...]
    curves: Mapping[str, Curve]
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        """The barriers in one line: the losses would fill the screen."""
        found = ", ".join(f"{split} {curve.loss_barrier:.4g}" for split, curve in self.curves.items())
        return f"Barrier({found}, at {len(self.t)} points)"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain lists and numbers: the keys of `starcli barrier --json`."""
        curves = {split: curve.to_dict() for split, curve in self.curves.items()}
        return {**self.about, "points": len(self.t), "t": self.t, **curves}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Barrier":
        """Inverse of `to_dict`, also after JSON turned tuples into lists."""
        curves = {split: Curve.from_dict(value["t"], value[split]) for split in SPLITS if split in value}
        about = {name: each for name, each in value.items() if name not in ("points", "t", *curves)}
        return cls(tuple(value["t"]), curves, about)

    def to_frame(self) -> "DataFrame":
        """A pandas table with a row for each split and t: `split`, `t`, `loss` and the metrics, as `accuracy`."""
        return frame_of(
            {"split": split, "t": t, "loss": loss, **dict(zip(curve.metrics, metrics, strict=True))}
            for split, curve in self.curves.items()
            for t, loss, *metrics in zip(self.t, curve.loss, *curve.metrics.values(), strict=True)
        )


def walk(evaluator: Evaluator, path: Path, ts: Sequence[float]) -> Barrier:
    """Measure a path at `ts`; ends whose scores are known are not measured again."""
    first, last = evaluator.end_scores(path.nodes[0]), evaluator.end_scores(path.nodes[-1])
    between = []
    for t in few_if_rehearsed(ts[1:-1], len(ts) - 2):
        evaluator.load_mean(path.nodes, path.weights(t))
        between.append(evaluator.scores())
        evaluator.progress.step(loss=between[-1]["train"].loss)
    unseen = between[-1:] * (len(ts) - 2 - len(between))  # of a rehearsal
    scores = [first, *between, *unseen, last]
    return Barrier(tuple(ts), {split: Curve.of(ts, [each[split] for each in scores]) for split in evaluator.splits})


def as_end(model: Model | PathEnd) -> PathEnd:
    """`model` as the end of a line, whose scores are kept once they are known."""
    return model if isinstance(model, PathEnd) else PathEnd(model)


def measure_line(evaluator: Evaluator, a: Model | PathEnd, b: Model | PathEnd, *, points: int = POINTS) -> Barrier:
    """Measure the line from `a` to `b` at `points` even values of t, the models as they are (nothing is aligned).

    Pass a `PathEnd` where a model is the end of more than one path: its scores are measured once and kept in it.
    Raises StarcliError where the models do not fit the network or differ in buffers of which there is none between
    them, Interrupted when asked to stop.
    """
    ts = grid(points)
    a, b = as_end(a), as_end(b)
    evaluator.admit([a.model, b.model])
    evaluator.progress.start("barrier", points - (a.scores is not None) - (b.scores is not None))
    result = walk(evaluator, Path([a, b]), ts)
    evaluator.progress.finish()
    return result
