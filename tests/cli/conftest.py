"""Tests of commands run in a directory of their own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of the test; modules that are imported from there are forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in sys.modules.keys() - before:  # those alone: to look at all takes longer than most tests
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that must find nothing kept by others."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
