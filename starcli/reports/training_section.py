"""Section of training: loss and accuracy of runs by epoch, as their logs have them."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from starcli.plots.rows import DrawnEpoch, parse_rows
from starcli.reports.curve_chart import ChartCurve, Labels, curve_chart
from starcli.reports.drawing import figure
from starcli.reports.findings import SavedRun
from starcli.reports.html import Markup, element
from starcli.reports.section import Section, gallery, section_of

LOGGED = (("loss", "loss (nats)", 1), ("accuracy", "accuracy (%)", 100))
"""What is drawn of each epoch, the label of its axis, and the factor that makes it that."""


def training_section(logs: Sequence[SavedRun]) -> Section | None:
    """Curves by epoch, those of runs in one directory together."""
    parsed = parse_rows(DrawnEpoch, {log.name: log.of_type("epoch") for log in logs})
    places: dict[str, dict[str, list[DrawnEpoch]]] = {}
    for name, rows in parsed.items():
        if rows:
            place = PurePath(name).parent.as_posix()
            places.setdefault("" if place == "." else place, {})[PurePath(name).name] = rows
    if not places:
        return None
    words = "On the augmented batches of training, as the runs logged them: for a star on the lines to its sources."
    blocks = [_block(place, runs) for place, runs in places.items()]
    return section_of("training", "Training", element("p", words, class_="note"), *blocks)


def _block(place: str, runs: Mapping[str, Sequence[DrawnEpoch]]) -> Markup:
    figures = []
    counted = any(row.accuracy == row.accuracy for rows in runs.values() for row in rows)  # not of every task
    for key, label, factor in LOGGED if counted else (("loss", "loss", 1),):
        curves = [
            ChartCurve(name, slot, [row.epoch for row in rows], [factor * getattr(row, key) for row in rows])
            for slot, (name, rows) in enumerate(runs.items())
        ]
        title = f"Training {key} by epoch"
        drawing = curve_chart(curves, Labels(title, "epoch", label), whole=True, log=key == "loss")
        figures.append(figure(drawing, title, f"{place} training {key}".strip()))
    heading = element("h3", place) if place else None
    return element("section", heading, gallery(figures), class_="run")
