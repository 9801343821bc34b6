"""Straight lines between models: the barrier on them, points of them, and points around a model.

B(A, B) = max_t  L((1 - t) A + t B) - ((1 - t) L(A) + t L(B))   over an even grid of t, ends included.
Entezari et al. 2021, eq. 2; Frankle et al. 2020.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator, PathEnd, Scores
from starcli.runtime.distributed import own_share, share_out
from starcli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

Model = Mapping[str, Tensor]
Align = Callable[[Model, Model], Model]
"""align(reference, model) -> the model with its units permuted to match the reference."""

POINTS = 11


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
        losses = tuple(s.loss for s in scores)
        accuracies = tuple(s.accuracy for s in scores)
        highest = _largest(losses)
        t_max = math.nan if math.isnan(highest) else ts[losses.index(highest)]
        return cls(losses, accuracies, loss_barrier(ts, losses), accuracy_barrier(ts, accuracies), highest, t_max)


@dataclass(frozen=True)
class Barrier:
    """A straight path from one model to another, measured on the training and the test split."""

    t: tuple[float, ...]
    train: Curve
    test: Curve

    def to_json(self) -> dict[str, Any]:
        """`points`, `t`, `train` and `test` as plain lists and numbers."""
        return {"points": len(self.t), **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Barrier":
        """The inverse of `to_json`, also after JSON turned tuples into lists."""
        curves = [
            Curve(**{**value[split], "loss": tuple(value[split]["loss"]), "accuracy": tuple(value[split]["accuracy"])})
            for split in ("train", "test")
        ]
        return cls(tuple(value["t"]), *curves)


def _walk(evaluator: Evaluator, a: PathEnd, b: PathEnd, ts: Sequence[float]) -> Barrier:
    """Measure the path from a to b at `ts`; ends whose scores are known are not measured again."""
    first, last = evaluator.end_scores(a), evaluator.end_scores(b)
    start, stop = evaluator.vector(a.model, 0), evaluator.vector(b.model, 1)
    between = []
    for t in ts[1:-1]:
        evaluator.load_buffers([a.model, b.model], [1 - t, t])
        evaluator.load_between(start, stop, t)
        between.append(evaluator.scores())
        evaluator.progress.step(loss=between[-1]["train"].loss)
    scores = [first, *between, last]
    return Barrier(tuple(ts), Curve.of(ts, [s["train"] for s in scores]), Curve.of(ts, [s["test"] for s in scores]))


def _as_end(model: Model | PathEnd) -> PathEnd:
    return model if isinstance(model, PathEnd) else PathEnd(model)


def barrier(evaluator: Evaluator, a: Model | PathEnd, b: Model | PathEnd, *, points: int = POINTS) -> Barrier:
    """The path from `a` to `b` at `points` even values of t, the models as they are (nothing is aligned).

    Pass an `End` where a model is the end of more than one path: its scores are measured once and kept in it.
    Raises StarcliError where the models do not fit the network, Interrupted when asked to stop.
    """
    ts = grid(points)
    a, b = _as_end(a), _as_end(b)
    evaluator.progress.start("barrier", points - (a.scores is not None) - (b.scores is not None))
    result = _walk(evaluator, a, b, ts)
    evaluator.progress.finish()
    return result


class Store(Protocol):
    """Where measured pairs are kept between runs, by position; a plain `PairStore` forgets them."""

    def get(self, pair: tuple[int, int]) -> Barrier | None: ...

    def put(self, pair: tuple[int, int], value: Barrier) -> None: ...


class PairStore:
    """Keeps nothing."""

    def get(self, pair: tuple[int, int]) -> Barrier | None:
        return None

    def put(self, pair: tuple[int, int], value: Barrier) -> None:
        return None


def barriers(
    evaluator: Evaluator,
    models: Sequence[Model | PathEnd],
    pairs: Sequence[tuple[int, int]],
    *,
    points: int = POINTS,
    align: Align | None = None,
    store: Store | None = None,
    title: str = "barriers",
) -> list[Barrier]:
    """The paths of `pairs`, positions (a, b) in `models`; with `align`, b is first aligned to a.

    Every model is measured once however many pairs it belongs to. That holds for an aligned one too: permuted units
    compute the same function, so that only the rounding of its scores (1e-7) could differ. The ranks share the work.
    """
    ts, keep = grid(points), store or PairStore()
    ends = [_as_end(model) for model in models]
    found = dict(zip(pairs, share_out(pairs, keep.get), strict=True))  # so that all ranks miss the same
    missing = [pair for pair in pairs if found[pair] is None]
    unmeasured = sorted({position for pair in missing for position in pair if ends[position].scores is None})
    evaluator.progress.start(title, own_share(len(unmeasured)) + own_share(len(missing)) * (points - 2))

    def measure(pair: tuple[int, int]) -> Barrier:
        a, b = (ends[position] for position in pair)
        if align is not None:
            b = PathEnd(align(a.model, b.model), b.scores)
        measured = _walk(evaluator, a, b, ts)
        keep.put(pair, measured)
        return measured

    measured_ends = share_out(unmeasured, lambda position: evaluator.end_scores(ends[position]))
    for position, scores in zip(unmeasured, measured_ends, strict=True):
        ends[position].scores = scores
    found.update(zip(missing, share_out(missing, measure), strict=True))
    evaluator.progress.finish()
    return [value for pair in pairs if (value := found[pair]) is not None]


def all_pairs(count: int) -> list[tuple[int, int]]:
    """Every pair of `count` models once: (0, 1), (0, 2), ..., (count - 2, count - 1)."""
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def matrix(count: int, pairs: Sequence[tuple[int, int]], values: Sequence[float]) -> Tensor:
    """Values of pairs as a symmetric matrix (count, count), float64, 0 on the diagonal and NaN where not measured."""
    result = torch.full((count, count), math.nan, dtype=torch.float64)
    result.fill_diagonal_(0.0)
    for (i, j), value in zip(pairs, values, strict=True):
        result[i, j] = result[j, i] = value
    return result


def star_share(barriers: Tensor, epsilon: float) -> float:
    """The share of models whose barriers with all others are below `epsilon`, from their matrix (n, n).

    An empirical star model, as in section A.2.2 of the paper.
    """
    others = barriers.clone().fill_diagonal_(-math.inf)
    return (others < epsilon).all(dim=1).double().mean().item()


def _combined(evaluator: Evaluator, models: Sequence[Model], weights: Sequence[float]) -> None:
    """Put sum_i weights[i] models[i] into the network's parameters; two models exactly as `barrier` does."""
    network = evaluator.network
    if len(models) == 2:
        start, stop = evaluator.vector(models[0], 0), evaluator.vector(models[1], 1)
        with torch.no_grad():
            torch.lerp(start, stop, weights[1], out=network.parameters)
        return
    total = torch.zeros(network.parameters.shape, dtype=torch.float64)  # float64: many small terms
    for model, weight in zip(models, weights, strict=True):
        total.add_(network.flatten(model).cpu().double(), alpha=weight)
    with torch.no_grad():
        network.parameters.copy_(total)


def interpolate(
    workspace: "Workspace", models: Sequence[Model], weights: Sequence[float], *, progress: Progress = SILENT
) -> dict[str, Tensor]:
    """sum_i weights[i] models[i], with BatchNorm statistics re-estimated, as a full state dict on the CPU.

    Weights sum to 1 and may lie outside [0, 1]; for two models that is the line, (1 - t, t). Other float buffers are
    averaged like weights, integers come from the first model. Raises StarcliError for weights that do not sum to 1
    within 1e-6.
    """
    if len(models) != len(weights) or not models:
        raise StarcliError(f"{len(models)} models and {len(weights)} weights: there must be one weight a model")
    if not abs(math.fsum(weights) - 1) <= 1e-6:
        raise StarcliError(f"the weights sum to {math.fsum(weights):g}, expected 1")
    evaluator = Evaluator(workspace, progress=progress)
    _combined(evaluator, models, weights)
    evaluator.load_buffers(models, weights)
    evaluator.recalibrate()
    return evaluator.network.state()


def perturb(
    workspace: "Workspace",
    model: Model,
    radius: float,
    generator: torch.Generator,
    *,
    progress: Progress = SILENT,
) -> dict[str, Tensor]:
    """A uniform random point on the sphere of `radius` (L2, over learnable parameters) around `model`.

    model + radius * g / |g| with g standard normal; statistics re-estimated. Section D.5 of the paper.
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise StarcliError(f"the radius must be a number of at least 0, found {radius}")
    evaluator = Evaluator(workspace, progress=progress)
    network = evaluator.network
    direction = torch.randn(network.parameters.shape, generator=generator, dtype=torch.float64)
    direction *= radius / direction.norm()
    with torch.no_grad():
        network.parameters.copy_(network.flatten(model).cpu().double().add_(direction))
    evaluator.load_buffers([model], [1.0])
    evaluator.recalibrate()
    return network.state()
