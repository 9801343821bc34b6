"""Results as rows, and as pandas tables for those who have pandas."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from starcli.errors import StarcliError, number_of

if TYPE_CHECKING:
    from pandas import DataFrame


def flat_row(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """A row without rows inside: a key of a nested one is a key with a dot, as in files of `--format csv`.

    >>> flat_row({"a": 1, "train": {"loss": 0.5, "t": [0, 1]}})
    {'a': 1, 'train.loss': 0.5, 'train.t': [0, 1]}
    """
    flat: dict[str, Any] = {}
    for key, value in row.items():
        flat |= flat_row(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return flat


def at_key(row: Mapping[str, Any], key: str) -> Any:
    """Value under a nested key; None where there is none.

    >>> at_key({"train": {"loss": 0.5}}, "train.loss"), at_key({"train": None}, "train.loss")
    (0.5, None)
    """
    found: Any = row
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


PRINTED_WIDTH, PRINTED_ROWS = 100, 20
"""Characters and rows of a table that is printed."""


def text_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first `PRINTED_ROWS` rows as text, of the numbers and words in them the first that fit in a line.

    >>> print(text_table([{"model": "a", "accuracy": 0.91264, "data": {"name": "digits"}}]))
     model  accuracy
         a    0.9126
    """
    shown = rows[:PRINTED_ROWS]
    lines = [""] * (1 + len(shown))
    for name in shown[0] if shown else ():
        values = [row.get(name) for row in shown]
        if all(value is None or isinstance(value, str | int | float) for value in values):
            cells = [name, *map(_cell, values)]
            width = max(map(len, cells))
            if len(lines[0]) + width + 1 > PRINTED_WIDTH:
                break
            lines = [f"{line} {cell:>{width}} " for line, cell in zip(lines, cells, strict=True)]
    left_out = [f"and {len(rows) - len(shown)} more"] if len(rows) > len(shown) else []
    return "\n".join([*(line.rstrip() for line in lines), *left_out])


def _cell(value: Any) -> str:
    """A value of a table: numbers to four digits."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def pandas_frame(content: Any) -> "DataFrame":
    """A `pandas.DataFrame` of `content`.

    StarcliError where pandas is not installed, and for names of files that are no text, of which pandas makes no words.
    """
    try:
        import pandas
    except ImportError as error:
        raise StarcliError("to_frame needs the package pandas", ["pip install pandas"]) from error
    try:
        return pandas.DataFrame(content)
    except UnicodeEncodeError as error:
        raise StarcliError(f"to_frame: words are text in UTF-8, which the name {error.object} is not") from error


def frame_of(rows: Iterable[Mapping[str, Any]]) -> "DataFrame":
    """A `pandas.DataFrame` of `rows`, one line each, nested keys with dots; StarcliError where there is no pandas."""
    return pandas_frame([flat_row(row) for row in rows])


class Framed(ABC):
    """A result that pandas has a table of, which is what notebooks show."""

    @abstractmethod
    def to_frame(self) -> "DataFrame":
        """The table; StarcliError where there is no pandas."""

    def _repr_html_(self) -> str | None:
        """The table as pandas shows it in a notebook; None, and so `repr`, where there is no pandas."""
        try:
            html: str | None = self.to_frame()._repr_html_()
        except StarcliError:
            return None
        return html


class ResultTable(Sequence[Mapping[str, Any]], Framed):
    """Rows of results with the keys of the command's JSON objects.

    >>> table = ResultTable([{"model": "a", "accuracy": 0.9}, {"model": "b", "accuracy": 0.8}])
    >>> table[1]["accuracy"], len(table), table.column("model")
    (0.8, 2, ['a', 'b'])
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows)

    @overload
    def __getitem__(self, position: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, position: slice) -> "ResultTable": ...
    def __getitem__(self, position: int | slice) -> "Mapping[str, Any] | ResultTable":
        """One row, or some of them as a table."""
        return ResultTable(self._rows[position]) if isinstance(position, slice) else self._rows[position]

    def __repr__(self) -> str:
        """The first columns of the first rows; `to_frame` has all."""
        return f"ResultTable({number_of(len(self), 'row')})\n{text_table(self._rows)}".rstrip()

    def column(self, name: str) -> list[Any]:
        """The values of one key, None where a row has none."""
        return [row.get(name) for row in self._rows]

    def to_dict(self) -> dict[str, Any]:
        """`rows`: the rows as plain dictionaries."""
        return {"rows": [dict(row) for row in self._rows]}

    def to_frame(self) -> "DataFrame":
        """A pandas table with a line for each row."""
        return frame_of(self._rows)
