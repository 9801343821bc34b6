"""How long-running library code talks to whoever watches it, without knowing who that is."""

from collections.abc import Mapping
from typing import Any


class Interrupted(Exception):
    """The user or the system asked to stop; the state up to here is saved. `signal` is 2 (INT) or 15 (TERM)."""

    def __init__(self, signal: int, how_to_continue: str = "") -> None:
        self.signal = signal
        super().__init__(how_to_continue)


class Progress:
    """A watcher that ignores everything; the command line's draws bars on stderr, tests keep what they are told."""

    stop_signal: int = 0
    """Set by a signal handler: loops finish their step, save, and raise `Interrupted(stop_signal)`."""

    def stop_if_asked(self) -> None:
        """Raises Interrupted where a signal asked for it: between two pieces of work that leave nothing to save."""
        if self.stop_signal:
            raise Interrupted(self.stop_signal)

    def start(self, task: str, total: int) -> None:
        """A task of `total` steps begins (it replaces the one before); `task` is what a person reads."""

    def step(self, count: int = 1, **figures: float) -> None:
        """`count` more steps are done; `figures` (loss=...) are shown beside the bar."""

    def finish(self) -> None:
        """The task is over."""

    def record(self, row: Mapping[str, Any]) -> None:
        """One row of the log that is kept beside the checkpoint (an epoch, a realignment)."""

    def note(self, text: str) -> None:
        """One line that a person should read, on stderr."""


SILENT = Progress()
