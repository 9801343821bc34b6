"""A process that holds a lock; here, since a process begun anew finds `support` and not the file of a test."""

import multiprocessing.synchronize
import signal
from pathlib import Path

from starcli.files.lock import lock


def hold(path: Path, ready: multiprocessing.synchronize.Event) -> None:
    """Lock `path`, say so, and wait to be killed."""
    with lock(path):
        ready.set()
        signal.pause()
