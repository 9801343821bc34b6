"""Interface of loaders, their argument and result; fingerprints, guards against bombs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from starcli.data.layout import empty_classes
from starcli.data.normalisation import BYTES, Normalisation, mean_and_std
from starcli.data.normalise_option import AS_THEY_ARE
from starcli.data.partition import check_labels
from starcli.data.splits import MemorySplit, Split
from starcli.data.targets import check_targets
from starcli.data.text_options import AS_THE_FILE_HAS_IT, TextOptions
from starcli.errors import StarcliError
from starcli.registry.tasks import CLASSES

Array = NDArray[np.generic]
"""Array of any dtype."""

UNPACKED_BYTES = 128 << 20
"""A packed file may unfold to this much, or to UNPACKED_RATIO times its size; more is taken for a bomb."""
UNPACKED_RATIO = 16


@dataclass(frozen=True)
class Request:
    """Argument of a loader: the rest of the name (path or parameters), and the options of some kinds."""

    rest: str = ""
    data_dir: Path | None = None
    download: bool = False
    image_size: int | None = None
    texts: TextOptions = AS_THE_FILE_HAS_IT


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Facts of a data set, however it is divided.

    name: the kind as typed, without any path.
    input_shape: (C, H, W), (D,) for vectors, or (length,) for tokens.
    fingerprint: SHA-256 over the whole data, whatever limit and split.
    augmentation: this data set's usual one for training.
    written: hash of when the files were last written, where the fingerprint is not of their contents; results are kept
        under it, records do not have it.
    class_names: names of the classes by label, or of the columns that are predicted, where they have any.
    features: names of the columns of a table that inputs are made of, in order.
    notes: what users should know about it, though it is no error.
    vocab_size: how many tokens there are, where inputs are tokens.
    tokenizer: SHA-256 of the tokenizer file that made them, if one did.
    task: what is predicted, a name of `starcli.registry.tasks.TASKS`; of regression `num_classes` is the number of
        columns that are, and of multi-label that of labels.
    """

    name: str
    num_classes: int
    input_shape: tuple[int, ...]
    fingerprint: str
    augmentation: tuple[str, ...] = ()
    written: str = ""
    class_names: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    vocab_size: int | None = None
    tokenizer: str | None = None
    task: str = CLASSES


@dataclass(frozen=True, kw_only=True)
class Loaded(DataFacts):
    """Result of a loader: a data set before limit and validation split are applied."""

    normalisation: Normalisation
    train: Split
    test: Split
    validation: Split | None = None


@dataclass(frozen=True)
class Part:
    """Raw inputs (N, C, H, W) or (N, D), uint8 or float32, and labels (N,) int64; `where` names them in errors.

    Or tokens (N, length), int64, see `data.tokens`, whose labels may be next tokens (N, length); or targets of the
    other tasks in place of labels, float32 (N, columns), see `data.targets`.
    index: place of each in a larger array.
    """

    inputs: Array
    labels: NDArray[Any]
    where: str
    index: NDArray[np.int64] | None = None

    def split(self, normalisation: Normalisation) -> MemorySplit:
        """These inputs as a split."""
        index = None if self.index is None else torch.from_numpy(self.index)
        return MemorySplit(torch.from_numpy(self.inputs), torch.from_numpy(self.labels), normalisation, index=index)


def assemble(
    name: str,
    train: Part,
    test: Part,
    validation: Part | None = None,
    *,
    normalisation: Normalisation | None = None,
    span: float = BYTES,
    num_classes: int | None = None,
    augmentation: tuple[str, ...] = (),
    task: str = CLASSES,
) -> Loaded:
    """Check arrays in memory and make a data set of them.

    Floats are taken as they are. Bytes are divided by `span` and normalised by the training part's own mean and
    deviation of these, or as `normalisation` says.
    Raises StarcliError where the labels do not fit the images, or the parts differ in shape or dtype.
    """
    parts = [train, test, *([validation] if validation is not None else [])]
    named = [(p.where, p.labels, len(p.inputs)) for p in parts]
    classes = check_labels(named, num_classes) if task == CLASSES else check_targets(named)
    shape = train.inputs.shape[1:]
    if any(p.inputs.shape[1:] != shape or p.inputs.dtype != train.inputs.dtype for p in parts):
        raise StarcliError(
            "the parts of the data differ",
            [f"{p.where}: {p.inputs.dtype} of shape {p.inputs.shape[1:]}" for p in parts],
        )
    absent = empty_classes(train.labels, classes) if num_classes is None and task == CLASSES else ""
    if normalisation is None and train.inputs.dtype == np.uint8:
        normalisation = Normalisation(span, *mean_and_std(train.inputs, span))
    elif normalisation is None:
        normalisation = Normalisation(1.0, *AS_THEY_ARE)
    notes = (f"{train.where}: {absent}",) if absent else ()
    return of_parts(name, parts, normalisation, num_classes=classes, augmentation=augmentation, notes=notes, task=task)


def of_parts(name: str, parts: Sequence[Part], normalisation: Normalisation, **facts: Any) -> Loaded:
    """The data set of a training, a test and perhaps a validation part that were checked; `facts`: fields of it."""
    splits = {id(part): part.split(normalisation) for part in parts}  # a part that stands for two is one split
    train, test, *validation = (splits[id(part)] for part in parts)
    return Loaded(
        name=name,
        normalisation=normalisation,
        input_shape=tuple(int(size) for size in parts[0].inputs.shape[1:]),
        fingerprint=fingerprint(parts),
        train=train,
        test=test,
        validation=validation[0] if validation else None,
        **facts,
    )


def fingerprint(parts: Iterable[Part]) -> str:
    """SHA-256 over the raw contents of training, test and validation part: kind, shape, bytes of inputs and labels.

    Limit and validation split do not enter: a checkpoint records them beside it.
    """
    digest = hashlib.sha256()
    for role, part in zip(("train", "test", "validation"), parts, strict=False):
        for array in (part.inputs, part.labels):
            plain = np.ascontiguousarray(array)
            digest.update(f"{role} {plain.dtype.str} {plain.shape}\n".encode())
            digest.update(plain.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def check_unpacked(path: Path | str, unpacked: int, stored: int) -> None:
    """Raise StarcliError for a compressed file that claims to unfold to far more than it holds: a decompression bomb.

    Called before any memory is taken.
    """
    if unpacked > max(UNPACKED_BYTES, UNPACKED_RATIO * stored):
        raise StarcliError(
            f"{path}: {stored:,} bytes claim to hold {unpacked:,}, which is refused as a decompression bomb",
            [f"up to {UNPACKED_BYTES:,} bytes or {UNPACKED_RATIO} times the file's size are read"],
        )
