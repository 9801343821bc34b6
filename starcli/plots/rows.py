"""Rows of results as figures read them: the JSON objects of the commands, or the same from Python."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError, model_validator

from starcli.errors import StarcliError
from starcli.plots.loss_words import metric_in
from starcli.registry.splits import SPLITS
from starcli.registry.tasks import CLASSES, MULTI_LABEL, REGRESSION

ResultRow = Mapping[str, Any]
"""A result with its `type`, and the keys of docs/contracts.md, JSON objects."""

Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    AfterValidator(lambda value: value if math.isfinite(value) else math.nan),
]
"""A number; NaN where it is not finite, which is null in JSON."""


def _place(value: float) -> float:
    if not abs(value) <= 1e100:
        raise ValueError("is no place in a figure")
    return value


def _rising(values: list[float]) -> list[float]:
    if any(after - before < 1e-100 for before, after in pairwise(values)):
        raise ValueError("does not rise")
    return values


OnAxis = Annotated[float, AfterValidator(_place)]
"""A number on an axis, finite."""
RisingAxis = Annotated[list[OnAxis], AfterValidator(_rising)]
"""Numbers on an axis, each above the one before."""


def as_object(row: Any) -> Mapping[str, Any]:
    """`row`, if it is a JSON object; ValueError for all else."""
    if not isinstance(row, Mapping):
        raise ValueError("expected an object")
    return row


class DrawnMetric(BaseModel):
    """What has the first metric of a row. FIELDS: those of the metric, by their keys in the row."""

    FIELDS: ClassVar[Mapping[str, str]]

    metric: str

    @model_validator(mode="before")
    @classmethod
    def _named(cls, row: Any) -> Any:
        """Take the metric that a row has."""
        name, row = metric_in(row), as_object(row)
        keys = {field: key.format(name) for field, key in cls.FIELDS.items()}
        return {"metric": name, **row, **{field: row[key] for field, key in keys.items() if key in row}}


class DrawnCurve(DrawnMetric):
    """Loss and the first metric along a line, and its barriers."""

    FIELDS = {"values": "{}", "metric_barrier": "{}_barrier"}

    loss: list[Number]
    values: list[Number]
    loss_barrier: Number
    metric_barrier: Number


def _by_split(row: BaseModel) -> dict[str, Any]:
    """What a row has for each split that was measured."""
    return {split: found for split in SPLITS if (found := getattr(row, split)) is not None}


class DrawnLine(BaseModel):
    """A row of `barrier`: the line or curve from a to b."""

    a: str = ""
    b: str = ""
    path: str = "line"
    bends: list[str] = []
    kinds: tuple[str, str] = ("model", "model")
    group: str | None = None
    alignment: str | None = None
    statistics: str = "recalibrate"
    renormalise: str = "recalibrate"
    task: str = CLASSES
    t: RisingAxis
    train: DrawnCurve | None = None
    validation: DrawnCurve | None = None
    test: DrawnCurve | None = None

    @property
    def curves(self) -> dict[str, DrawnCurve]:
        """The curve of each split that was measured."""
        return _by_split(self)

    @model_validator(mode="after")
    def _check(self) -> "DrawnLine":
        lengths = {len(values) for curve in self.curves.values() for values in (curve.loss, curve.values)}
        if len(self.t) < 2 or lengths != {len(self.t)}:
            raise ValueError(f"a curve has not the {len(self.t)} points of t")
        return self


class DrawnGrid(DrawnMetric):
    """Loss and the first metric on a grid: a list for each y, with a value for each x."""

    FIELDS = {"values": "{}"}

    loss: list[list[Number]]
    values: list[list[Number]]
    models: list[dict[str, Any]] | None = None


ON_PLANE = 1e-3
"""A curve lies on a plane where no point is farther from it than this part of the distance between the curve's ends."""


class DrawnPath(BaseModel):
    """The way of a curve on a plane; of one that leaves the plane, by up to `distance`, the nearest points."""

    form: str
    bends: list[str]
    x: list[OnAxis]
    y: list[OnAxis]
    distance: float = 0.0

    @model_validator(mode="after")
    def _check(self) -> "DrawnPath":
        if not len(self.x) == len(self.y) > 1:
            raise ValueError("a way has not as many x as y, at least two")
        return self

    @property
    def is_projected(self) -> bool:
        """Whether the curve leaves the plane, so that losses on its way are others than those of the curve."""
        return self.distance > ON_PLANE * math.dist((self.x[0], self.y[0]), (self.x[-1], self.y[-1]))


class DrawnPlane(BaseModel):
    """A row of `plane` or `surface`."""

    type: str = "plane"
    models: list[str]
    places: list[tuple[OnAxis, OnAxis]]
    x: RisingAxis
    y: RisingAxis
    alignment: str | None = None
    radius: float | None = None
    seed: int | None = None
    task: str = CLASSES
    curve: DrawnPath | None = None
    train: DrawnGrid | None = None
    validation: DrawnGrid | None = None
    test: DrawnGrid | None = None

    @property
    def grids(self) -> dict[str, DrawnGrid]:
        """The grid of each split that was measured."""
        return _by_split(self)

    @property
    def ratio(self) -> float:
        """How high the plane is, as a multiple of its width."""
        return (self.y[-1] - self.y[0]) / (self.x[-1] - self.x[0])

    @model_validator(mode="after")
    def _check(self) -> "DrawnPlane":
        sizes = {(len(lines), *map(len, lines)) for grid in self.grids.values() for lines in (grid.loss, grid.values)}
        if min(len(self.x), len(self.y)) < 2 or sizes != {(len(self.y), *[len(self.x)] * len(self.y))}:
            raise ValueError(f"a grid has not the {len(self.x)} x {len(self.y)} points of x and y")
        if any(len(grid.models) != len(self.models) for grid in self.grids.values() if grid.models is not None):
            raise ValueError(f"a split has not the scores of the {len(self.models)} models")
        if len(self.places) != len(self.models):
            raise ValueError(f"there are {len(self.models)} models at {len(self.places)} places")
        return self


class DrawnBins(BaseModel):
    """The bins of a reliability diagram."""

    confidence: list[Number]
    accuracy: list[Number]
    count: list[int]

    @model_validator(mode="after")
    def _check(self) -> "DrawnBins":
        if not len(self.confidence) == len(self.accuracy) == len(self.count) > 0:
            raise ValueError("its lists have different lengths")
        return self


CLASS_MEASURES = ("accuracy", "nll", "ece", "auroc_max_prob", "auroc_entropy", "aurc")
"""Metrics of averaged predictions of classes that are drawn."""


class DrawnPosterior(BaseModel):
    """A row of `bma`: metrics of averaged predictions."""

    posterior: str
    samples: int
    repeats: int
    decided: bool = True
    alignment: str | None = None
    renormalise: str = "recalibrate"
    selected_on: str | None = None
    split: str | None = None
    task: str = CLASSES
    sampling: str = "uniform"
    in_turn: bool = False
    temperature: Number = math.nan
    fitted_on: str | None = None
    measures: dict[str, Number]
    reliability: DrawnBins | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, row: Any) -> Any:
        """Take all metrics that a row has, with their deviations; those of classes are needed.

        Those at a temperature have `scaled.` before their names.
        """
        row = as_object(row)
        scaled = row.get("scaled")
        row = row | {f"scaled.{name}": value for name, value in (scaled if isinstance(scaled, dict) else {}).items()}
        found = {key: row[key] for name in row if (key := name.removesuffix("_std")) != name and key in row}
        task = row.get("task", CLASSES)
        needed = ("reliability", *(each for name in CLASS_MEASURES for each in (name, f"{name}_std")))
        if missing := [name for name in needed if task == CLASSES and name not in row]:
            raise ValueError(f"{missing[0]}: missing")
        return {**row, "measures": found | {f"{name}_std": row[f"{name}_std"] for name in found}}


def no_reliability(task: str) -> str | None:
    """Why there are no reliability diagrams of a task; None where there are."""
    without = task in (REGRESSION, MULTI_LABEL)
    return f"reliability diagrams are of classes, and the task is {task}" if without else None


class DrawnCalibration(BaseModel):
    """How well confidence and accuracy agree."""

    ece: Number
    reliability: DrawnBins


class DrawnModel(DrawnCalibration):
    """A row of `eval`: metrics of a model, also at a temperature where there is one."""

    model: str
    split: str
    temperature: Number = math.nan
    scaled: DrawnCalibration | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_classes(cls, row: Any) -> Any:
        """Refuse models of another task."""
        if words := no_reliability(as_object(row).get("task", CLASSES)):
            raise ValueError(words)
        return row


class DrawnScores(DrawnMetric):
    """A row of `fuse`: loss and the first metric of a model on a split."""

    FIELDS = {"value": "{}"}

    model: str
    split: str
    task: str = CLASSES
    loss: Number
    value: Number
    selected_on: str | None = None
    data_of: tuple[str, ...] = ()


class DrawnEpoch(BaseModel):
    """A line of a run's log."""

    epoch: OnAxis
    loss: Number
    accuracy: Number = math.nan


Drawn = TypeVar("Drawn", bound=BaseModel)


def parse_rows(kind: type[Drawn], results: Mapping[str, Sequence[ResultRow]]) -> dict[str, list[Drawn]]:
    """The rows of each file as `kind`. Raises StarcliError where a key is missing or is not what it should be."""
    return {name: [_parse(kind, row, name) for row in rows] for name, rows in results.items()}


def _parse(kind: type[Drawn], row: ResultRow, name: str) -> Drawn:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        what = [".".join(map(str, first["loc"])), first["msg"].lower()]
        if first["type"] == "value_error":  # one of ours, without what pydantic puts before it
            what[1] = str(first["ctx"]["error"])
        raise StarcliError(": ".join(filter(None, [name, "a result cannot be drawn", *what]))) from error
