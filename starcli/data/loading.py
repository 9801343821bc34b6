"""What all loaders share: their argument and result, normalisation, fingerprints, guards against bombs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from starcli.data.partition import check_labels
from starcli.data.splits import MemorySplit, Normalisation, Split
from starcli.errors import StarcliError

Array = NDArray[np.generic]
"""Array of any dtype."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet, by which the paper normalises CIFAR (appendix B.1); published by torchvision with its models."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet, likewise."""

UNPACKED_BYTES = 128 << 20
"""A packed file may unfold to this much, or to UNPACKED_RATIO times its size; more is taken for a bomb."""
UNPACKED_RATIO = 16

_CHUNK = 1 << 20
"""Values that the statistics look at together: it bounds the memory that they take beside the data."""


@dataclass(frozen=True)
class Request:
    """Argument of a loader: the rest of the name (path or parameters), and the options of some kinds."""

    rest: str = ""
    data_dir: Path | None = None
    download: bool = False
    image_size: int | None = None


@dataclass(frozen=True)
class Loaded:
    """Result of a loader: a data set before limit and validation split are applied."""

    name: str
    num_classes: int
    normalisation: Normalisation
    input_shape: tuple[int, ...]
    fingerprint: str
    train: Split
    test: Split
    augmentation: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What users should know about the data, though it is no error."""


@dataclass(frozen=True)
class Part:
    """Raw inputs (N, C, H, W) or (N, D), uint8 or float32, and labels (N,) int64; `where` names them in errors."""

    inputs: Array
    labels: NDArray[np.int64]
    where: str


def assemble(
    name: str,
    train: Part,
    test: Part,
    *,
    normalisation: Normalisation | None = None,
    span: float = 255.0,
    num_classes: int | None = None,
    augmentation: tuple[str, ...] = (),
) -> Loaded:
    """Check arrays in memory and make a data set of them.

    Inputs are normalised by the training part's own mean and deviation of inputs / `span`, or by `normalisation`.
    Raises StarcliError where the labels do not fit the images, or the two parts differ in shape or dtype.
    """
    classes = check_labels([(p.where, p.labels, len(p.inputs)) for p in (train, test)], num_classes)
    shape = train.inputs.shape[1:]
    if test.inputs.shape[1:] != shape or test.inputs.dtype != train.inputs.dtype:
        raise StarcliError(
            "training and test inputs differ",
            [f"{p.where}: {p.inputs.dtype} of shape {p.inputs.shape[1:]}" for p in (train, test)],
        )
    normalisation = normalisation or measure_normalisation(train.inputs, span)
    splits = [
        MemorySplit(torch.from_numpy(part.inputs), torch.from_numpy(part.labels), normalisation)
        for part in (train, test)
    ]
    return Loaded(
        name=name,
        num_classes=classes,
        normalisation=normalisation,
        input_shape=tuple(int(size) for size in shape),
        fingerprint=fingerprint([train, test]),
        train=splits[0],
        test=splits[1],
        augmentation=augmentation,
    )


def measure_normalisation(inputs: Array, span: float) -> Normalisation:
    """Mean and standard deviation of `inputs / span`: by channel for images, by feature for float vectors.

    uint8 vectors are taken for flattened images: one mean and deviation for all, since single pixels may be constant. A
    deviation of 0 becomes 1.
    """
    channels = inputs.shape[1] if inputs.ndim == 4 or inputs.dtype != np.uint8 else 1
    flat = inputs.reshape(len(inputs), channels, -1)
    moments = [_byte_moments(flat[:, c]) if inputs.dtype == np.uint8 else _moments(flat[:, c]) for c in range(channels)]
    return Normalisation(
        span, tuple(mean / span for mean, _ in moments), tuple(math.sqrt(var) / span or 1.0 for _, var in moments)
    )


def _byte_moments(values: Array) -> tuple[float, float]:
    """Mean and variance of (N, X) uint8 values by counting them: exact integers, alike on every machine."""
    step = max(1, _CHUNK // max(1, values.shape[1]))
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(values), step):
        counts += np.bincount(values[start : start + step].reshape(-1), minlength=256)
    count, total, squares = (int((counts * np.arange(256) ** power).sum()) for power in (0, 1, 2))
    return total / count, (squares * count - total * total) / (count * count)


def _moments(values: Array) -> tuple[float, float]:
    """Mean and variance of (N, X) floats, in float64 and two passes over chunks."""
    step = max(1, _CHUNK // max(1, values.shape[1]))
    chunks = range(0, len(values), step)
    mean = sum(float(values[i : i + step].sum(dtype=np.float64)) for i in chunks) / values.size
    squares = sum(float(np.square(values[i : i + step].astype(np.float64) - mean).sum()) for i in chunks)
    return mean, squares / values.size


def fingerprint(parts: Iterable[Part]) -> str:
    """SHA-256 over the raw contents of training and test part: kind, shape and bytes of inputs and labels.

    Limit and validation split do not enter: a checkpoint records them beside it.
    """
    digest = hashlib.sha256()
    for role, part in zip(("train", "test"), parts, strict=True):
        for array in (part.inputs, part.labels):
            plain = np.ascontiguousarray(array)
            digest.update(f"{role} {plain.dtype.str} {plain.shape}\n".encode())
            digest.update(plain.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def check_unpacked(path: Path, unpacked: int, stored: int) -> None:
    """Raise StarcliError for a compressed file that claims to unfold to far more than it holds: a decompression bomb.

    Called before any memory is taken.
    """
    if unpacked > max(UNPACKED_BYTES, UNPACKED_RATIO * stored):
        raise StarcliError(
            f"{path}: {stored:,} bytes claim to hold {unpacked:,}, which is refused as a decompression bomb",
            [f"up to {UNPACKED_BYTES:,} bytes or {UNPACKED_RATIO} times the file's size are read"],
        )
