"""SIGINT and SIGTERM: the step is finished, the state saved, and the same line goes on to the same bytes."""

import shutil
import time
from pathlib import Path

from .ground import BRIEF, TRAIN, contents, until
from .trial import Command, command

LINE = (*TRAIN[: -len(BRIEF) - 1], "150", "--threads", "1", "--seed", "7", "-o", "out.safetensors")


class Signalling:
    """A run of some length, what it leaves when nobody asks it to stop, and what it leaves when somebody does."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "signalled"
        self._begin()
        ended = command(LINE, self.directory)
        if ended.status:
            raise RuntimeError(ended.err)
        self.whole = contents(self.directory)

    def _begin(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()

    def trial(self, number: int, *, twice: bool = False) -> list[str]:
        """What is wrong after the signal `number`: exit status, words, files, time, and what the same line makes."""
        self._begin()
        log = self.directory / "out.metrics.jsonl"
        running = Command(LINE, self.directory)
        until(lambda: log.exists() and log.stat().st_size > 0)
        running.kill(number)
        if twice:
            running.kill(number)
        began = time.monotonic()
        ended = running.wait()
        defects = []
        if ended.status != 128 + number:
            defects.append(f"exit status {ended.status}, expected {128 + number}: {ended.err[-300:]}")
        if not twice and "type the same line again" not in ended.err:
            defects.append(f"does not say how to go on: {ended.err[-200:]}")
        if "Traceback" in ended.err:
            defects.append("shows a traceback")
        if time.monotonic() - began > 5:
            defects.append("took more than 5 s to stop")
        names, allowed = set(contents(self.directory)), {"out.safetensors.state", "out.metrics.jsonl"}
        if not names <= allowed or (not twice and names != allowed):
            defects.append(f"leaves {sorted(names)}")
        again = command(LINE, self.directory)
        if again.status or contents(self.directory) != self.whole:
            defects.append(f"the same line makes something else: {again.status} {again.err[-200:]}")
        return defects
