"""Splits (train, validation, test): labelled inputs, read in normalised and augmented batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from starcli.data.augment import check_augmentations
from starcli.data.normalisation import Normalisation, mean_and_std, prepare_batch
from starcli.data.normalise_option import MeanStd
from starcli.runtime.memory import spare_bytes

Device = torch.device | str
"""A device or its name."""

READY_BYTES = 64 << 20
"""Below this size, or where a GPU has room, the normalised inputs are kept: later passes cost a slice or a gather."""


class Split(ABC):
    """Labelled inputs in a fixed order, read in batches."""

    labels: Tensor
    """Labels (N,), int64 on the CPU, in file order; (N, length) of tokens, -1 where none is predicted.

    Or float32 (N, columns): numbers, or labels that are there (1) or not (0).
    """
    normalisation: Normalisation
    """How its inputs are normalised."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @property
    def per_token(self) -> bool:
        """Whether labels are tokens at places of a text."""
        return self.labels.dim() == 2 and not self.labels.is_floating_point()

    @property
    def targets(self) -> Tensor:
        """The targets, in order: the labels, or all tokens (R,) that are predicted of (N, length)."""
        return self.labels[self.labels >= 0] if self.per_token else self.labels

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...] | None:
        """Path of each example's file below the directory of the split; None where examples are no files."""

    @property
    def index(self) -> Tensor:
        """Place (N,), int64, of each example in the array that it was read from; of files their place in the split."""
        return torch.arange(len(self))

    @abstractmethod
    def subset(self, positions: Tensor) -> Split:
        """Part of the split at int64 `positions`, in their order."""

    @abstractmethod
    def normalised(self, normalisation: Normalisation) -> Split:
        """This split with its inputs normalised otherwise."""

    @abstractmethod
    def mean_and_std(self) -> MeanStd:
        """Mean and standard deviation of the inputs themselves, bytes scaled to [0, 1]: see `data.normalisation`."""

    @abstractmethod
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
        """Iterate over inputs (B, ...) and labels (B, ...) on `device`; the last may be smaller.

        Inputs are float32 and normalised; tokens are int64, as they are.

        order: int64 positions (default: file order).
        augmentation: names of augmentations, drawn anew for each image by `generator` (on the CPU).

        The tensors must not be written to: they may be views of what the split keeps.
        """


class MemorySplit(Split):
    """Split of raw inputs in memory and, once used there, on the device.

    These are (N, C, H, W) or (N, D), uint8 or float32, or tokens (N, length), int64.
    """

    def __init__(
        self,
        raw: Tensor,
        labels: Tensor,
        normalisation: Normalisation,
        *,
        input_shape: Sequence[int] | None = None,
        names: tuple[str, ...] | None = None,
        index: Tensor | None = None,
    ) -> None:
        """`raw` are the inputs as they are stored; `input_shape` is smaller where the network sees windows of them.

        `names` are of the files that they come from, if they do; `index` is their place in an array, if that has more.
        """
        if len(raw) != len(labels) or labels.dtype not in (torch.int64, torch.float32):
            raise ValueError(f"{len(raw)} inputs need as many labels, int64 or float32, got {labels.shape}")
        self.raw = raw
        self.labels = labels
        self.normalisation = normalisation
        self._names = names
        self._index = torch.arange(len(raw)) if index is None else index
        size = tuple(raw.shape[1:]) if input_shape is None else (*raw.shape[1:2], *input_shape[1:])
        self.input_shape = normalisation.shape_of(size)
        self._resident: tuple[torch.device, Tensor, Tensor] | None = None
        self._ready: tuple[tuple[torch.device, bool], Tensor] | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.raw)

    @property
    def names(self) -> tuple[str, ...] | None:
        """See `Split.names`."""
        return self._names

    @property
    def index(self) -> Tensor:
        """See `Split.index`."""
        return self._index

    def subset(self, positions: Tensor) -> MemorySplit:
        """See `Split.subset`."""
        names = None if self._names is None else tuple(self._names[row] for row in positions.tolist())
        return MemorySplit(
            self.raw[positions],
            self.labels[positions],
            self.normalisation,
            input_shape=self.input_shape,
            names=names,
            index=self._index[positions],
        )

    def normalised(self, normalisation: Normalisation) -> MemorySplit:
        """See `Split.normalised`."""
        shape, names, index = self.input_shape, self._names, self._index
        return MemorySplit(self.raw, self.labels, normalisation, input_shape=shape, names=names, index=index)

    def mean_and_std(self) -> MeanStd:
        """See `Split.mean_and_std`."""
        return mean_and_std(self.raw.numpy(), self.normalisation.span)

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
        check_batch_request(batch_size, augmentation, generator, tuple(self.raw.shape[1:]), self.input_shape)
        channels_last = channels_last and self.raw.dim() == 4
        place = torch.device(device)
        raw, labels = self._on(place)
        if order is not None:
            order = order.to(place)
        if not augmentation and self._is_ready(place, channels_last):
            return _picked(self._inputs(place, channels_last), labels, batch_size, order, channels_last)
        return self._prepared(raw, labels, batch_size, order, augmentation, generator, channels_last)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Raw inputs and labels on `device`; the last device asked for keeps its copy."""
        if self.raw.device == device:
            return self.raw, self.labels
        if self._resident is None or self._resident[0] != device:
            self._resident = (device, self.raw.to(device), self.labels.to(device))
        return self._resident[1:]

    def _is_ready(self, device: torch.device, channels_last: bool) -> bool:
        """Whether all normalised inputs are there, or small enough to be made now."""
        if self._ready is not None and self._ready[0] == (device, channels_last):
            return True
        return len(self) * _float_bytes(self.input_shape) <= max(READY_BYTES, spare_bytes(device))

    def _inputs(self, device: torch.device, channels_last: bool) -> Tensor:
        """All normalised inputs, made once: (N, C, H, W), or (N, H, W, C) in memory for channels last."""
        key = (device, channels_last)
        if self._ready is None or self._ready[0] != key:
            inputs = prepare_batch(self._on(device)[0], self.input_shape, self.normalisation)
            # Gathering rows of a permuted tensor would lose its layout, so the layout is made the shape.
            self._ready = (key, inputs.permute(0, 2, 3, 1).contiguous() if channels_last else inputs)
        return self._ready[1]

    def _prepared(
        self,
        raw: Tensor,
        labels: Tensor,
        batch_size: int,
        order: Tensor | None,
        augmentation: Sequence[str],
        generator: Generator | None,
        channels_last: bool,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches that are augmented or normalised as they come."""
        for images, targets in _picked(raw, labels, batch_size, order, False):
            inputs = prepare_batch(
                images, self.input_shape, self.normalisation, augmentation, generator, channels_last=channels_last
            )
            yield inputs, targets


def _float_bytes(shape: Sequence[int]) -> int:
    """Bytes of one float32 input."""
    return 4 * int(torch.Size(shape).numel())


def _picked(
    inputs: Tensor, labels: Tensor, batch_size: int, order: Tensor | None, permuted: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of rows: slices in file order, else gathers; `permuted` rows are (H, W, C) and returned as (C, H, W)."""
    for start in range(0, len(labels) if order is None else len(order), batch_size):
        if order is None:
            rows, targets = inputs[start : start + batch_size], labels[start : start + batch_size]
        else:
            chosen = order[start : start + batch_size]
            rows, targets = inputs.index_select(0, chosen), labels.index_select(0, chosen)
        yield rows.permute(0, 3, 1, 2) if permuted else rows, targets


def check_batch_request(
    batch_size: int,
    augmentation: Sequence[str],
    generator: Generator | None,
    stored: tuple[int, ...],
    input_shape: tuple[int, ...],
) -> None:
    """Check the arguments of `Split.batches`, for images of shape `stored` that the network sees as `input_shape`.

    Raises StarcliError for augmentations, ValueError for the other arguments.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size}, expected at least 1")
    check_augmentations(augmentation, stored, input_shape)
    if augmentation and generator is None:
        raise ValueError("augmentation needs a generator: draws never come from the global one")
