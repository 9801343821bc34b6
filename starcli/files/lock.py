"""Lock for an output file, so that two processes never write the same one."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from starcli.errors import StarcliError
from starcli.files import leftovers
from starcli.files.links import behind_links
from starcli.files.state import state_path
from starcli.files.write import make_directory, raise_os_error
from starcli.runtime.rehearsal import present_rehearsal


class BusyError(StarcliError):
    """An output that another process is writing."""


@contextlib.contextmanager
def lock(path: Path, *beside: Path, wait: bool = False) -> Iterator[None]:
    """Hold the output `path` for this process, by a lock of the kernel (flock) on `.NAME.lock` beside it.

    Of a link it is the file that it leads to which is held, so that no process writes it by another name.

    The directory is made where it does not exist.
    Temporary files that an earlier holder left, of `path` and of the files `beside` it that only the holder writes, are
    removed. The kernel drops the lock when its holder dies, so none goes stale.

    wait: wait for another holder; otherwise BusyError names it. A rehearsal holds nothing.
    """
    if present_rehearsal() is not None:
        yield
        return
    file = behind_links(path)
    target = file.with_name(f".{file.name}.lock")
    make_directory(file.parent)
    while True:
        try:
            handle = target.open("a+", encoding="utf-8", errors="replace")
        except OSError as error:
            raise_os_error(path, error, "lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            handle.close()
            raise BusyError(f"{path}: is being written by {holder}") from error
        except OSError as error:  # a disk without locks, as some of clusters are
            handle.close()
            raise_os_error(path, error, "lock")
        if _is_at(target, handle.fileno()):
            break
        handle.close()  # the holder before us removed the file between our open and our lock
    try:
        _sign(path, handle.fileno())
        for each in (file, state_path(path), *map(behind_links, beside)):
            leftovers.sweep(each)
        yield
    finally:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        handle.close()


def _sign(path: Path, descriptor: int) -> None:
    """Write into a lock who holds the output `path`; past Python's buffers, which closing would try to write again."""
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(errors="replace"))
    except OSError as error:
        raise_os_error(path, error, "lock")


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one at `path`, which others may remove at any moment."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
