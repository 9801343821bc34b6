"""The barrier on the straight line between two models.

B(A, B) = max_t  L((1 - t) A + t B) - ((1 - t) L(A) + t L(B))   over an even grid of t, ends included.
Entezari et al. 2021, eq. 2; Frankle et al. 2020.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starcli.alignment.measure import POINTS
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.frames import frame_of
from starcli.evaluation.scores import Scores

SPLITS = ("train", "validation", "test")
"""What a line may be measured on, in the order of results."""


def grid(points: int) -> tuple[float, ...]:
    """`points` even values of t from 0 to 1, both included: i / (points - 1); of the ends alone all barriers were 0."""
    if points < 3:
        raise StarcliError(f"a path needs at least 3 points, its ends and one between; found {points}")
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


def accuracy_barrier(ts: Sequence[float], accuracies: Sequence[float]) -> float:
    """Largest fall of the path's accuracy below the straight line between its ends, a share in [0, 1]."""
    return _largest([0.0 - rise for rise in rises(ts, accuracies)])


@dataclass(frozen=True)
class Curve:
    """Loss (nats) and accuracy (share) along a path, and what is read off them.

    `loss_max` is the largest loss on the path, `t_max` the t where the loss is largest.
    """

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    loss_barrier: float
    accuracy_barrier: float
    loss_max: float
    t_max: float

    @classmethod
    def of(cls, ts: Sequence[float], scores: Sequence[Scores]) -> "Curve":
        """The curve through `scores` at `ts`."""
        losses = tuple(s.loss for s in scores)
        accuracies = tuple(s.accuracy for s in scores)
        highest = _largest(losses)
        t_max = math.nan if math.isnan(highest) else ts[losses.index(highest)]
        return cls(losses, accuracies, loss_barrier(ts, losses), accuracy_barrier(ts, accuracies), highest, t_max)


@dataclass(frozen=True)
class Barrier:
    """A straight line from one model to another, measured at `t` on the training split and on another one.

    `curves["train"]` and `curves["test"]` (or `curves["validation"]`) have the losses, the accuracies and the barrier.
    """

    t: tuple[float, ...]
    curves: Mapping[str, Curve]

    def to_dict(self) -> dict[str, Any]:
        """`points`, `t` and the curves by split as plain lists and numbers: the keys of `starcli barrier --json`."""
        return {"points": len(self.t), "t": self.t, **{split: asdict(curve) for split, curve in self.curves.items()}}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Barrier":
        """Inverse of `to_dict`, also after JSON turned tuples into lists."""
        curves = {split: {**value[split]} for split in SPLITS if split in value}
        for curve in curves.values():
            curve |= {name: tuple(curve[name]) for name in ("loss", "accuracy")}
        return cls(tuple(value["t"]), {split: Curve(**curve) for split, curve in curves.items()})

    def to_frame(self) -> Any:
        """A pandas table with a row for each split and t: `split`, `t`, `loss`, `accuracy`."""
        return frame_of(
            {"split": split, "t": t, "loss": loss, "accuracy": accuracy}
            for split, curve in self.curves.items()
            for t, loss, accuracy in zip(self.t, curve.loss, curve.accuracy, strict=True)
        )


def walk(evaluator: Evaluator, a: PathEnd, b: PathEnd, ts: Sequence[float]) -> Barrier:
    """Measure the line from a to b at `ts`; ends whose scores are known are not measured again."""
    first, last = evaluator.end_scores(a), evaluator.end_scores(b)
    between = []
    for t in ts[1:-1]:
        evaluator.load_between(a, b, t)
        between.append(evaluator.scores())
        evaluator.progress.step(loss=between[-1]["train"].loss)
    scores = [first, *between, last]
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
    result = walk(evaluator, a, b, ts)
    evaluator.progress.finish()
    return result
