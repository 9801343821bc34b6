"""The cache: computed once, and no error where it cannot be written."""

from pathlib import Path

import pytest

from starcli.files.cache import cached


def test_cache_computes_once_and_survives_a_read_only_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compute() -> dict[str, int]:
        calls.append(1)
        return {"a": 1}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached("kind", "key", compute) == {"a": 1}
    assert cached("kind", "key", compute) == {"a": 1}
    assert len(calls) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert cached("kind", "key", compute) == {"a": 1}
    assert len(calls) == 2
