"""Rows of results as figures read them: the JSON objects of the commands, or the same from Python."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError, model_validator

from starcli.errors import StarcliError

ResultRow = Mapping[str, Any]
"""A result with its `type`, and the keys of docs/architecture.md, JSON objects."""

Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    AfterValidator(lambda value: value if math.isfinite(value) else math.nan),
]
"""A number; NaN where it is not finite, which is null in JSON."""


class DrawnCurve(BaseModel):
    """Loss and accuracy along a line, and its barriers."""

    loss: list[Number]
    accuracy: list[Number]
    loss_barrier: Number
    accuracy_barrier: Number


class DrawnLine(BaseModel):
    """A row of `barrier`: the line from a to b."""

    a: str = ""
    b: str = ""
    kinds: tuple[str, str] = ("model", "model")
    group: str | None = None
    alignment: str | None = None
    statistics: str = "recalibrate"
    renormalise: str = "recalibrate"
    t: list[float]
    train: DrawnCurve | None = None
    validation: DrawnCurve | None = None
    test: DrawnCurve | None = None

    @property
    def curves(self) -> dict[str, DrawnCurve]:
        """The curve of each split that was measured."""
        found = {split: getattr(self, split) for split in ("train", "validation", "test")}
        return {split: curve for split, curve in found.items() if curve is not None}

    @model_validator(mode="after")
    def _check(self) -> "DrawnLine":
        lengths = {len(values) for curve in self.curves.values() for values in (curve.loss, curve.accuracy)}
        if len(self.t) < 2 or lengths != {len(self.t)}:
            raise ValueError(f"a curve has not the {len(self.t)} points of t")
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


class DrawnPosterior(BaseModel):
    """A row of `bma`: metrics of averaged predictions."""

    posterior: str
    samples: int
    repeats: int
    decided: bool
    alignment: str | None = None
    renormalise: str = "recalibrate"
    selected_on: str | None = None
    split: str | None = None
    auroc_max_prob: Number
    auroc_max_prob_std: Number
    auroc_entropy: Number
    auroc_entropy_std: Number
    ece: Number
    ece_std: Number
    nll: Number
    nll_std: Number
    accuracy: Number
    accuracy_std: Number
    aurc: Number
    aurc_std: Number
    reliability: DrawnBins


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


class DrawnScores(BaseModel):
    """A row of `fuse`: loss and accuracy of a model on a split."""

    model: str
    split: str
    loss: Number
    accuracy: Number
    selected_on: str | None = None


class DrawnEpoch(BaseModel):
    """A line of a run's log."""

    epoch: float
    loss: Number
    accuracy: Number


Drawn = TypeVar("Drawn", bound=BaseModel)


def parse_rows(kind: type[Drawn], results: Mapping[str, Sequence[ResultRow]]) -> dict[str, list[Drawn]]:
    """The rows of each file as `kind`. Raises StarcliError where a key is missing or is not what it should be."""
    return {name: [_parse(kind, row, name) for row in rows] for name, rows in results.items()}


def _parse(kind: type[Drawn], row: ResultRow, name: str) -> Drawn:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "row"
        source = f"{name}: " if name else ""
        raise StarcliError(f"{source}a result cannot be drawn: {where}: {first['msg'].lower()}") from error
