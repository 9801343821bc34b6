"""Tables that fit a terminal of any width: common values stand below, columns that do not fit are named there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LOSS, SHARE = ".4f", ".2%"
"""Formats of losses and of shares."""
MISSING = "–"
"""Text of a missing value."""
SPREAD = "±"
"""Heading of a standard deviation, that of the column before."""

TEXT_FORMS = ("name", "hash", "spark", "range")
"""Forms of columns that are no numbers."""

WIDE_GAP, TIGHT_GAP = 3, 2
"""Blanks between two columns."""

EASY, EASY_FIRST = 16, 20
"""Width to which text is broken before any column is left out; more for the first column, which names the row."""

NARROW, NARROW_FIRST = 8, 12
"""Smallest width of text, whatever has to be left out; more for the first column."""


def _word(value: object) -> str:
    """Value as people write it: yes for true, 0.1 for 0.10000000000000009."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _missing(value: object) -> bool:
    """Whether a value is missing."""
    return value is None or value in ([], ()) or (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True)
class Column:
    """Column of a table: key of a row (dots go inside), heading, and how a value is written.

    `form` is a number's format, or `name` (a file's, without `.safetensors`), `hash` (its beginning), `spark` (a curve,
    on one scale for all rows), `range` (two numbers). A `common` column whose value is the same in all rows becomes a
    line below the table. An `optional` one is left out where the terminal is too narrow: the greatest number first, the
    last of equal ones; 0 stays. What is left out is named below the table.
    """

    key: str
    heading: str
    form: str = ""
    common: bool = False
    optional: int = 0

    def value(self, row: Mapping[str, Any]) -> Any:
        """Value of a row under this column's key, or None."""
        value: Any = row
        for part in self.key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def texts(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Values of this column as people read them; what is missing is a dash."""
        values = [self.value(row) for row in rows]
        if self.form == "spark":
            return _curves(values)
        return [MISSING if _missing(value) else self._text(value) for value in values]

    def _text(self, value: Any) -> str:
        """Text of a value."""
        if self.form == "range":
            ends = [MISSING if _missing(end) else format(end, LOSS) for end in value]
            return MISSING if set(ends) == {MISSING} else " to ".join(ends)
        if self.is_number and isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, self.form)
        if self.form == "hash":
            return str(value)[:12]
        words = [_word(each) for each in (value if isinstance(value, list | tuple) else [value])]
        return ", ".join(word.removesuffix(".safetensors") if self.form == "name" else word for word in words)

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers, which line up at the right."""
        return bool(self.form) and self.form not in TEXT_FORMS

    @property
    def unbreakable(self) -> bool:
        """Whether a value is useless in pieces, as numbers and curves are; text may go on in a second line."""
        return self.is_number or self.form in ("hash", "spark", "range")


def _curves(values: Sequence[Any]) -> list[str]:
    """Curves as blocks, all between the lowest and the highest value of any, so that rows can be compared."""
    from starcli.cli.framework.sparkline import sparkline

    curves = [[math.nan if point is None else point for point in value or ()] for value in values]
    finite = [point for curve in curves for point in curve if math.isfinite(point)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return [sparkline(curve, low=low, high=high) if curve else MISSING for curve in curves]


Texts = dict[Column, list[str]]
"""Cells of each column."""


def show_table(console: "Console", columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table as wide as the terminal allows, then what all its rows have in common and what did not fit."""
    from rich.text import Text

    texts = {column: column.texts(rows) for column in columns}
    below = _take_words(texts, rows)
    empty = [column for column, cells in texts.items() if set(cells) == {MISSING}]
    common = [column for column in columns if column.common and column not in empty and len(set(texts[column])) == 1]
    shown = [column for column in columns if column not in (*empty, *common)]
    layout = fit_columns(shown, texts, console.width)
    console.print(_table(layout, texts))
    below = [*(f"{column.heading}: {texts[column][0]}" for column in common), *below]
    if left_out := [name for column, name in _names(shown) if column not in layout.widths]:
        below.append(f"left out for width: {', '.join(dict.fromkeys(left_out))}; --json has all")
    for words in below:
        console.print(Text(f" {words}", style="dim"))
    if below:
        console.print()


def _take_words(texts: Texts, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put dashes where columns of numbers hold words; return lines that say these once, below the table."""
    found: dict[tuple[str, bool], list[str]] = {}
    for column, cells in texts.items():
        said = [value if isinstance(value := column.value(row), str) else None for row in rows]
        for word in dict.fromkeys(said if column.is_number else ()):
            if word is not None:
                found.setdefault((word, set(said) == {word}), []).append(column.heading)
        if column.is_number:
            cells[:] = [cell if word is None else MISSING for cell, word in zip(cells, said, strict=True)]
    return [
        f"{', '.join(names)}: {'' if all_rows else f'{MISSING} is '}{word}" for (word, all_rows), names in found.items()
    ]


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


def fit_columns(columns: Sequence[Column], texts: Texts, width: int) -> TableLayout:
    """Fit as many columns as possible into `width`.

    First all as they are, then closer together, then with text in lines of an easy width; where that is too wide one
    optional column after the other goes, then text is in narrow lines, and in the end the last columns go but two.
    """
    from rich.cells import cell_len

    natural = {c: max(map(cell_len, (c.heading, *texts[c]))) for c in columns}

    def squeezed(kept: Sequence[Column], first: int, others: int) -> dict[Column, int]:
        limits = {c: natural[c] if c.unbreakable else others for c in kept}
        limits |= {c: first for c in kept[:1] if not c.unbreakable}
        return {c: min(natural[c], limits[c]) for c in kept}

    def room(widths: Mapping[Column, int], gap: int) -> int:
        return width - 2 - sum(widths.values()) - gap * (len(widths) - 1)  # 2: a blank on either side

    kept = list(columns)
    while True:
        tries = [({c: natural[c] for c in kept}, gap) for gap in (WIDE_GAP, TIGHT_GAP)]
        tries.append((squeezed(kept, EASY_FIRST, EASY), TIGHT_GAP))
        surplus = [c for c in kept if c.optional]
        if not surplus:
            tries.append((squeezed(kept, NARROW_FIRST, NARROW), TIGHT_GAP))
        fitting = [(widths, gap) for widths, gap in tries if room(widths, gap) >= 0]
        if fitting or (not surplus and len(kept) <= 2):
            widths, gap = fitting[0] if fitting else tries[-1]
            break
        most = max((c.optional for c in surplus), default=0)
        kept.remove([c for c in kept if c.optional == most][-1])
    left = max(room(widths, gap), 0)
    for column in kept:
        more = min(natural[column] - widths[column], left)
        widths[column] += more
        left -= more
    return TableLayout(widths, gap)


def _table(layout: TableLayout, texts: Texts) -> "Table":
    """Table of rich in that layout."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # the box puts a blank between two columns too
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=layout.gap == TIGHT_GAP,
        pad_edge=False,
        header_style="bold",
    )
    for column, width in layout.widths.items():
        side = "right" if column.is_number else "left"
        table.add_column(column.heading, justify=side, no_wrap=column.unbreakable, overflow="fold", width=width)  # type: ignore[arg-type]
    for cells in zip(*(texts[column] for column in layout.widths), strict=True):
        table.add_row(*map(Text, cells))
    return table
