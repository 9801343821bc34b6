"""Small files of MNIST's format and what the tests of data share."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from starcli.data.dataset import Dataset
from starcli.data.splits import MemorySplit
from starcli.errors import StarcliError

RNG = np.random.RandomState(0)
IMAGES = RNG.randint(0, 256, (30, 5, 4)).astype(np.uint8)
LABELS = np.arange(30).astype(np.uint8) % 3


def idx(array: np.ndarray[Any, Any]) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(directory: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    directory.mkdir(parents=True)
    for part, rows in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
        (directory / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(IMAGES[rows])))
        (directory / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(LABELS[rows])))


def raw(data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(data.train, MemorySplit)
    assert isinstance(data.test, MemorySplit)
    return data.train.raw, data.test.raw


def refused(read: Callable[[], object], *words: str) -> None:
    with pytest.raises(StarcliError) as caught:
        read()
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in caught.value.summary


def three_classes(seed: int, count: int = 90) -> tuple[Tensor, Tensor]:
    """Points (N, 4) around three means, and their classes (N,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    means = torch.tensor([[2.0, 0, 0, 1], [0, 2, 0, -1], [0, 0, 2, 0]])
    return means[labels] + 0.5 * torch.randn(count, 4, generator=generator), labels
