"""Splits of image files that worker processes decode while the network computes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from starcli.data.encoded_images import ImageFiles
from starcli.data.normalisation import Normalisation, mean_and_std_of_bytes, prepare_batch
from starcli.data.normalise_option import MeanStd
from starcli.data.splits import Device, MemorySplit, Split, check_batch_request
from starcli.errors import StarcliError, first_of

CHUNK = 32
"""Images that a worker hands over at once.

Few, so that the first batch comes early and little shared memory is held.
"""

SHOWN = 10
"""Largest number of broken images that an error lists."""


class _Chunks(Dataset[tuple[Tensor, list[str]]]):
    """Work of the workers: item i is chunk i of the decoded images, and one line for each that is broken."""

    def __init__(self, files: ImageFiles, positions: NDArray[np.int64], size: int) -> None:
        self.files, self.positions, self.size = files, positions, size

    def __getitem__(self, chunk: int) -> tuple[Tensor, list[str]]:
        chosen = self.positions[chunk * CHUNK : (chunk + 1) * CHUNK]
        images = torch.empty(len(chosen), 3, self.size, self.size, dtype=torch.uint8)
        problems = []
        for row, position in enumerate(chosen):
            try:
                images[row] = torch.from_numpy(self.files.decode(position, self.size))
            except StarcliError as error:
                # Words, not the exception: a DataLoader would wrap it into a worker's traceback.
                problems.append(error.summary)
        return images, problems

    def __len__(self) -> int:
        return -(-len(self.positions) // CHUNK)


def default_workers() -> int:
    """Number of workers: one for each core that this process may use, shared among this machine's ranks, at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, min(16, cores // max(1, int(ranks) if ranks.isdigit() else 1)))


class StreamedSplit(Split):
    """Split of image files, decoded anew in each pass: for what does not fit in memory."""

    RESIDENT_BYTES = 2 << 30
    """Data sets that take up to this much, decoded, are held in memory instead."""

    def __init__(
        self,
        files: ImageFiles,
        labels: Tensor,
        normalisation: Normalisation,
        *,
        stored_size: int,
        input_size: int,
    ) -> None:
        """Images are resized to `stored_size` squared; the network sees windows of `input_size` squared."""
        self._files, self.labels, self.normalisation = files, labels, normalisation
        self._stored, self._size = stored_size, input_size

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    @property
    def names(self) -> tuple[str, ...]:
        """See `Split.names`."""
        return tuple(map(os.fsdecode, self._files.names))

    @property
    def decoded_bytes(self) -> int:
        """Memory that all images take once decoded and resized."""
        return len(self) * 3 * self._stored**2

    def subset(self, positions: Tensor) -> StreamedSplit:
        """See `Split.subset`."""
        return self._changed(self._files.subset(positions.numpy()), self.labels[positions], self.normalisation)

    def normalised(self, normalisation: Normalisation) -> StreamedSplit:
        """See `Split.normalised`."""
        return self._changed(self._files, self.labels, normalisation)

    def mean_and_std(self) -> MeanStd:
        """See `Split.mean_and_std`; decodes all images."""
        chunks = self._chunks(np.arange(len(self)), torch.device("cpu"), 4 * CHUNK, all_broken=True)
        return mean_and_std_of_bytes((chunk.numpy() for chunk in chunks), self.normalisation.span)

    def _changed(self, files: ImageFiles, labels: Tensor, normalisation: Normalisation) -> StreamedSplit:
        return StreamedSplit(files, labels, normalisation, stored_size=self._stored, input_size=self._size)

    def decode(self) -> MemorySplit:
        """Decode all images into memory."""
        images = torch.empty(len(self), 3, self._stored, self._stored, dtype=torch.uint8)
        done = 0
        for chunk in self._chunks(np.arange(len(self)), torch.device("cpu"), 4 * CHUNK, all_broken=True):
            images[done : done + len(chunk)] = chunk
            done += len(chunk)
        shape = (3, self._size, self._size)
        return MemorySplit(images, self.labels, self.normalisation, input_shape=shape, names=self.names)

    def batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        augmentation: Sequence[str] = (),
        generator: Generator | None = None,
        device: Device = "cpu",
        channels_last: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Split.batches`."""
        shape = (3, self._size, self._size)
        check_batch_request(batch_size, augmentation, generator, (3, self._stored, self._stored), shape)
        place = torch.device(device)
        order = torch.arange(len(self)) if order is None else order.cpu()
        labels = self.labels[order].to(place)

        def generate() -> Iterator[tuple[Tensor, Tensor]]:
            done = 0
            for images in _regrouped(self._chunks(order.numpy(), place, 2 * batch_size), batch_size):
                inputs = prepare_batch(
                    images, shape, self.normalisation, augmentation, generator, channels_last=channels_last
                )
                yield inputs, labels[done : done + len(inputs)]
                done += len(inputs)

        return generate()

    def _chunks(
        self, positions: NDArray[np.int64], device: torch.device, ahead: int, *, all_broken: bool = False
    ) -> Iterator[Tensor]:
        """Raw images at `positions`, in that order, chunk by chunk on `device`, about `ahead` prefetched.

        Where some cannot be read, the error names those of the first such chunk or, with `all_broken`, of all chunks.
        """
        items = _Chunks(self._files, positions, self._stored)
        workers = min(len(items), default_workers()) if len(items) > 1 else 0  # one chunk is waited for anyway
        loader = DataLoader(
            items,
            batch_size=None,
            num_workers=workers,
            # Two batches: with less, workers would fall idle while the network computes on one.
            prefetch_factor=max(2, -(-ahead // (workers * CHUNK))) if workers else None,
            pin_memory=device.type == "cuda",
            generator=Generator(),  # else the loader draws its workers' seeds from the global generator
        )
        broken: list[str] = []
        for images, problems in loader:
            broken += problems
            if broken and not all_broken:
                break
            yield images.to(device, non_blocking=True)
        if len(broken) == 1:
            raise StarcliError(broken[0])
        if broken:
            raise StarcliError(f"{self._files.root}: {len(broken)} images cannot be read", first_of(broken, SHOWN))


def _regrouped(chunks: Iterator[Tensor], batch_size: int) -> Iterator[Tensor]:
    """Batches of `batch_size` rows from chunks of any length; the last may be smaller."""
    held: list[Tensor] = []
    rows = 0
    for chunk in chunks:
        while rows + len(chunk) >= batch_size:
            taken = batch_size - rows
            held.append(chunk[:taken])
            yield held[0] if len(held) == 1 else torch.cat(held)
            held, rows, chunk = [], 0, chunk[taken:]
        if len(chunk):
            held.append(chunk)
            rows += len(chunk)
    if held:
        yield torch.cat(held)
