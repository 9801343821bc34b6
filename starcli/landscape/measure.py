"""Losses on a plane: a grid of points, the models on it, and the way of a curve.

A line of the grid that was measured is kept in the cache under all that decides it, so that a stopped command goes on
with what is missing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from starcli.alignment.measure import Measure
from starcli.barriers.bends import Bends, check_bends_fit
from starcli.barriers.line_barrier import grid
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.result_table import frame_of
from starcli.evaluation.tasks.task import Scores
from starcli.files.cache import hash_json, recall, remember
from starcli.landscape.plane import OnPlane, WeightPlane, mean_weights
from starcli.runtime.rehearsal import alike_if_rehearsed, few_if_rehearsed
from starcli.runtime.sharing import own_share, share_out
from starcli.workspace.stamp import stamps

if TYPE_CHECKING:
    from pandas import DataFrame

GRID = 21
"""Points on each side of a grid, where nothing is said."""

MOST_ON_SIDE = 1_000
"""Points on each side at most, a million in all."""

ON_PATH = 41
"""Points of a curve that are shown."""

GridValues = dict[str, dict[str, list[float]]]
"""By split and metric, the loss among them: a value for each point."""


@dataclass(frozen=True)
class Mark:
    """A model on the plane: its name, where it lies, its scores by split."""

    name: str
    place: OnPlane
    scores: Mapping[str, Scores]


@dataclass(frozen=True, repr=False)
class Landscape:
    """Losses (nats; of numbers mean squared errors) and metrics on a grid of a plane.

    x, y: the grid. values: by split, then `loss` and each metric, a list for each y, in it a value for each x.
    marks: the models on the plane. path: of a curve, its `form`, `bends`, places `x` and `y` of points on it, and
    `distance`, how far the farthest of them lies from the plane, which losses are of. about: what a result says beside:
    how models were aligned or directions drawn, and what all of it rests on.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]
    marks: Sequence[Mark]
    path: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        """Sizes and models, in one line."""
        models = ", ".join(mark.name for mark in self.marks)
        return f"Landscape({len(self.x)} x {len(self.y)} points around {models})"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain lists and numbers: the keys of `starcli plane --json`."""
        splits = {
            split: {
                **metrics,
                "models": [mark.scores[split].to_dict() for mark in self.marks],
            }
            for split, metrics in self.values.items()
        }
        names, places = [mark.name for mark in self.marks], [list(mark.place) for mark in self.marks]
        curve = {"curve": dict(self.path)} if self.path else {}
        found = {"models": names, "places": places, "x": list(self.x), "y": list(self.y), **splits, **curve}
        return {**found, "points": len(self.x), **self.about}

    def to_frame(self) -> "DataFrame":
        """A pandas table with a row for each split and point: `split`, `x`, `y`, `loss` and the metrics."""
        return frame_of(
            {"split": split, "x": x, "y": y, **{name: values[j][i] for name, values in metrics.items()}}
            for split, metrics in self.values.items()
            for j, y in enumerate(self.y)
            for i, x in enumerate(self.x)
        )


def check_plane(models: Sequence[Checkpoint], bends: Bends, margin: float) -> None:
    """StarcliError where models and bends make no plane, or a bend among the models is not that of the others."""
    if len(models) + bool(bends.models) < 3 or len(models) > 3:
        raise StarcliError(f"a plane goes through three models, or through two and a bend between; found {len(models)}")
    if not 0 <= margin < math.inf:
        raise StarcliError(f"the margin is a number from 0 up, found {margin:g}")
    check_bends_fit(models)


def plane_landscape(measure: Measure, models: Sequence[Checkpoint], *, margin: float, bends: Bends) -> Landscape:
    """The plane through three models, of which the others are aligned to the first; of two, by way of a curve's bend.

    margin: how far the grid goes beyond models and curve, as a share of their extent. They have passed `check_plane`;
    errors are those of `WeightPlane.through` and `Bends.check_ends`.
    """
    given, nodes = models, bends.tensors(measure.workspace, models[:2], measure.alignment, measure.progress)
    if len(models) == 3:
        third = measure.aligner.tensors_of_all(models[0], models[2:], progress=measure.progress)
    else:
        models, third = [*models, bends.models[0]], [nodes[1]]
    corners = [nodes[0], nodes[-1], *third]
    evaluator = measure.evaluator()
    evaluator.admit([*corners, *nodes[1:-1]])
    flat = evaluator.network
    plane = WeightPlane.through(*map(flat.flatten, corners))
    places = [plane.place(flat.flatten(corner)) for corner in corners]
    places[:2] = (0.0, 0.0), (places[1][0], 0.0)  # without rounding
    path = _path(plane, bends, [flat.flatten(node) for node in nodes]) if bends.models else {}
    shown = [*places, *zip(path.get("x", ()), path.get("y", ()), strict=True)]
    axes = [_axis([place[axis] for place in shown], margin, measure.points) for axis in (0, 1)]
    key = {"plane": [model.tensors_sha256 for model in models], **bends.settings()}
    on_grid = _Grid(measure, evaluator, plane, corners, lambda x, y: mean_weights(places, x, y), key)
    found = on_grid.landscape(axes[0], axes[1], [model.name for model in models], places, path)
    aligned = measure.alignment.facts((given[0], other) for other in given[1:])
    return replace(found, about={**aligned, **_origin(measure, [*given, *bends.models])})


def surface_landscape(measure: Measure, model: Checkpoint, *, radius: float, seed: int) -> Landscape:
    """The plane of two random directions at a model, from -radius to radius; see `WeightPlane.random`."""
    if not 0 < radius < math.inf:
        raise StarcliError(f"the radius is a number above 0, found {radius:g}")
    evaluator = measure.evaluator()
    plane = WeightPlane.random(evaluator.network, evaluator.network.flatten(model.tensors), seed)
    axis = tuple(radius * (2 * t - 1) for t in grid(measure.points, MOST_ON_SIDE))
    key = {"surface": model.tensors_sha256, "seed": seed}
    on_grid = _Grid(measure, evaluator, plane, [model.tensors], lambda x, y: (1.0,), key)
    found = on_grid.landscape(axis, axis, [model.name], [(0.0, 0.0)], {})
    return replace(found, about={"radius": radius, "seed": seed, **_origin(measure, [model])})


def _origin(measure: Measure, models: Sequence[Checkpoint]) -> dict[str, Any]:
    """What a plane of `models` rests on."""
    return {"statistics": "recalibrate", **stamps(measure.workspace)(models)}


def _axis(values: Sequence[float], margin: float, points: int) -> tuple[float, ...]:
    """An even grid over values, with a margin at both sides."""
    low, high = min(values), max(values)
    room = margin * (high - low)
    return tuple(low - room + t * (high - low + 2 * room) for t in grid(points, MOST_ON_SIDE))


def _path(plane: WeightPlane, bends: Bends, nodes: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Where a curve runs on the plane: a mean of vectors lies at the mean of their places."""
    weights = torch.tensor([bends.weights(t) for t in grid(ON_PATH)], dtype=torch.float64)
    x, y = (weights @ torch.tensor([plane.place(node) for node in nodes], dtype=torch.float64)).T.tolist()
    vectors = torch.stack([node.cpu().double() for node in nodes])
    distance = max(plane.distance(each @ vectors) for each in weights)
    return {"form": bends.form, "bends": [model.name for model in bends.models], "x": x, "y": y, "distance": distance}


@dataclass(frozen=True)
class _Grid:
    """How points of a plane are measured: buffers are those of `models`, averaged by `weights` of each place."""

    measure: Measure
    evaluator: Evaluator
    plane: WeightPlane
    models: Sequence[Model]
    weights: Callable[[float, float], Sequence[float]]
    key: Mapping[str, Any]

    def landscape(
        self,
        x: tuple[float, ...],
        y: tuple[float, ...],
        names: Sequence[str],
        places: Sequence[OnPlane],
        path: Mapping[str, Any],
    ) -> Landscape:
        """Measure the models and the grid, line by line; ranks share the lines."""
        progress = self.evaluator.progress
        known = share_out(y, lambda each: self._recall(x, each))  # so that all ranks miss the same
        missing = [each for each, found in zip(y, known, strict=True) if found is None]
        progress.start("plane", own_share(len(missing)) * len(x) + len(self.models))
        scores = [self.evaluator.end_scores(PathEnd(model)) for model in self.models]
        measured = alike_if_rehearsed(
            f"lines of {len(x)} points", missing, lambda own: share_out(own, lambda each: self._line(x, each))
        )
        progress.finish()
        found = dict(zip(missing, measured, strict=True))
        lines = [each if each is not None else found[at] for at, each in zip(y, known, strict=True)]
        values = {
            split: {name: [line[split][name] for line in lines] for name in lines[0][split]}
            for split in self.evaluator.splits
        }
        marks = [Mark(*each) for each in zip(names, places, scores, strict=True)]
        return Landscape(x, y, values, marks, path)

    def _line(self, x: Sequence[float], y: float) -> GridValues:
        """Measure the points (x, y) of one y, and keep them."""
        evaluator, found = self.evaluator, []
        for each in few_if_rehearsed(x, len(x)):
            with torch.no_grad():
                evaluator.network.parameters.copy_(self.plane.point(each, y))
            evaluator.load_buffers(self.models, self.weights(each, y))
            evaluator.recalibrate()
            found.append(evaluator.scores())
            evaluator.progress.step(loss=found[-1]["train"].loss)
        found += found[-1:] * (len(x) - len(found))  # of a rehearsal
        scores = {split: [point[split].to_dict() for point in found] for split in evaluator.splits}
        values = {split: {name: [s[name] for s in each] for name in each[0]} for split, each in scores.items()}
        if self.measure.is_kept:
            remember("planes", self._key(x, y), values)
        return values

    def _recall(self, x: Sequence[float], y: float) -> GridValues | None:
        return recall("planes", self._key(x, y)) if self.measure.is_kept else None

    def _key(self, x: Sequence[float], y: float) -> str:
        return hash_json([self.measure.settings(), dict(self.key), list(x), y])
