"""Results as rows, and as pandas tables for those who have pandas."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from starcli.errors import StarcliError


def frame_of(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A `pandas.DataFrame` of `rows`, one line each; StarcliError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise StarcliError("to_frame needs the package pandas", ["pip install pandas"]) from error
    return pandas.DataFrame([dict(row) for row in rows])


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
        return f"ResultTable({len(self)} rows: {', '.join(self._rows[0]) if self._rows else ''})"

    def column(self, name: str) -> list[Any]:
        """The values of one key, None where a row has none."""
        return [row.get(name) for row in self._rows]

    def to_dict(self) -> dict[str, Any]:
        """`rows`: the rows as plain dictionaries."""
        return {"rows": [dict(row) for row in self._rows]}

    def to_frame(self) -> Any:
        """A pandas table with a line for each row."""
        return frame_of(self._rows)
