"""Small data in memory."""

from pathlib import Path

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def three_classes(seed: int, count: int = 90) -> tuple[Tensor, Tensor]:
    """Points (N, 4) around three means, and their classes (N,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    means = torch.tensor([[2.0, 0, 0, 1], [0, 2, 0, -1], [0, 0, 2, 0]])
    return means[labels] + 0.5 * torch.randn(count, 4, generator=generator), labels


@pytest.fixture(scope="session")
def data() -> dict[str, tuple[Tensor, Tensor]]:
    return {"train": three_classes(0), "test": three_classes(1)}
