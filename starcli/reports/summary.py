"""The beginning of a page: the main numbers, and what they say, in plain words."""

from collections.abc import Iterator
from dataclasses import dataclass

from starcli.barriers.groups import REGULAR, TO_HELD_OUT
from starcli.plots.loss_words import loss_unit
from starcli.plots.parts import model_name
from starcli.reports.best_models import BestModel, best_models, metric_words
from starcli.reports.findings import Findings, SavedRun
from starcli.reports.html import Markup, element, together
from starcli.reports.sentences import groups_of, sentences_on, sentences_on_files
from starcli.reports.tables import words

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
    sentences = [*sentences_on_files(found), *(each for run in found.runs for each in sentences_on(run))]
    chosen = [each.sentence() for each in best if each.count > 1]
    sentences += [*chosen, CHOSEN] if chosen else []
    return together(tiles, element("ul", *(element("li", each) for each in sentences), class_="summary"))


def _tile(number: KeyNumber) -> Markup:
    return element(
        "div", element("div", number.what, class_="what"), element("div", number.value, class_="value"),
        element("div", number.beside, class_="beside"), class_="tile",
    )  # fmt: skip


def _of_star(run: SavedRun) -> Iterator[KeyNumber]:
    """Barriers between regular models, and from the star to models that it never saw."""
    split, means = groups_of(run)
    if {REGULAR, TO_HELD_OUT} <= means.keys():
        between = f"mean {split} barrier, {loss_unit(run.rows)}"
        yield KeyNumber("regular to regular", words(means[REGULAR], "loss"), between)
        yield KeyNumber("star to held-out", words(means[TO_HELD_OUT], "loss"), between)


def _of_best(best: BestModel) -> Iterator[KeyNumber]:
    beside = f", {best.data}" if best.data else ""
    quality, loss = metric_words(best.best.metric, best.best.quality), words(best.least_loss.loss, "loss")
    yield KeyNumber(f"best test {best.heading}", quality, model_name(best.best.name) + beside)
    yield KeyNumber("lowest test loss", loss, model_name(best.least_loss.name) + beside)
