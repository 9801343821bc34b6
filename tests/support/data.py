"""Small files of MNIST's format and what the tests of data share."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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
