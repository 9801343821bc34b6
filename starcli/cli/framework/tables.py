"""Tables that fit a terminal of any width; columns that do not fit are named below."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from starcli.cli.framework.columns import SPREAD, Column, TextTable

if TYPE_CHECKING:
    from rich.console import Console

WIDE_GAP, TIGHT_GAP = 3, 2
"""Blanks between two columns."""

EASY, EASY_FIRST = 16, 20
"""Width to which text is broken before any column is left out; more for the first column, which names the row."""

NARROW, NARROW_FIRST = 8, 12
"""Smallest width of text as long as there is a column that may be left out; more for the first column."""


NARROWEST = 10
"""Least width of the lines below a table, however narrow the terminal says that it is."""

LONGEST_RULE = 200
"""Most columns that the rule below the headings takes: in a pipe, text may be in one line of any length."""


def show_table(console: "Console", table: TextTable) -> None:
    """Print a table as wide as the terminal allows, then what all its rows have in common and what did not fit."""
    from rich.text import Text

    layout = fit_columns(table, console.width)
    headings, rows = _lines(layout, table)
    console.print()
    for line in headings:
        console.print(Text(line, style="bold"), soft_wrap=True)
    for line in [*rows, ""]:
        console.print(Text(line), soft_wrap=True)
    below = list(table.below)
    if left_out := [name for column, name in _names(list(table.cells)) if column not in layout.widths]:
        below.append(f"left out for width: {', '.join(dict.fromkeys(left_out))}; --format json has all")
    for line in below:
        width = max(console.width - 1, NARROWEST)
        words = textwrap.fill(line, width, initial_indent=" ", subsequent_indent="   ", break_on_hyphens=False)
        console.print(Text(words, style="dim"), soft_wrap=True)
    if below:
        console.print()


def _names(columns: Sequence[Column]) -> list[tuple[Column, str]]:
    """Name of each column where its neighbours are not in sight."""
    names, before = [], ""
    for column in columns:
        names.append((column, f"{SPREAD} of {before}" if column.heading == SPREAD else column.heading))
        before = column.heading
    return names


@dataclass(frozen=True)
class TableLayout:
    """Columns that are shown with their widths, in order, and the blanks between them."""

    widths: Mapping[Column, int]
    gap: int

    @property
    def total(self) -> int:
        """Width of the table, a blank on either side included."""
        return 2 + sum(self.widths.values()) + self.gap * (len(self.widths) - 1)


def fit_columns(table: TextTable, width: int) -> TableLayout:
    """Fit as many columns as possible into `width`.

    First all as they are, then closer together, then with headings and then text in several lines; where that is too
    wide one column after the other goes (see `Column`), and at the end what has to stay is made as narrow as it can be.
    """
    kept = list(table.cells)
    while True:
        optional = max((column.optional for column in kept), default=0)
        going = [c for c in kept[1:] if not c.main and c.optional == optional]
        tries = list(_layouts(kept, table, narrow=not optional))
        fitting = [layout for layout in tries if layout.total <= width]
        if fitting or not going:
            return _widened(fitting[0] if fitting else _squeezed(tries[-1], width), table, width)
        kept.remove(going[-1])


def _layouts(kept: Sequence[Column], table: TextTable, *, narrow: bool) -> list[TableLayout]:
    """Layouts of these columns, from the widest to the narrowest."""
    natural = {c: _natural(c, table) for c in kept}
    cells = {c: max(_cells(c, table), _longest_word(c.heading)) for c in kept}
    easy = {c: _broken(c, table, EASY_FIRST if c is kept[0] else EASY) for c in kept}
    layouts = [
        TableLayout(natural, WIDE_GAP),
        TableLayout(natural, TIGHT_GAP),
        TableLayout(cells, WIDE_GAP),
        TableLayout(cells, TIGHT_GAP),
        TableLayout({c: min(cells[c], easy[c]) for c in kept}, TIGHT_GAP),
    ]
    if narrow:  # no word is broken that is not longer than the easy width
        whole = {c: min(easy[c], max(map(_longest_word, table.cells[c]))) for c in kept}
        limits = {c: max(whole[c], _broken(c, table, NARROW_FIRST if c is kept[0] else NARROW)) for c in kept}
        layouts.append(TableLayout({c: min(cells[c], limits[c]) for c in kept}, TIGHT_GAP))
    return layouts


def _broken(column: Column, table: TextTable, limit: int) -> int:
    """Width of a column whose text is broken at `limit`; words of its heading and unbreakable cells stay whole."""
    return max(_cells(column, table) if column.unbreakable else limit, _longest_word(column.heading))


def _squeezed(layout: TableLayout, width: int) -> TableLayout:
    """A layout whose text is cut down, the widest column first, until it fits; numbers stay whole."""
    widths = dict(layout.widths)
    text = [column for column in widths if not column.unbreakable]
    for _ in range(max(layout.total - width, 0)):
        widest = max(text, key=lambda column: widths[column], default=None)
        if widest is not None and widths[widest] > 1:
            widths[widest] -= 1
    return TableLayout(widths, layout.gap)


def _widened(layout: TableLayout, table: TextTable, width: int) -> TableLayout:
    """A layout that gives the room that is left to its text, from the first column, each up to all it can use."""
    widths, left = dict(layout.widths), max(width - layout.total, 0)
    for column in (each for each in widths if not each.unbreakable):
        more = min(_natural(column, table) - widths[column], left)
        widths[column] += more
        left -= more
    return TableLayout(widths, layout.gap)


def _cells(column: Column, table: TextTable) -> int:
    """Width of the widest cell."""
    from rich.cells import cell_len

    return max(map(cell_len, table.cells[column]), default=0)


def _natural(column: Column, table: TextTable) -> int:
    """Width of a column with everything in one line."""
    return max(len(column.heading), _cells(column, table))


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _lines(layout: TableLayout, table: TextTable) -> tuple[list[str], list[str]]:
    """The lines of the headings, short ones at the bottom, and those of the rule and the rows.

    They are laid out here, to the column: versions of rich give the edges of a table of the same widths other blanks.
    """
    columns = layout.widths.items()
    headings = [_wrapped(column.heading, width) for column, width in columns]
    height = max(map(len, headings), default=1)
    above = _side_by_side(layout, [[""] * (height - len(lines)) + lines for lines in headings])
    rows = zip(*(table.cells[column] for column in layout.widths), strict=True)
    found = [" " + "─" * min(layout.total - 2, LONGEST_RULE)]
    for row in rows:
        cells = [
            [cell] if column.unbreakable else _wrapped(cell, width)
            for cell, (column, width) in zip(row, columns, strict=True)
        ]
        found += _side_by_side(layout, cells)
    return above, found


def _side_by_side(layout: TableLayout, cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of the cells of one row, numbers at the right of their column."""
    from rich.cells import cell_len

    lines = []
    for parts in zip_longest(*cells, fillvalue=""):
        padded = []
        for part, (column, width) in zip(parts, layout.widths.items(), strict=True):
            blanks = " " * (width - cell_len(part))
            padded.append(blanks + part if column.is_number else part + blanks)
        lines.append((" " + (" " * layout.gap).join(padded)).rstrip())
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns of a terminal, on which some characters take two."""
    from rich.cells import cell_len

    lines = []
    for line in textwrap.wrap(text, width):
        while cell_len(line) > width:
            head = next(n for n in range(len(line), 0, -1) if n == 1 or cell_len(line[:n]) <= width)
            lines.append(line[:head])
            line = line[head:]
        lines.append(line)
    return lines
