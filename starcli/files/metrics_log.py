"""Log of a run beside its checkpoint: one JSON line an epoch."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starcli.files.names import stem
from starcli.files.write import append_line, write_atomically


class MetricsLog:
    """Log of a run: `ckpts/0.metrics.jsonl` for `ckpts/0.safetensors`.

    Rows that a killed run logged after its last saved state are dropped when the run goes on, so that the file is that
    of an uninterrupted run.
    """

    def __init__(self, checkpoint: Path) -> None:
        """`checkpoint` is the path of the file that the run makes."""
        self.path = checkpoint.with_name(stem(checkpoint) + ".metrics.jsonl")
        self._begun = False

    def record(self, row: Mapping[str, Any]) -> None:
        """Append a row. The first row of this process first removes what was logged at or after its epoch."""
        if not self._begun:
            self._begun = True
            self.replace([old for old in self._rows() if old.get("epoch", 0) < row.get("epoch", 0)])
        append_line(self.path, row)

    def replace(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the whole log by `rows`."""
        text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
        write_atomically(self.path, text.encode())

    def _rows(self) -> list[dict[str, Any]]:
        """The rows before the first line that is none of ours, as a last one that was cut off."""
        rows: list[dict[str, Any]] = []
        with contextlib.suppress(OSError, ValueError, RecursionError):
            for text in self.path.read_text(encoding="utf-8").splitlines():
                row = json.loads(text)
                if not isinstance(row, dict) or not isinstance(row.get("epoch", 0), int | float):
                    break
                rows.append(row)
        return rows
