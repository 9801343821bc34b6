"""Results as comma-separated values: one header, a line for each row, every key a column."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starcli.evaluation.result_table import flat_row


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    r"""Rows of JSON values as one table, which pandas and R read in one line.

    A nested key is a column with a dot (`train.loss_barrier`), a list JSON in its cell, what is missing or null an
    empty cell. Columns are all keys of all rows in the order in which they appear; numbers are written in full.

    >>> csv_text([{"type": "a", "x": {"y": 0.1}, "t": [0, 1]}, {"type": "b", "x": None, "z": True}])
    'type,x.y,t,z\na,0.1,"[0, 1]",\nb,,,true\n'
    """
    flat = [flat_row(row) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    inner = {key[:place] for key in columns for place, sign in enumerate(key) if sign == "."}
    columns = [key for key in columns if key not in inner]  # a null where other rows have an object
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(key)) for key in columns] for row in flat)
    return text.getvalue()


def _cell(value: Any) -> str:
    """Text of a value; numbers, truth and lists as in JSON, which is what reads them back."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
