"""Sentences on files and saved results."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath

from starcli.barriers.groups import REGULAR, TO_HELD_OUT, UNALIGNED
from starcli.checkpoints.lineage import Description
from starcli.errors import few, number_of
from starcli.evaluation.result_table import at_key
from starcli.plots.bundles import path_words
from starcli.plots.loss_words import loss_in, loss_unit, metric_in
from starcli.plots.parts import form_words, model_name
from starcli.plots.rows import DrawnLine, ResultRow, parse_rows
from starcli.registry.splits import SPLITS
from starcli.registry.tasks import METRICS
from starcli.reports.best_models import metric_words
from starcli.reports.checked_rows import pairs_row
from starcli.reports.findings import Findings, SavedRun, file_kind
from starcli.reports.html import Markup, element, together
from starcli.reports.tables import is_figure, words

SPLIT_ORDER = SPLITS[::-1]
"""Of the splits that were measured the first one is in the summary."""

AVERAGE_NAMES = {
    "star": "over {} points of the star domain",
    "ensemble": "over an ensemble of {} models",
    "single": "of single models",
}
"""What predictions are averaged over."""

MOST_LINES = 3
"""Of more lines their mean is said, and the extremes."""


def sentences_on_files(found: Findings) -> Iterator[str]:
    """How many files of which kinds, networks and data there are, and which stars grew."""
    if not found.checkpoints:
        return
    kinds: dict[str, int] = {}
    for _, each in found.checkpoints:
        kind = file_kind(each.metadata)
        kinds[kind] = kinds.get(kind, 0) + 1
    counted = ", ".join(number_of(count, kind) for kind, count in kinds.items())
    records = [each.metadata for _, each in found.checkpoints]
    networks = sorted({each.architecture.name for each in records if each.architecture})
    data = sorted({each.data.name for each in records if each.data})
    of = (f" of {', '.join(networks)}" if networks else "") + (f" on {', '.join(data)}" if data else "")
    yield f"{number_of(len(records), 'file')}{of}: {counted}."
    for name, file in found.checkpoints:
        yield from _growth(name, file)


def _growth(name: str, file: Description) -> Iterator[str]:
    """What a star grew from, and in how many epochs."""
    metadata, names = file.metadata, file.names()
    grown, epochs = (at_key(metadata.recipe or {}, key) for key in (f"{metadata.kind}.grown", "epochs"))
    if isinstance(grown, Mapping) and metadata.parents and metadata.parents[-1] in names:
        star = model_name(names[metadata.parents[-1]].name)
        new, dropped, anew = (words(grown.get(key)) for key in ("new", "dropped", "epochs_anew"))
        yield (
            f"{model_name(name)} grew from {star}: {new} of its sources are new, {dropped} were dropped, "
            f"epochs: {words(epochs)}, trained anew {anew}."
        )


def sentences_on(run: SavedRun) -> Iterator[Markup]:
    """Sentences about a run, each with the place on the page where the rest is."""
    for anchor, sentences in (
        ("barriers", _star_words),
        ("barriers", _line_words),
        ("pairs", _pair_words),
        ("averages", _average_words),
        ("other", _curve_words),
    ):
        for sentence in sentences(run):
            yield together(sentence, " ", element("a", run.name, href=f"#{anchor}", class_="source"))


def groups_of(run: SavedRun) -> tuple[str, Mapping[str, float]]:
    """Mean barrier of each group of a run, on the split that matters most."""
    rows = [row for row in run.of_type("summary") if "matrix" not in row]
    for split in SPLIT_ORDER:
        means = {str(row.get("group")): at_key(row, f"{split}.mean") for row in rows}
        known = {group: mean for group, mean in means.items() if is_figure(mean)}
        if known:
            return split, known
    return "", {}


def _star_words(run: SavedRun) -> Iterator[str]:
    split, means = groups_of(run)
    regular, held_out = means.get(REGULAR), means.get(TO_HELD_OUT)
    if regular is None or held_out is None:
        return
    before = f" (unaligned: {words(means[UNALIGNED], 'loss')})" if UNALIGNED in means else ""
    said = (
        f"On the straight line between two regular models the {split} loss rises by "
        f"{_amount(regular, run)} on average{before}; from the star to models that it never saw by "
        f"{words(held_out, 'loss')}"
    )
    if 0 < held_out < regular:
        yield f"{said}, {held_out / regular:.0%} of that."
    else:
        yield f"{said}: {'no barrier at all' if held_out <= 0 else 'the star is no nearer to them'}."


def _line_words(run: SavedRun) -> Iterator[str]:
    """Lines and curves between models that were named: each, or of many their mean and the extremes."""
    if pairs_row(run.rows) is not None or any("group" in row for row in run.of_type("barrier")):
        return
    lines = parse_rows(DrawnLine, {run.name: run.of_type("barrier")})[run.name] if run.of_type("barrier") else []
    split = next((split for split in SPLIT_ORDER if all(split in line.curves for line in lines)), "")
    found = [
        (line.curves[split].loss_barrier, line)
        for line in lines
        if split and is_figure(line.curves[split].loss_barrier)
    ]
    for rise, line in found if len(found) <= MOST_LINES else ():
        way = path_words(line) if line.bends else "straight line"
        ends = f"from {model_name(line.a)} to {model_name(line.b)}"
        yield f"On the {way} {ends} the {split} loss rises by {_amount(rise, run)}{_aligned(line)}."
    if len(found) > MOST_LINES:
        rises = [rise for rise, _ in found]
        mean, low, high = sum(rises) / len(rises), min(rises), max(rises)
        yield (
            f"On {len(found)} lines between models the {split} loss rises by {_amount(mean, run)} on average, by "
            f"{words(low, 'loss')} to {words(high, 'loss')}."
        )


def _aligned(line: DrawnLine) -> str:
    return f" (alignment: {line.alignment})" if line.alignment else ""


def _curve_words(run: SavedRun) -> Iterator[str]:
    """How low the loss is along a curve that was trained."""
    bends = [row for row in run.of_type("curve") if isinstance(row.get("output"), str)]
    if bends and is_figure(loss := at_key(bends[0], "curve.loss")):
        names = few([model_name(PurePath(row["output"]).name) for row in bends], 3)
        form = form_words(str(bends[0].get("form", "curve")))
        yield f"Along the {form} by way of {names} the training loss is {_amount(loss, run)} on average."


def _pair_words(run: SavedRun) -> Iterator[str]:
    row = pairs_row(run.rows)
    split = next((split for split in SPLIT_ORDER if row and split in row.matrix), None)
    if row is None or split is None:
        return
    pairs = [
        (value, model_name(row.models[i]), model_name(row.models[j]))
        for i, line in enumerate(row.matrix[split])
        for j, value in enumerate(line)
        if j < i and is_figure(value)
    ]
    if pairs:
        (low, a, b), (high, c, d) = min(pairs), max(pairs)
        mean = sum(value for value, _, _ in pairs) / len(pairs)
        yield (
            f"The {split} barriers between all {len(row.models)} models are {_amount(mean, run)} on average, "
            f"from {words(low, 'loss')} ({a} and {b}) to {words(high, 'loss')} ({c} and {d})."
        )


def _average_words(run: SavedRun) -> Iterator[str]:
    """Each posterior with its largest number of models."""
    rows = [row for row in run.of_type("bma") if is_figure(loss_in(row)) and is_figure(row.get(metric_in(row)))]
    best: dict[str, ResultRow] = {}
    for row in sorted(rows, key=lambda row: -int(row["samples"])):
        best.setdefault(row["posterior"], row)
    if best:
        split = next(iter(best.values())).get("split", "")
        parts = [
            f"{AVERAGE_NAMES.get(name, name).format(row['samples'])} {_amount(loss_in(row), run)} "
            f"({METRICS[metric].heading} {metric_words(metric, row[metric])})"
            for name, row in best.items()
            for metric in [metric_in(row)]
        ]
        yield f"The {split} loss of averaged predictions: {'; '.join(parts)}."


def _amount(loss: float, run: SavedRun) -> str:
    """A loss or barrier of a run with its unit."""
    unit = loss_unit(run.rows)
    return f"{words(loss, 'loss')} {unit if unit == 'nats' else f'({unit})'}"
