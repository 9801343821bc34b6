"""Locks that tell who holds them and never go stale."""

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest
from support.disk import files_of_at_most
from support.locks import hold

from starcli.errors import StarcliError
from starcli.files.lock import lock


def test_the_second_process_is_told_who_holds_the_output_and_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold, args=(path, ready))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(StarcliError, match=f"process {holder.pid} on {os.uname().nodename}"), lock(path):
        pass
    holder.kill()
    holder.join()
    with lock(path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_disk_without_locks_is_not_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StarcliError, match="out: cannot lock: Function not implemented"), lock(tmp_path / "out"):
        pass


def test_a_full_disk_is_told_with_the_output_that_was_to_be_locked(tmp_path: Path) -> None:
    refusal = pytest.raises(StarcliError, match="out: cannot lock: File too large")
    with refusal, files_of_at_most(0), lock(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_goes_away_while_we_look_at_it_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder before us removes the file after our open, and another one's comes and goes."""
    flock, opened = fcntl.flock, []

    def late(handle: object, how: int) -> None:
        flock(handle, how)  # type: ignore[call-overload]
        if not opened:
            (tmp_path / ".out.lock").unlink()
        opened.append(handle)

    monkeypatch.setattr(fcntl, "flock", late)
    with lock(tmp_path / "out"):
        assert (tmp_path / ".out.lock").exists()
    assert len(opened) == 2
