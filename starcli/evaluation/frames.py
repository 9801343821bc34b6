"""Results as pandas tables, for those who have pandas."""

from collections.abc import Iterable, Mapping
from typing import Any

from starcli.errors import StarcliError


def frame_of(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A `pandas.DataFrame` of `rows`, one line each; StarcliError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise StarcliError("to_frame needs the package pandas", ["pip install pandas"]) from error
    return pandas.DataFrame([dict(row) for row in rows])
