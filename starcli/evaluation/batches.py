"""The batches of a split, ready for a network, in every pass the same."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from starcli.data.splits import Split

KEPT_BATCH_BYTES = 256 * 2**20
"""Prepared batches of a split are kept for the next pass where they take no more than this."""


class Batches:
    """A split's batches in file order, ready for the network: iterate it as often as needed.

    A split whose float32 inputs fit in `KEPT_BATCH_BYTES` is prepared once; a larger one anew in each pass.
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
        size = 0
        for batch in self.split.batches(self.batch_size, device=self.device, channels_last=channels_last):
            size += batch[0].nbytes
            if size > KEPT_BATCH_BYTES:
                kept = None
            if kept is not None:
                kept.append(batch)
            yield batch
        self._kept = kept
