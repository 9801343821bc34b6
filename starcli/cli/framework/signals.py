"""SIGINT, SIGTERM, SIGHUP: the first asks the running loop to stop after its step, a second one ends the program."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from starcli.runtime.progress import Progress


class Leave(BaseException):
    """End of the program at once, cleaning up on the way.

    A BaseException, so that no `except Exception` holds it back.
    """

    def __init__(self, signum: int) -> None:
        """`signum` is the number of the signal."""
        self.signal = signum
        super().__init__(signum)


_listening: list[Progress] = []
"""Progress of the command whose loops look at `stop_signal`; at most one."""


def listen(progress: Progress) -> None:
    """From now on the first signal only sets `stop_signal` of `progress`."""
    _listening[:] = [progress]


def stop_listening() -> None:
    """From now on nothing looks at `stop_signal`: a signal ends the program at once."""
    _listening.clear()


@contextlib.contextmanager
def handling_signals() -> Iterator[None]:
    """Context that handles the signals; outside the main thread Python cannot, and nothing changes.

    SIGHUP, of a terminal or a connection that is gone, stays ignored where it is (nohup).
    """
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

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        _listening.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
