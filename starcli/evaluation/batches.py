"""The batches of a split, ready for a network, in every pass the same."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.evaluation.batchnorm_statistics import pixels_of, statistics_batch_size
from starcli.runtime.memory import spare_bytes

if TYPE_CHECKING:
    from starcli.data.splits import Split

KEPT_BATCH_BYTES = 256 * 2**20
"""Prepared batches of a split are kept for the next pass where they take no more than this, or fit on a GPU."""

GPU_BATCHES, GPU_PIXELS = 8, 2**21
"""A GPU scores so many statistics batches at a time, of no more than so many input pixels: it waits for launches."""


OUTPUTS_AT_ONCE = 2**26
"""A batch that is only scored has no more outputs than this, 256 MiB, on a GPU 8 times as many."""


def outputs_per_example(split: "Split", classes: int) -> int:
    """Numbers that a network returns for an example of a split: one a class, of tokens at every place."""
    return classes * (split.labels.shape[1] if split.per_token else 1)


def scoring_batch_size(input_shape: tuple[int, ...], count: int, device: torch.device, outputs: int) -> int:
    """Batch size of passes that only score: that of statistics, on a GPU up to 8 times as much.

    outputs: numbers that the network returns for an example. Of tokens, from a large vocabulary, they are many,
    and the batches the smaller.

    >>> cpu, gpu = torch.device("cpu"), torch.device("cuda")
    >>> [scoring_batch_size((3, 32, 32), 50_000, device, outputs=10) for device in (cpu, gpu)]
    [128, 1024]
    >>> scoring_batch_size((3, 224, 224), 50_000, gpu, outputs=1_000)
    64
    >>> scoring_batch_size((1, 128), 50_000, cpu, outputs=128 * 50_000)
    10
    """
    size = min(statistics_batch_size(input_shape, count), max(1, OUTPUTS_AT_ONCE // outputs))
    if device.type != "cuda":
        return size
    return max(size, min(GPU_BATCHES * size, GPU_PIXELS // pixels_of(input_shape)))


class Batches:
    """A split's batches in file order, ready for the network: iterate it as often as needed.

    A split whose float32 inputs fit in `KEPT_BATCH_BYTES`, or in what is spare on a GPU, is prepared once; a larger one
    anew in each pass.
    """

    def __init__(self, split: "Split", batch_size: int, device: torch.device) -> None:
        self.split, self.batch_size, self.device = split, batch_size, device
        self._kept: list[tuple[Tensor, Tensor]] | None = None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[tuple[Tensor, Tensor]] | None = []
        # images with their channels innermost: 1.5 times faster convolutions on CPUs (measured), slower ones on mps
        channels_last = self.device.type != "mps"
        size, most = 0, max(KEPT_BATCH_BYTES, spare_bytes(self.device))
        for batch in self.split.batches(self.batch_size, device=self.device, channels_last=channels_last):
            size += batch[0].nbytes
            if size > most:
                kept = None
            if kept is not None:
                kept.append(batch)
            yield batch
        self._kept = kept
