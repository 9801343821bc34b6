"""A run as a table: a line for each epoch, a column for each curve."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from starcli.files.names import stem
from starcli.files.run_logs.targets import RunFacts
from starcli.files.write import write_atomically

_EPOCH = re.compile(r"[0-9]{1,18}")
"""The number of an epoch, in a table."""


def table_path(checkpoint: Path) -> Path:
    """The table of the run that makes a checkpoint.

    >>> print(table_path(Path("ckpts/0.safetensors")))
    ckpts/0.metrics.csv
    """
    return checkpoint.with_name(stem(checkpoint) + ".metrics.csv")


class CsvLog:
    """`ckpts/0.metrics.csv` for `ckpts/0.safetensors`; a run that goes on keeps the lines of the epochs before."""

    def __init__(self, place: str, facts: RunFacts) -> None:
        self._path = table_path(facts.checkpoint)
        self._rows: list[Mapping[str, object]] | None = None

    def record(self, epoch: int, curves: Mapping[str, float]) -> None:
        """Write the table anew with one line more: later epochs may have other columns."""
        if self._rows is None:
            self._rows = [row for row in self._found() if int(str(row["epoch"])) < epoch]
        self._rows.append({"epoch": epoch, **curves})
        names = dict.fromkeys(name for row in self._rows for name in row)
        table = io.StringIO()
        writer = csv.DictWriter(table, list(names), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(self._path, table.getvalue().encode())

    def close(self, *, finished: bool) -> None:
        """Nothing: every line is written."""

    def _found(self) -> list[dict[str, str]]:
        """Lines that an earlier process left; none where it left no such table."""
        try:
            rows = list(csv.DictReader(self._path.read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError, csv.Error):
            return []
        return [row for row in rows if None not in row and _EPOCH.fullmatch(row.get("epoch") or "")]
