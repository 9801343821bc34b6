"""Small data in memory."""

from pathlib import Path

import pytest
from support.data import three_classes
from torch import Tensor


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def data() -> dict[str, tuple[Tensor, Tensor]]:
    return {"train": three_classes(0), "test": three_classes(1)}
