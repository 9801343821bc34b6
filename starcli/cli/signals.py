"""SIGINT and SIGTERM: the first asks the running loop to stop after its step, a second one leaves at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from starcli.progress import Progress


class Leave(BaseException):
    """Leave now, cleaning up on the way; no `except Exception` may hold it back."""

    def __init__(self, signum: int) -> None:
        self.signal = signum
        super().__init__(signum)


_listening: list[Progress] = []
"""The watcher of the loop that runs now and will look at `stop_signal`; at most one."""


@contextlib.contextmanager
def listening(progress: Progress) -> Iterator[None]:
    """Until the block ends, the first signal is left for the loop watched by `progress` to see."""
    listen(progress)
    try:
        yield
    finally:
        stop_listening()


def listen(progress: Progress) -> None:
    """From now on the first signal only sets `stop_signal` of `progress`."""
    _listening[:] = [progress]


def stop_listening() -> None:
    """Nothing looks at `stop_signal` any more: a signal that came too late for the loop is obeyed here."""
    waiting = [progress.stop_signal for progress in _listening if progress.stop_signal]
    _listening.clear()
    if waiting:
        raise Leave(waiting[0])


@contextlib.contextmanager
def caught() -> Iterator[None]:
    """Handle both signals until the block ends; outside the main thread Python cannot, and nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handle(signum: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a data worker inherited us: the parent decides when it ends
            if signum == signal.SIGTERM:
                os._exit(128 + signum)
            return
        if _listening and not _listening[0].stop_signal:
            _listening[0].stop_signal = signum
            return
        _listening.clear()
        raise Leave(signum)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _listening.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
