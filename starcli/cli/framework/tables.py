"""Tables that fit a terminal of any width; columns that do not fit are named below."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starcli.cli.framework.columns import SPREAD, Column, TextTable

if TYPE_CHECKING:
    import rich.table
    from rich.console import Console

WIDE_GAP, TIGHT_GAP = 3, 2
"""Blanks between two columns."""

EASY, EASY_FIRST = 16, 20
"""Width to which text is broken before any column is left out; more for the first column, which names the row."""

NARROW, NARROW_FIRST = 8, 12
"""Smallest width of text as long as there is a column that may be left out; more for the first column."""


def show_table(console: "Console", table: TextTable) -> None:
    """Print a table as wide as the terminal allows, then what all its rows have in common and what did not fit."""
    from rich.text import Text

    layout = fit_columns(table, console.width)
    console.print(_drawn(layout, table))
    below = list(table.below)
    if left_out := [name for column, name in _names(list(table.cells)) if column not in layout.widths]:
        below.append(f"left out for width: {', '.join(dict.fromkeys(left_out))}; --format json has all")
    for line in below:
        words = textwrap.fill(
            line, console.width - 1, initial_indent=" ", subsequent_indent="   ", break_on_hyphens=False
        )
        console.print(Text(words, style="dim"))
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


def _drawn(layout: TableLayout, table: TextTable) -> "rich.table.Table":
    """Table of rich in that layout."""
    import rich.table
    from rich import box
    from rich.text import Text

    # the box puts a blank between two columns too
    drawn = rich.table.Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=layout.gap == TIGHT_GAP,
        pad_edge=False,
        header_style="bold",
    )
    # not left to rich, which ends a line with the blank after a word that just fits, and then leaves one empty
    texts = [
        table.cells[column] if column.unbreakable else [textwrap.fill(cell, width) for cell in table.cells[column]]
        for column, width in layout.widths.items()
    ]
    headings = {column: textwrap.wrap(column.heading, width) for column, width in layout.widths.items()}
    height = max(map(len, headings.values()), default=1)
    for column, width in layout.widths.items():
        side = "right" if column.is_number else "left"
        lines = [""] * (height - len(headings[column])) + headings[column]  # short headings stand at the bottom
        drawn.add_column(Text("\n".join(lines)), justify=side, no_wrap=column.unbreakable, overflow="fold", width=width)  # type: ignore[arg-type]
    for cells in zip(*texts, strict=True):
        drawn.add_row(*map(Text, cells))
    return drawn
