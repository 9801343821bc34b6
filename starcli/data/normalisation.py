"""From raw values to what a network is given: images cut, augmented and normalised, a batch at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor

from starcli.data.augment import augment

BYTES = 255.0
"""Largest value of a byte, by which images of bytes are divided."""


@dataclass(frozen=True)
class Normalisation:
    """Affine map inputs = (raw / span - mean) / std, one mean and std a channel (or feature), or one for all.

    `span` is what raw values are divided by first: BYTES for uint8 images, 16 for the digits, 1 for floats.
    """

    span: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@lru_cache(maxsize=16)  # every batch asks for them
def normalising_constants(normalisation: Normalisation, dimensions: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor and summand of the map, shaped to broadcast over (B, C, ...) inputs of so many dimensions."""
    with torch.inference_mode(False):  # whoever asks first
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

    Tokens stay as they are.
    """
    if raw.dtype == torch.int64:
        return raw
    images = raw
    if images.dim() == 4:
        size = (input_shape[1], input_shape[2])
        images = augment(images, augmentation, size=size, generator=generator or torch.Generator())
    layout = torch.channels_last if channels_last else torch.contiguous_format
    inputs = images.to(torch.float32, copy=True, memory_format=layout)
    # Two operations that round once each, never a fused one: a batch must not depend on how it was cut.
    factor, summand = normalising_constants(normalisation, raw.dim(), raw.device)
    return inputs.mul_(factor).add_(summand)
