"""Progress bars and notes on stderr: a bar with the time left for what lasts over a second, on a terminal only."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starcli.cli.framework import signals
from starcli.runtime.progress import Progress
from starcli.runtime.rehearsal import present_rehearsal

if TYPE_CHECKING:
    import rich.progress

    from starcli.files.run_logs.run_logs import RunLogs

SECONDS_WITHOUT_A_BAR = 1.0
"""Seconds before a bar appears: what is over by then needs none."""


class Bars(Progress):
    """Progress that draws a bar for the running task, prints notes above it, and logs rows beside the checkpoint."""

    def __init__(self, *, quiet: bool = False) -> None:
        """`quiet` shows neither bars nor notes."""
        self.quiet = quiet
        self.log: RunLogs | None = None
        """The logs of the file that is being made."""
        self.kept = False
        """Whether a file is finished, which the same line typed again does not make again."""
        self.stop_signal = 0
        self._noted: set[str] = set()
        self._task, self._total, self._done, self._since = "", 0, 0, 0.0
        self._bar: rich.progress.Progress | None = None
        self._visible = not quiet and sys.stderr.isatty()

    def start(self, task: str, total: int) -> None:
        """See `Progress.start`; from here on a signal only sets `stop_signal`."""
        self._hide()
        self.leave_if_asked()
        self._task, self._total, self._done, self._since = task, total, 0, time.monotonic()
        signals.listen(self)

    def step(self, count: int = 1, **figures: float) -> None:
        """See `Progress.step`."""
        self._done += count
        if self._bar is None:
            if not self._visible or time.monotonic() - self._since < SECONDS_WITHOUT_A_BAR:
                return
            with self._drawing():
                self._show()
        words = {name: str(value) if isinstance(value, int) else f"{value:.4g}" for name, value in figures.items()}
        text = "  ".join(f"{name} {word}" for name, word in words.items())
        with self._drawing():
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=self._done, figures=text)

    def finish(self) -> None:
        """See `Progress.finish`."""
        # still listening: what follows a loop (final scores, writing) must not lose the loop's work
        self._hide()

    def leave_if_asked(self) -> None:
        """End the program here if a signal asked for it: between two pieces of work, when the first is safe."""
        if self.stop_signal:
            raise signals.Leave(self.stop_signal)

    def record(self, row: Mapping[str, Any]) -> None:
        """See `Progress.record`."""
        if self.log is not None:
            self.log.record(row)

    def note(self, text: str) -> None:
        """See `Progress.note`; what was said already, as of another seed, is not said again."""
        rehearsal = present_rehearsal()
        if self.quiet or (rehearsal is not None and rehearsal.skipped):  # of figures that were not measured
            return
        if text in self._noted:
            return
        self._noted.add(text)
        with self._drawing():
            if self._bar is not None:
                self._bar.console.print(f"note: {text}", markup=False, highlight=False)
            else:
                print(f"note: {text}", file=sys.stderr, flush=True)

    def __enter__(self) -> "Bars":
        """Return this object."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Hide the bar; from here on a signal ends the program at once."""
        self._hide()
        signals.stop_listening()
        if kind is None:
            self.leave_if_asked()

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[None]:
        """Context in which a terminal that is gone, or a closed stderr, ends the drawing and never the work."""
        try:
            yield
        except OSError:
            self._bar, self._visible = None, False

    def _show(self) -> None:
        """Draw the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.add_task(self._task, total=self._total or None, completed=self._done, figures="")
        self._bar.start()

    def _hide(self) -> None:
        """Remove the bar."""
        with self._drawing():
            if self._bar is not None:
                self._bar.stop()
        self._bar = None
