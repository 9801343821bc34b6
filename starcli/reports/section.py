"""Sections of a page, and what stands above the figures of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from starcli.reports.findings import SavedRun
from starcli.reports.html import Child, Markup, element, together

MOST_SHOWN = 12
"""Largest number of small figures that are open at once."""


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, its heading, what stands in it."""

    anchor: str
    heading: str
    content: Markup


def section_of(anchor: str, heading: str, *content: Child) -> Section:
    """A section of several things."""
    return Section(anchor, heading, together(*content))


def run_block(run: SavedRun, *content: Child, words: str = "") -> Markup:
    """The block of a run on the page: name of its file, what all rows have in common, figures, the line behind them."""
    said = element("p", words, class_="note") if words else None
    return element("section", element("h3", run.name), said, *content, line_of(run), class_="run")


def line_of(run: SavedRun) -> Markup:
    """The line that was typed, or that it is not known."""
    if run.line:
        return shell_line(run.line)
    return element("p", "The line is not recorded in this file.", class_="note")


def shell_line(line: str) -> Markup:
    """A line for a shell, which a page can copy."""
    spaced = (together(" " if number else "", element("span", word)) for number, word in enumerate(line.split(" ")))
    return element("pre", element("code", *spaced), class_="line")


def gallery(figures: Sequence[Markup]) -> Markup | None:
    """Figures side by side."""
    return element("div", *figures, class_="gallery") if figures else None


def small_gallery(figures: Sequence[Markup], name: str, most: int = MOST_SHOWN) -> Markup | None:
    """Small figures side by side; what is more than a page shows at once is folded."""
    if not figures:
        return None
    first, rest = (element("div", *some, class_="gallery small") for some in (figures[:most], figures[most:]))
    return together(first, folded_part(f"{len(figures) - most} more {name}", rest) if len(figures) > most else None)


def folded_part(words: str, *content: Child) -> Markup:
    """Something that is shown when it is asked for."""
    return element("details", element("summary", words), *content)
