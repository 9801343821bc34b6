"""When long work saves what it has reached: not so often that saving costs more than it is worth."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

SHORTEST_WAIT = 1.0
"""Seconds between two savings, at least: the flush would cost more than what is done in less."""

SAVING_SHARE = 30
"""And so many times what the last one took: the state of a GPU's run takes a tenth of a short epoch."""


class SavingTimes:
    """Clock of one piece of work: a saving is due after `every` seconds or, where that is not said, after these."""

    def __init__(self, every: float | None = None) -> None:
        self._every, self._wait = every, SHORTEST_WAIT if every is None else every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._last >= self._wait

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Context of a saving, which is timed."""
        began = time.monotonic()
        yield
        self._last = time.monotonic()
        if self._every is None:
            self._wait = max(SHORTEST_WAIT, SAVING_SHARE * (self._last - began))
