"""The beginning of a page: the main numbers, and what they say, in plain words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from starcli.barriers.groups import UNALIGNED
from starcli.plots.parts import model_name
from starcli.plots.rows import ResultRow, loss_in, loss_unit, metric_in
from starcli.registry.tasks import METRICS
from starcli.reports.best_models import BestModel, best_models, metric_words
from starcli.reports.checked_rows import pairs_row
from starcli.reports.findings import Findings, SavedRun
from starcli.reports.html import Markup, element, together
from starcli.reports.tables import at_key, is_figure, words

SPLIT_ORDER = ("test", "validation", "train")
"""Of the splits that were measured the first one is in the summary."""

AVERAGE_NAMES = {
    "star": "over {} points of the star domain",
    "ensemble": "over an ensemble of {} models",
    "single": "of single models",
}
"""What predictions are averaged over."""

CHOSEN = "What is best was chosen on the test split, so that its figures there are a little too good."
"""What is said of the best models."""

MOST_TILES = 6
"""Largest number of numbers that stand out."""


@dataclass(frozen=True)
class KeyNumber:
    """One of the main numbers: what it is of, the number, what it stands beside."""

    what: str
    value: str
    beside: str


def summary(found: Findings) -> Markup:
    """The main numbers and a sentence about each part of the page."""
    best = best_models(found)
    numbers = [each for run in found.runs for each in _of_star(run)] + [each for one in best for each in _of_best(one)]
    tiles = element("div", *map(_tile, numbers[:MOST_TILES]), class_="tiles") if numbers else None
    sentences = [*_of_files(found), *(each for run in found.runs for each in _of_run(run))]
    chosen = [each.sentence() for each in best if each.count > 1]
    sentences += [*chosen, CHOSEN] if chosen else []
    return together(tiles, element("ul", *(element("li", each) for each in sentences), class_="summary"))


def _tile(number: KeyNumber) -> Markup:
    return element(
        "div", element("div", number.what, class_="what"), element("div", number.value, class_="value"),
        element("div", number.beside, class_="beside"), class_="tile",
    )  # fmt: skip


def _of_files(found: Findings) -> Iterator[str]:
    """How many files of which kinds, networks and data there are."""
    if not found.checkpoints:
        return
    kinds: dict[str, int] = {}
    for _, each in found.checkpoints:
        kinds[each.metadata.kind] = kinds.get(each.metadata.kind, 0) + 1
    counted = ", ".join(f"{count} {_plural(kind, count)}" for kind, count in kinds.items())
    records = [each.metadata for _, each in found.checkpoints]
    networks = sorted({each.architecture.name for each in records if each.architecture})
    data = sorted({each.data.name for each in records if each.data})
    of = (f" of {', '.join(networks)}" if networks else "") + (f" on {', '.join(data)}" if data else "")
    yield f"{len(records)} file{'s' if len(records) > 1 else ''}{of}: {counted}."


def _plural(kind: str, count: int) -> str:
    """A kind of files in words."""
    return f"{'fused model' if kind == 'fused' else kind}{'s' if count > 1 else ''}"


def _of_run(run: SavedRun) -> Iterator[Markup]:
    """Sentences about a run, each with the place on the page where the rest is."""
    for anchor, sentences in (("barriers", _star_words), ("pairs", _pair_words), ("averages", _average_words)):
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


def _of_star(run: SavedRun) -> Iterator[KeyNumber]:
    """Barriers between regular models, and from the star to models that it never saw."""
    split, means = groups_of(run)
    if {"regular-regular", "star-held-out"} <= means.keys():
        between = f"mean {split} barrier, {loss_unit(run.rows)}"
        yield KeyNumber("regular to regular", words(means["regular-regular"], "loss"), between)
        yield KeyNumber("star to held-out", words(means["star-held-out"], "loss"), between)


def _star_words(run: SavedRun) -> Iterator[str]:
    split, means = groups_of(run)
    regular, held_out = means.get("regular-regular"), means.get("star-held-out")
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


def _of_best(best: BestModel) -> Iterator[KeyNumber]:
    beside = f", {best.data}" if best.data else ""
    quality, loss = metric_words(best.best.metric, best.best.quality), words(best.least_loss.loss, "loss")
    yield KeyNumber(f"best test {best.heading}", quality, model_name(best.best.name) + beside)
    yield KeyNumber("lowest test loss", loss, model_name(best.least_loss.name) + beside)
