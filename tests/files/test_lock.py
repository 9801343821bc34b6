"""Locks that tell who holds them and never go stale."""

import multiprocessing
from pathlib import Path

import pytest
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
    with pytest.raises(StarcliError, match=f"process {holder.pid}"), lock(path):
        pass
    holder.kill()
    holder.join()
    with lock(path):
        pass
    assert not list(tmp_path.iterdir())
