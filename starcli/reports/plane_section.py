"""Planes and surfaces of a page."""

from collections.abc import Sequence

from starcli.plots.loss_words import loss_title
from starcli.plots.plane_figure import plane_words, way_words
from starcli.plots.rows import DrawnPlane, parse_rows
from starcli.registry.splits import SPLITS
from starcli.reports.drawing import figure
from starcli.reports.findings import SavedRun
from starcli.reports.html import Markup
from starcli.reports.plane_map import plane_map
from starcli.reports.section import Section, gallery, run_block, section_of
from starcli.reports.tables import TableColumn, table

PLANES = ("plane", "surface")
"""Types of rows."""


def plane_section(runs: Sequence[SavedRun]) -> Section | None:
    """The loss on planes through models and around one, a map for each split."""
    blocks = [_planes(run) for run in runs if any(run.of_type(kind) for kind in PLANES)]
    return section_of("planes", "Planes in weight space", *blocks) if blocks else None


def _planes(run: SavedRun) -> Markup:
    rows = [row for kind in PLANES for row in run.of_type(kind)]
    planes: list[DrawnPlane] = parse_rows(DrawnPlane, {run.name: rows})[run.name]
    figures, marks = [], []
    for plane in planes:
        for split in plane.grids:
            title = f"{split} loss on the {plane.type} of {', '.join(plane.models)}"
            title += f"; line: {way_words(plane.curve)}" if plane.curve else ""
            drawing = plane_map(plane, split, title, loss_title(plane.task))
            figures.append(figure(drawing, title, f"{run.name} {title}"))
        for number, (name, (x, y)) in enumerate(zip(plane.models, plane.places, strict=True)):
            scores = {split: grid.models[number] if grid.models else {} for split, grid in plane.grids.items()}
            marks.append({"model": name, "x": x, "y": y, **scores})
    columns = [
        TableColumn("model", "model"), TableColumn("x", "x", "number"), TableColumn("y", "y", "number"),
        *(TableColumn(f"{split}.loss", f"{split} loss", "loss") for split in SPLITS),
    ]  # fmt: skip
    words = "; ".join(dict.fromkeys(filter(None, map(plane_words, planes))))
    return run_block(run, gallery(figures), table(marks, columns, "models on it"), words=words)
