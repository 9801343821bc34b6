"""How long computations report their progress and are interrupted, independent of any user interface."""

from collections.abc import Mapping
from typing import Any

HOW_TO_GO_ON = "type the same line again to go on"
"""What is said where something was kept of what was interrupted."""


class Interrupted(Exception):
    """Interruption by a signal, `signal` 1 (SIGHUP), 2 (SIGINT) or 15 (SIGTERM)."""

    def __init__(self, signal: int, how_to_continue: str = "") -> None:
        """`how_to_continue` is shown to the user; empty where nothing was saved."""
        self.signal = signal
        super().__init__(how_to_continue)


class Progress:
    """Observer of a long computation; this one ignores everything.

    That of the command line draws bars on stderr.
    """

    stop_signal: int = 0
    """Signal that asked to stop, else 0: loops finish their step, save and raise `Interrupted(stop_signal)`."""

    def stop_if_asked(self) -> None:
        """Raise Interrupted if a signal asked to stop; called between two pieces of work that leave nothing to save."""
        if self.stop_signal:
            raise Interrupted(self.stop_signal)

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` steps, in place of the one before; `task` is its name for people."""

    def step(self, count: int = 1, **figures: float) -> None:
        """Count `count` more steps; `figures` (loss=...) are shown beside the bar."""

    def finish(self) -> None:
        """End the task."""

    def record(self, row: Mapping[str, Any]) -> None:
        """Add one row (an epoch, a realignment) to the log beside the checkpoint."""

    def note(self, text: str) -> None:
        """Show one line of text to the user, on stderr."""


SILENT = Progress()
"""Progress that shows nothing: the default of every function."""
