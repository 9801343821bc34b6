"""From raw values to what a network is given: images cut, augmented and normalised, a batch at a time.

And the mean and standard deviation by which inputs are normalised.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from starcli.data.augment import augment
from starcli.data.normalise_option import MeanStd

BYTES = 255.0
"""Largest value of a byte, by which images of bytes are divided."""

_CHUNK = 1 << 20
"""Values that are looked at together: it bounds the memory that the statistics take beside the data."""


@dataclass(frozen=True)
class Normalisation:
    """Affine map inputs = (raw / span - mean) / std, one mean and std a channel (or feature), or one for all.

    `span` is what raw values are divided by first: BYTES for uint8 images, 16 for the digits, 1 for floats.
    Grey images become as many channels as there are means, all of them the same picture.
    """

    span: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def shape_of(self, raw: Sequence[int]) -> tuple[int, ...]:
        """Shape of a normalised input, of a raw one's: of grey images (1, H, W) with a channel for each mean.

        >>> Normalisation(BYTES, (0.5, 0.5, 0.4), (0.2, 0.2, 0.2)).shape_of((1, 28, 28))
        (3, 28, 28)
        """
        return (len(self.mean), *raw[1:]) if is_grey(raw) else tuple(raw)


def is_grey(shape: Sequence[int]) -> bool:
    """Whether inputs of this shape are images of a single channel."""
    return len(shape) == 3 and shape[0] == 1


@lru_cache(maxsize=16)  # every batch asks for them
def normalising_constants(normalisation: Normalisation, dimensions: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor and summand of the map, shaped to broadcast over (B, C, ...) inputs of so many dimensions."""
    std, mean = (torch.tensor(each, dtype=torch.float64) for each in (normalisation.std, normalisation.mean))
    shape = (-1,) + (1,) * (dimensions - 2)
    factor, summand = 1 / (normalisation.span * std), -mean / std
    return factor.float().view(shape).to(device), summand.float().view(shape).to(device)


def prepare_batch(
    raw: Tensor,
    input_shape: Sequence[int],
    normalisation: Normalisation,
    augmentation: Sequence[str] = (),
    generator: Generator | None = None,
    *,
    channels_last: bool = False,
) -> Tensor:
    """Cut, augment and normalise a batch of raw inputs, always into new memory: (B, *input_shape) float32.

    Tokens stay as they are, and grey images are repeated for each channel of the normalisation.
    """
    if raw.dtype == torch.int64:
        return raw
    images = raw
    if images.dim() == 4:
        size = (input_shape[1], input_shape[2])
        images = augment(images, augmentation, size=size, generator=generator or torch.Generator())
        images = images.expand(-1, normalisation.shape_of(images.shape[1:])[0], -1, -1)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    inputs = images.to(torch.float32, copy=True, memory_format=layout)
    # Two operations that round once each, never a fused one: a batch must not depend on how it was cut.
    factor, summand = normalising_constants(normalisation, raw.dim(), raw.device)
    return inputs.mul_(factor).add_(summand)


def mean_and_std(inputs: NDArray[np.generic], span: float) -> MeanStd:
    """Mean and standard deviation of `inputs / span`: by channel for images, by feature for float vectors.

    uint8 vectors are taken for flattened images: one mean and deviation for all, since single pixels may be constant. A
    deviation of 0 becomes 1.
    """
    if inputs.dtype == np.uint8:
        return mean_and_std_of_bytes([inputs], span)
    flat = inputs.reshape(len(inputs), inputs.shape[1], -1)
    return _scaled([_moments(flat[:, channel]) for channel in range(flat.shape[1])], span)


def mean_and_std_of_bytes(chunks: Iterable[NDArray[np.generic]], span: float) -> MeanStd:
    """Mean and deviation of uint8 inputs in chunks, by counting values: exact integers, alike on every machine."""
    counts = sum(map(_counts, chunks))
    moments = []
    for each in np.asarray(counts):
        count, total, squares = (int((each * np.arange(256) ** power).sum()) for power in (0, 1, 2))
        moments.append((total / count, (squares * count - total * total) / (count * count)))
    return _scaled(moments, span)


def _scaled(moments: list[tuple[float, float]], span: float) -> MeanStd:
    """Mean and deviation by channel, from (mean, variance) of unscaled values."""
    return tuple(mean / span for mean, _ in moments), tuple(math.sqrt(var) / span or 1.0 for _, var in moments)


def _counts(inputs: NDArray[np.generic]) -> NDArray[np.int64]:
    """How often each value occurs in each channel of uint8 inputs: (C, 256), one channel for vectors."""
    channels = inputs.shape[1] if inputs.ndim == 4 else 1
    flat = inputs.reshape(len(inputs), channels, -1)  # (N, C, X)
    step = max(1, _CHUNK // max(1, flat.shape[2]))
    counts = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(flat), step):
        for channel in range(channels):
            counts[channel] += np.bincount(flat[start : start + step, channel].reshape(-1), minlength=256)
    return counts


def _moments(values: NDArray[np.generic]) -> tuple[float, float]:
    """Mean and variance of (N, X) floats, in float64 and two passes over chunks."""
    step = max(1, _CHUNK // max(1, values.shape[1]))
    chunks = range(0, len(values), step)
    mean = sum(float(values[i : i + step].sum(dtype=np.float64)) for i in chunks) / values.size
    squares = sum(float(np.square(values[i : i + step].astype(np.float64) - mean).sum()) for i in chunks)
    return mean, squares / values.size
