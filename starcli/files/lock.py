"""One writer a file: a lock of the kernel, which ends with its holder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from starcli.errors import StarcliError
from starcli.files import leftovers
from starcli.files.state import state_path
from starcli.files.write import raise_os_error


@contextlib.contextmanager
def lock(path: Path, *beside: Path, wait: bool = False) -> Iterator[None]:
    """Hold the output `path` for this process; a second process is told who holds it, or made to `wait`.

    The kernel drops a flock when its holder dies, so none goes stale. What it had half written is removed, also of the
    files `beside` it that only the holder writes.
    """
    target = path.with_name(f".{path.name}.lock")
    while True:
        try:
            handle = target.open("a+", encoding="utf-8")
        except OSError as error:
            raise_os_error(path, error, "lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            handle.close()
            raise StarcliError(f"{path}: is being written by {holder}") from error
        if target.exists() and os.fstat(handle.fileno()).st_ino == target.stat().st_ino:
            break
        handle.close()  # the holder before us removed the file between our open and our lock
    try:
        handle.truncate(0)
        handle.write(f"process {os.getpid()}")
        handle.flush()
        for each in (path, state_path(path), *beside):
            leftovers.sweep(each)
        yield
    finally:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        handle.close()
