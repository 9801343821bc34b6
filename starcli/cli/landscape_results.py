"""Results of `plane` and `surface`: one object for programs and figures, a table of the models for people."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starcli.cli.framework.columns import columns_of_split
from starcli.cli.framework.results import LOSS, Column, Results
from starcli.cli.shared_columns import LOSS_KIND, PRECISION

if TYPE_CHECKING:
    from starcli.alignment.measure import Measure
    from starcli.landscape.measure import Landscape
    from starcli.plots.rows import ResultRow

_COLUMNS = (
    Column("model", "model", "name"),
    Column("x", "x", ".3f", main=True),
    Column("y", "y", ".3f", main=True),
    Column("train.loss", "train loss", LOSS, main=True),
    *Column.of_metrics("train.{}", "train {}", optional=2),
    Column("test.loss", "test loss", LOSS, main=True),
    *Column.of_metrics("test.{}", "test {}", optional=1),
    Column("alignment", "alignment", common=True, usual="none"),
    Column("curve", "curve", common=True),
    PRECISION,
    LOSS_KIND,
)


def show_landscape(
    kind: str,
    found: "Landscape",
    measure: "Measure",
    results: Results,
    paint: "Callable[[Sequence[ResultRow]], None]",
) -> None:
    """Show a plane or surface, and draw it where a figure is asked for."""
    from starcli.plots.plane_figure import way_words
    from starcli.plots.rows import DrawnPath

    row = found.to_dict()
    if results.for_programs:
        results.add(kind, row, ())
    else:
        columns = columns_of_split(_COLUMNS, measure.split)
        shared: dict[str, Any] = {key: row[key] for key in ("alignment", "precision", "loss_kind") if key in row}
        if found.path:
            shared["curve"] = way_words(DrawnPath.model_validate(found.path))
        for mark in found.marks:
            scores: dict[str, Any] = {split: each.to_dict() for split, each in mark.scores.items()}
            place = {"model": mark.name, "x": mark.place[0], "y": mark.place[1]}
            results.add("models", {**place, **scores, **shared}, columns)
        for split, metrics in found.values.items():
            measure.progress.note(f"{split} loss on {len(found.x)} x {len(found.y)} points: {_range(metrics['loss'])}")
    paint([{"type": kind, **row}])


def _range(values: Sequence[Sequence[float]]) -> str:
    """The least and the largest of all values."""
    flat = [value for line in values for value in line]
    return f"{min(flat):.4f} to {max(flat):.4f}"
