"""Sections of lines between models: barriers, stars, all pairs."""

import math
from collections.abc import Iterator, Sequence

from starcli.barriers.groups import REGULAR, TO_HELD_OUT, TO_SOURCES, TRAINED, UNALIGNED
from starcli.evaluation.result_table import at_key
from starcli.plots.bundles import MOST_MARKED, Bundle, bundles_of, common_words, ends_of, rise_above_chord
from starcli.plots.loss_words import loss_title, loss_unit
from starcli.plots.parts import model_name
from starcli.plots.rows import DrawnLine, parse_rows
from starcli.registry.splits import SPLITS
from starcli.registry.tasks import METRICS
from starcli.reports.checked_rows import GroupRow, PairsRow, SummedBarriers, pairs_row
from starcli.reports.curve_chart import ChartCurve, Labels, curve_chart
from starcli.reports.drawing import figure
from starcli.reports.findings import SavedRun
from starcli.reports.heat_map import heat_map
from starcli.reports.html import Markup
from starcli.reports.section import Section, folded_part, gallery, run_block, section_of
from starcli.reports.strip_chart import Strip, strip_chart
from starcli.reports.tables import TableColumn, table

GROUP_SLOTS = {
    REGULAR: 0,
    TO_HELD_OUT: 1,
    TO_SOURCES: 2,
    TRAINED: 3,
    UNALIGNED: 6,
}
"""Colours of the paper's groups of pairs."""

LOSSES = {
    "loss of the star": "star_loss.{}",
    "loss of the sources": "regular_loss.{}.mean",
    "barriers: regular-regular less star-held-out": "differences.{}.mean",
}
"""What is said of a star besides barriers, and its keys."""


def barrier_section(runs: Sequence[SavedRun]) -> Section | None:
    """Lines between models that were named, or of a star and its groups."""
    blocks = [_lines(run) for run in runs if run.of_type("barrier") and pairs_row(run.rows) is None]
    return section_of("barriers", "Loss barriers", *blocks) if blocks else None


def pairs_section(runs: Sequence[SavedRun]) -> Section | None:
    """Barriers between all pairs of models."""
    blocks = [_pairs(run, row) for run in runs if (row := pairs_row(run.rows)) is not None]
    return section_of("pairs", "All pairs", *blocks) if blocks else None


def _lines(run: SavedRun) -> Markup:
    lines = parse_rows(DrawnLine, {run.name: run.of_type("barrier")})[run.name]
    bundles, summaries = bundles_of({"": lines}), run.of_type("summary")
    said = ". ".join(common_words(bundles))
    groups = [GroupRow.model_validate(row) for row in summaries]
    grouped = [row for row in groups if row.group in {line.group for line in lines}]
    unit = loss_unit(run.rows)
    figures = [*_strips(run.name, lines, grouped, unit), *_curves(run.name, bundles)]
    each = table(run.of_type("barrier"), _line_columns(), f"barriers of the lines ({unit})")
    if len(lines) > 8:
        each = folded_part(f"Each of the {len(lines)} lines", each)
    sums = table(summaries, _summary_columns(), f"barriers ({unit}), means over pairs") if summaries else None
    return run_block(run, gallery(figures), sums, _losses(run), each, words=said)


def _losses(run: SavedRun) -> Markup | None:
    """Losses of a star and of its sources, and what the star gains on the way to others."""
    rows = [
        {"what": what, **{split: at_key(row, key.format(split)) for split in SPLITS}}
        for row in run.of_type("star")
        for what, key in LOSSES.items()
    ]
    columns = TableColumn("what", loss_unit(run.rows)), *(TableColumn(split, split, "loss") for split in SPLITS)
    return table(rows, columns, "losses of the star and of its sources") if rows else None


def _curves(name: str, bundles: Sequence[Bundle]) -> Iterator[Markup]:
    """A chart of the loss and one of the first metric for each split."""
    left, right = ends_of(bundles)
    ends = f", from {left} (t = 0) to {right} (t = 1)" if left else ""
    first = bundles[0].lines[0]
    names = {curve.metric for curve in first.curves.values()}
    titles = {"loss": loss_title(first.task), **{name: METRICS[name].title for name in names}}
    marked = len(bundles) <= MOST_MARKED and all(len(each.lines) == 1 for each in bundles)
    dotted = "dotted: the straight line between the ends" + ("; upright: the barrier" if marked else "")
    for split in SPLITS:
        for metric, label in titles.items():
            curves = [
                _curve(each, split, metric, number, marked=marked)
                for number, each in enumerate(bundles)
                if _measured(each, split)
            ]
            if curves:
                what = metric.capitalize() if metric in ("loss", "accuracy") else METRICS[metric].heading
                title = f"{what} along the lines, {split} split{ends}; {dotted}"
                least = 0.0 if metric == "loss" else None
                yield figure(
                    curve_chart(curves, Labels(title, "t", label), least=least), title, f"{name} {split} {metric}"
                )


def _measured(bundle: Bundle, split: str) -> bool:
    return any(split in line.curves for line in bundle.lines)


def _curve(bundle: Bundle, split: str, metric: str, number: int, *, marked: bool) -> ChartCurve:
    """The mean of a bundle's lines with its chord; their lowest and highest values, or of one line its barrier."""
    values = bundle.curves(split, metric)
    slot = GROUP_SLOTS.get(bundle.lines[0].group or "", number)
    mean, low, high = (each.tolist() for each in (values.mean(axis=0), values.min(axis=0), values.max(axis=0)))
    if len(values) > 1:
        return ChartCurve(bundle.label, slot, bundle.t.tolist(), mean, low, high, has_chord=True)
    rise = rise_above_chord(bundle.t, values[0], metric)
    place = int(rise.argmax()) if marked and 0 < rise.max() < math.inf else None
    return ChartCurve(bundle.label, slot, bundle.t.tolist(), mean, has_chord=True, marked=place)


def _strips(name: str, lines: Sequence[DrawnLine], summaries: Sequence[GroupRow], unit: str) -> Iterator[Markup]:
    """A chart of groups for each split, where there are groups; unaligned pairs would hide all differences."""
    aligned = [row for row in summaries if row.group != UNALIGNED] or summaries
    for split in SPLITS:
        strips = [_strip(row, getattr(row, split), lines, split) for row in aligned if getattr(row, split)]
        if any(strip.values for strip in strips):
            title = f"Barriers of each group, {split} split"
            note = "" if len(aligned) == len(summaries) else "; unaligned pairs are in the table alone"
            drawing = strip_chart(strips, title, f"barrier ({unit})")
            said = f"{title}: a dot for each pair, their mean as a bar with its 95% interval{note}"
            yield figure(drawing, said, f"{name} {split} groups")


def _strip(row: GroupRow, summed: SummedBarriers, lines: Sequence[DrawnLine], split: str) -> Strip:
    found = [line for line in lines if line.group == row.group and split in line.curves]
    values = [line.curves[split].loss_barrier for line in found]
    names = [f"{model_name(line.a)} to {model_name(line.b)}" for line in found]
    interval = summed.interval or (math.nan, math.nan)
    return Strip(row.group, GROUP_SLOTS.get(row.group, 4), values, names, summed.mean, interval)


def _pairs(run: SavedRun, row: PairsRow) -> Markup:
    """A heat map for each split, and the table of pairs."""
    import numpy as np

    names, unit = list(map(model_name, row.models)), loss_unit(run.rows)
    figures = []
    for split, rows in row.matrix.items() if len(names) > 1 else ():
        title = f"Loss barriers between all pairs, {split} split"
        caption = f"{title}; rows in the order of the tree, which joins models of low mean barriers first"
        figures.append(figure(heat_map(names, np.array(rows), title, unit), caption, f"{run.name} {split} pairs"))
    said = [f"alignment: {row.alignment}"] if row.alignment else []
    for tolerance, share in row.star_share.items():
        said.append(f"{share:.0%} of the models are stars at a tolerance of {tolerance} {unit}")
    each = table(run.of_type("barrier"), _line_columns(), f"barriers of all pairs ({unit})")
    every = folded_part(f"All pairs: {len(run.of_type('barrier'))}", each)
    return run_block(run, gallery(figures), every, words="; ".join(said))


def _line_columns() -> list[TableColumn]:
    columns = [TableColumn("a", "from"), TableColumn("b", "to"), TableColumn("group", "group")]
    for split in SPLITS:
        columns.append(TableColumn(f"{split}.loss_barrier", f"{split} barrier", "loss"))
        for name, each in METRICS.items():
            form = "percent" if each.share else "loss"
            columns.append(TableColumn(f"{split}.{name}_barrier", f"{split} {each.heading} {each.worsening}", form))
        columns.append(TableColumn(f"{split}.t_max", f"{split} top at t", "number"))
    return [*columns, TableColumn("alignment", "alignment", common=True)]


def _summary_columns() -> list[TableColumn]:
    columns = [TableColumn("group", "group"), TableColumn("count", "pairs", "count")]
    for split in SPLITS:
        columns.append(TableColumn(f"{split}.mean", f"{split} mean", "loss"))
        columns.append(TableColumn(f"{split}.std", "±", "loss"))
        columns.append(TableColumn(f"{split}.max", f"{split} highest", "loss"))
    return [*columns, TableColumn("alignment", "alignment", common=True)]
