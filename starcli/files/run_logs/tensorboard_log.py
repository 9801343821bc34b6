"""A run for TensorBoard."""

import json
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.files.run_logs.targets import RunFacts
from starcli.files.write import check_directory, make_directory

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardLog:
    """Event files in DIR, in a directory with the checkpoint's name; the step is the epoch.

    Of a run that goes on TensorBoard forgets what was logged after its last saved state.
    """

    def __init__(self, place: str, facts: RunFacts) -> None:
        self._directory, self._facts = Path(place, facts.name), facts
        self._writer: SummaryWriter | None = None
        make_directory(self._directory)  # now, before any work: the file comes with the first epoch
        check_directory(self._directory)

    def record(self, epoch: int, curves: Mapping[str, float]) -> None:
        """Add a point to each curve, on the disk at once."""
        from torch.utils.tensorboard import SummaryWriter

        _print_no_errors_of_the_disk()
        if self._writer is None:
            self._writer = SummaryWriter(str(self._directory), purge_step=epoch)
            settings = json.dumps(dict(self._facts.settings), indent=2, sort_keys=True)
            self._writer.add_text("settings", f"```json\n{settings}\n```", epoch)
        for name, value in curves.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


@cache
def _print_no_errors_of_the_disk() -> None:
    """Let the thread that writes keep what the disk refuses for our next call, which raises it, and print nothing."""
    before = threading.excepthook

    def hook(raised: threading.ExceptHookArgs) -> None:
        if not (type(raised.thread).__name__ == "_AsyncWriterThread" and isinstance(raised.exc_value, OSError)):
            before(raised)

    threading.excepthook = hook
