"""Garbage is collected while a command works, and not while modules are imported."""

import gc
import sys

import pytest

from starcli.cli.main import main
from starcli.runtime.garbage import begin_garbage_collection, put_off_garbage_collection


class Ring:
    """Garbage that only a collection finds."""

    living = 0

    def __init__(self) -> None:
        self.own = self
        Ring.living += 1

    def __del__(self) -> None:
        Ring.living -= 1


def test_what_is_there_when_collection_begins_stays_and_later_garbage_goes() -> None:
    frozen = gc.get_freeze_count()
    try:
        put_off_garbage_collection()
        Ring()
        begin_garbage_collection()
        Ring()
        assert gc.isenabled()
        assert Ring.living == 2
        gc.collect()
        assert Ring.living == 1
    finally:
        gc.unfreeze()
    gc.collect()
    assert Ring.living == 0
    if frozen:  # of what the test files have imported
        gc.freeze()


def test_a_command_collects_once_it_works(solutions, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["starcli", "inspect", str(solutions[0])])
    seen = []
    monkeypatch.setattr(gc, "freeze", lambda: seen.append(gc.isenabled()))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert seen == [False]
    assert gc.isenabled()
    assert capsys.readouterr().out
