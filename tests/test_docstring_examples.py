"""The examples in docstrings run, and give what they show."""

import doctest
import importlib
from pathlib import Path

import pytest
from support.program import PACKAGE

MODULES = [
    ".".join(("starcli", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in sorted(PACKAGE.rglob("*.py"))
    if "    >>> " in path.read_text()
]


def test_there_are_examples() -> None:
    assert len(MODULES) > 50


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write files
    assert doctest.testmod(importlib.import_module(name)).failed == 0
