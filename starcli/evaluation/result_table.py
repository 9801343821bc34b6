"""Results as rows, and as pandas tables for those who have pandas."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from starcli.errors import StarcliError, number_of


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


def pandas_frame(content: Any) -> Any:
    """A `pandas.DataFrame` of `content`; StarcliError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise StarcliError("to_frame needs the package pandas", ["pip install pandas"]) from error
    return pandas.DataFrame(content)


def frame_of(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A `pandas.DataFrame` of `rows`, one line each, nested keys with dots; StarcliError where there is no pandas."""
    return pandas_frame([flat_row(row) for row in rows])


class ResultTable(Sequence[Mapping[str, Any]]):
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
        return f"ResultTable({number_of(len(self), 'row')}: {', '.join(self._rows[0]) if self._rows else ''})"

    def column(self, name: str) -> list[Any]:
        """The values of one key, None where a row has none."""
        return [row.get(name) for row in self._rows]

    def to_dict(self) -> dict[str, Any]:
        """`rows`: the rows as plain dictionaries."""
        return {"rows": [dict(row) for row in self._rows]}

    def to_frame(self) -> Any:
        """A pandas table with a line for each row."""
        return frame_of(self._rows)
