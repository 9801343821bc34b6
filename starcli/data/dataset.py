"""Data sets by name, divided into training, validation and test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from starcli.data.loading import Loaded, Request
from starcli.data.names import parse_name
from starcli.data.partition import balanced_prefix, split_indices
from starcli.data.splits import Split
from starcli.data.streaming import StreamedSplit
from starcli.errors import StarcliError
from starcli.registry.data_sets import DATASETS
from starcli.registry.entry import resolve


@dataclass(frozen=True)
class Dataset:
    """Data set, ready to be read, with everything that a checkpoint records about it.

    name: the kind as typed, without any path.
    input_shape: (C, H, W), or (D,) for vectors.
    mean, std: of inputs scaled to [0, 1] (raw for float inputs).
    fingerprint: SHA-256 over the whole data, whatever limit and split.
    augmentation: this data set's usual one for training.
    notes: what users should know about it.
    """

    name: str
    num_classes: int
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    augmentation: tuple[str, ...]
    train: Split
    validation: Split | None
    test: Split
    val_fraction: float
    split_seed: int
    limit: int | None
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> Split:
        """The part called train, validation or test; StarcliError where there is no validation part."""
        found: Split | None = getattr(self, name)
        if found is None:
            hint = "--val-fraction holds back a share of the training data, when models are trained"
            raise StarcliError(f"there is no {name} split", [hint])
        return found

    def normalised(self, mean: Sequence[float], std: Sequence[float]) -> Dataset:
        """The same data, normalised by another mean and standard deviation: those of the model that is to read it."""
        return replace(
            self,
            mean=tuple(mean),
            std=tuple(std),
            train=self.train.normalised(mean, std),
            validation=None if self.validation is None else self.validation.normalised(mean, std),
            test=self.test.normalised(mean, std),
        )


def open_data(
    name: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    limit: int | None = None,
    val_fraction: float = 0.0,
    split_seed: int = 0,
    image_size: int | None = None,
) -> Dataset:
    """Open the data set `name` as typed: "digits", "cifar10", "idx:DIR", "folder:DIR", "x.npz", "gaussians:train=100".

    limit: number of training images that are kept, evenly over the classes (`balanced_prefix`); the validation part
        (`split_indices`) is then taken from these.
    data_dir, download: where the public data sets are, and whether to fetch them.
    image_size: side of the images of a folder.

    Raises StarcliError for everything that may be wrong with a name, a file or its contents.

    >>> data = open_data("digits", val_fraction=0.1)
    >>> data.input_shape, len(data.train), len(data.validation), len(data.test)
    ((1, 8, 8), 1293, 144, 360)
    >>> inputs, labels = next(iter(data.train.batches(32)))
    >>> inputs.shape, labels.shape
    (torch.Size([32, 1, 8, 8]), torch.Size([32]))
    """
    kind, rest = parse_name(name)
    if image_size is not None and kind != "folder":
        raise StarcliError(f"an image size is for folder:DIR; {kind} has its own")
    if image_size is not None and not 1 <= image_size <= 4096:
        raise StarcliError(f"the image size is {image_size}, expected 1 to 4096")
    loaded: Loaded = resolve(DATASETS, "data set", kind)(Request(rest, data_dir, download, image_size))
    train, validation = _divide(loaded.train, limit, val_fraction, split_seed)
    train, validation, test = _resident(train, validation, loaded.test)
    return Dataset(
        name=loaded.name,
        num_classes=loaded.num_classes,
        input_shape=loaded.input_shape,
        mean=loaded.normalisation.mean,
        std=loaded.normalisation.std,
        fingerprint=loaded.fingerprint,
        augmentation=loaded.augmentation,
        train=train,
        validation=validation,
        test=test,
        val_fraction=val_fraction,
        split_seed=split_seed,
        limit=limit,
        notes=loaded.notes,
    )


def _divide(train: Split, limit: int | None, val_fraction: float, split_seed: int) -> tuple[Split, Split | None]:
    """Training and validation part of the images within `limit`."""
    kept = balanced_prefix(train.labels.numpy(), limit)
    inner, outer = split_indices(len(kept), val_fraction, split_seed)
    if len(inner) == len(train):
        return train, None
    validation = train.subset(torch.from_numpy(kept[outer])) if len(outer) else None
    return train.subset(torch.from_numpy(kept[inner])), validation


def _resident(train: Split, validation: Split | None, test: Split) -> tuple[Split, Split | None, Split]:
    """Decode streamed splits into memory where all of them together fit there."""
    streamed = [split for split in (train, validation, test) if isinstance(split, StreamedSplit)]
    if not streamed or sum(split.decoded_bytes for split in streamed) > StreamedSplit.RESIDENT_BYTES:
        return train, validation, test
    held = {id(split): split.decode() for split in streamed}
    return (
        held.get(id(train), train),
        None if validation is None else held.get(id(validation), validation),
        held.get(id(test), test),
    )
