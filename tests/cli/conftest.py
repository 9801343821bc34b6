"""Tests of commands run in a directory of their own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that must find nothing kept by others."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
