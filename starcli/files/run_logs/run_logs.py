"""All logs of a run: the one beside its checkpoint, and those of other programs."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starcli.files.metrics_log import MetricsLog
from starcli.files.run_logs.csv_log import table_path
from starcli.files.run_logs.targets import LogTarget, RunFacts, RunLog
from starcli.runtime.rehearsal import present_rehearsal


class RunLogs:
    """The logs of a run; those of other programs only from `open` on.

    They have the curves of a row (`curves_of`), and `seconds` since the run was begun in this process.
    """

    def __init__(self, targets: Sequence[LogTarget], facts: RunFacts) -> None:
        self._own = MetricsLog(facts.checkpoint)
        self._targets, self._facts = targets, facts
        self._others: list[tuple[LogTarget, RunLog]] = []
        self._began = 0.0
        self._told, self._finished = False, False

    def open(self) -> None:
        """Open the logs of other programs, before the run begins. StarcliError where one cannot be opened.

        A rehearsal opens none, and counts the table, whose size is not known; what other programs write is theirs.
        """
        self._began = time.monotonic()
        rehearsal = present_rehearsal()
        for target in self._targets:
            if rehearsal is None:
                self._others.append((target, target.open(self._facts)))
            elif target.kind == "csv":
                rehearsal.wrote(table_path(self._facts.checkpoint), None)

    def record(self, row: Mapping[str, Any]) -> None:
        """Add a row, of an epoch."""
        self._own.record(row)
        self._tell(row, seconds=round(time.monotonic() - self._began, 3))

    def complete(self, history: Sequence[Mapping[str, Any]]) -> None:
        """All rows of a run that is finished; other programs get them now where none was recorded on the way."""
        self._own.replace(history)
        for row in () if self._told else history:
            self._tell(row)
        self._finished = True

    def close(self) -> None:
        """Close the logs of other programs."""
        for target, log in self._others:
            with target.errors("written"):
                log.close(finished=self._finished)
        self._others = []

    def _tell(self, row: Mapping[str, Any], **more: float) -> None:
        """Add a row to the logs of other programs."""
        self._told = True
        for target, log in self._others:
            with target.errors("written"):
                log.record(row["epoch"], {**dict(curves_of(row)), **more})


def curves_of(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of a row by their names, those of held-out models by theirs; what is no finite number is left out.

    >>> dict(curves_of({"epoch": 1, "loss": 0.5, "held_out": [{"model": "6.safetensors", "test_barrier": 0.1}]}))
    {'loss': 0.5, 'held_out/6/test_barrier': 0.1}
    """
    for key, value in row.items():
        for each in value if isinstance(value, list) else ():
            if isinstance(each, Mapping) and "model" in each:
                yield from curves_of(each, f"{before}{key}/{str(each['model']).removesuffix('.safetensors')}/")
        if isinstance(value, Mapping):
            yield from curves_of(value, f"{before}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and key != "epoch":
            yield before + key, float(value)
