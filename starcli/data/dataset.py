"""Data sets by name, divided into training, validation and test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from starcli.data.loading import DataFacts, Loaded, Request
from starcli.data.names import IMAGES_OF_ANY_SIZE, IN_MEMORY, check_data_name, needs_path
from starcli.data.normalisation import Normalisation, is_grey
from starcli.data.normalise_option import IMAGENET_MEAN, parse_normalise, same_statistics
from starcli.data.partition import balanced_prefix, split_indices
from starcli.data.splits import MemorySplit, Split
from starcli.data.streaming import StreamedSplit
from starcli.data.text_options import AS_THE_FILE_HAS_IT, TextOptions
from starcli.data.tokens import strata
from starcli.errors import StarcliError
from starcli.registry.data_sets import DATASETS
from starcli.registry.entry import resolve
from starcli.registry.splits import SPLITS
from starcli.registry.tasks import OF_TOKENS

FAR = 30.0
"""Floats beyond this, or below its negative, are hardly what somebody has normalised."""


@dataclass(frozen=True)
class TestData:
    """Other data that a test split is of: name, fingerprint, `written` and `vocab_size` as of `DataFacts`."""

    name: str
    fingerprint: str
    written: str = ""
    vocab_size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset(DataFacts):
    """Data set, ready to be read, with everything that a checkpoint records about it.

    mean, std: by which inputs are normalised, after bytes are scaled to [0, 1]; floats are taken as they are before.
    scaling: a note on how inputs are normalised, where they are a user's own and nobody said how.
    tested: which data the test split is of, where these are others.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Split
    validation: Split | None
    test: Split
    val_fraction: float
    split_seed: int
    limit: int | None
    scaling: str = ""
    tested: TestData | None = None

    @property
    def test_name(self) -> str:
        """The name of the data that the test split is of."""
        return self.tested.name if self.tested else self.name

    @property
    def per_token(self) -> bool:
        """Whether tokens are predicted at places of a text, and not the class of an example."""
        return self.task in OF_TOKENS

    @property
    def padded(self) -> bool:
        """Whether texts are padded."""
        parts = [each for each in self.splits.values() if isinstance(each, MemorySplit)]
        return self.vocab_size is not None and any(bool((each.raw < 0).any()) for each in parts)

    @property
    def extent(self) -> tuple[int, ...]:
        """Shape of an input by which batches are sized: a token counts as a pixel."""
        return self.input_shape if self.vocab_size is None else (1, *self.input_shape)

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that there are, by their names."""
        return {name: split for name in SPLITS if (split := getattr(self, name)) is not None}

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of the splits besides the training split: validation, where there is one, and test."""
        return tuple(name for name in self.splits if name != "train")

    def split(self, name: str) -> Split:
        """The part called train, validation or test; StarcliError where there is no validation part."""
        found: Split | None = getattr(self, name)
        if found is None:
            hint = "--val-fraction holds back a share of the training data, when models are trained"
            if self.name == IN_MEMORY:
                hint = f'data={{"train": ..., "{name}": ...}} gives one'
            elif self.train is self.test:
                hint = "of a test part that is alone nothing is held back; --train-data names the models' own data"
            raise StarcliError(f"there is no {name} split", [hint])
        return found

    @property
    def span(self) -> float:
        """By what raw inputs are divided before they are normalised: 255 for bytes, 1 for floats."""
        return self.train.normalisation.span

    def normalised(self, mean: Sequence[float], std: Sequence[float], span: float | None = None) -> Dataset:
        """These data, normalised by another mean and standard deviation: those of the model that is to read them."""
        how = Normalisation(self.span if span is None else span, tuple(mean), tuple(std))
        # by their ids: a split that stands for two stays one, by which it is known
        splits = {id(each): each.normalised(how) for each in self.splits.values()}
        train = splits[id(self.train)]
        return replace(
            self,
            input_shape=train.input_shape if isinstance(train, MemorySplit) else self.input_shape,
            mean=how.mean,
            std=how.std,
            train=train,
            validation=splits.get(id(self.validation)),
            test=splits[id(self.test)],
            scaling="",
        )

    def normalised_by(self, text: str, train: Split | None = None) -> Dataset:
        """These data, normalised as `--normalise` says it; `data` are the statistics of `train`, else of their own.

        Grey images become RGB by three means, as a note says.
        Raises StarcliError for what `parse_normalise` refuses, and for another number of channels.
        """
        if self.vocab_size is not None:
            raise StarcliError(f"--normalise is for images and vectors, and {self.name} data are tokens")
        mean, std = parse_normalise(text) or (train or self.train).mean_and_std()
        channels = self.input_shape[0]
        if is_grey(self.input_shape) and len(mean) == 3:
            said = f"{self.name}: grey images are repeated as red, green and blue, for --normalise {text}"
            return replace(self.normalised(mean, std), notes=(*self.notes, said))
        if len(mean) not in (1, channels):
            inputs = "x".join(map(str, self.input_shape))
            raise StarcliError(f"--normalise {text}: {len(mean)} channels, {self.name} has {channels} ({inputs})")
        if same_statistics((mean, std), (self.mean, self.std)):
            mean, std = self.mean, self.std  # written as before, so that records are equal too
        elif len({*mean}) == len({*std}) == 1:
            mean, std = mean[:1], std[:1]  # as one number for all says it, and recorded alike
        return self.normalised(mean, std)


def open_data(
    name: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    limit: int | None = None,
    val_fraction: float = 0.0,
    split_seed: int = 0,
    image_size: int | None = None,
    normalise: str | None = None,
    texts: TextOptions = AS_THE_FILE_HAS_IT,
) -> Dataset:
    """Open the data set `name` as typed: "digits", "cifar10", "idx:DIR", "folder:DIR", "x.npz", "gaussians:train=100".

    limit: number of training images that are kept, evenly over the classes (`balanced_prefix`); the validation part
        (`split_indices`) is then taken from these. Where there are no more it is no limit, and none is recorded.
    val_fraction: share of the training images that is held back; above 0 it takes the place of a validation part that
        the data have of their own. Of a test part that is alone nothing is left out or held back, which records say.
    data_dir, download: where the public data sets are, and whether to fetch them.
    image_size: side of the squares that images of a folder are resized to.
    normalise: how inputs are normalised (`parse_normalise`); by default as the data set has it.
    texts: how texts become tokens, and what is predicted of them.

    Raises StarcliError for everything that may be wrong with a name, a file or its contents.

    >>> data = open_data("digits", val_fraction=0.1)
    >>> data.input_shape, len(data.train), len(data.validation), len(data.test)
    ((1, 8, 8), 1293, 144, 360)
    >>> inputs, labels = next(iter(data.train.batches(32)))
    >>> inputs.shape, labels.shape
    (torch.Size([32, 1, 8, 8]), torch.Size([32]))
    """
    kind, rest = check_data_name(name)
    _check_image_size(kind, image_size)
    texts.refuse_useless(kind)
    loaded: Loaded = resolve(DATASETS, "data set", kind)(Request(rest, data_dir, download, image_size, texts))
    limit = None if limit is not None and limit >= len(loaded.train) else limit
    if loaded.train is loaded.test:  # one part stands for both: what is held back of it would be test data
        limit, val_fraction = None, 0.0
    train, validation, notes = _divide(loaded, limit, val_fraction, split_seed)
    train, validation, test = _resident(train, validation, loaded.test)
    facts = {each.name: getattr(loaded, each.name) for each in fields(DataFacts)}
    facts |= {"notes": (*loaded.notes, *notes)}
    facts |= {"scaling": _scaling_note(loaded) if needs_path(kind) and loaded.vocab_size is None else ""}
    dataset = Dataset(
        **facts,
        mean=loaded.normalisation.mean,
        std=loaded.normalisation.std,
        train=train,
        validation=validation,
        test=test,
        val_fraction=val_fraction,
        split_seed=split_seed,
        limit=limit,
    )
    return dataset if normalise is None else dataset.normalised_by(normalise, loaded.train)


def _check_image_size(kind: str, size: int | None) -> None:
    if size is not None and kind not in IMAGES_OF_ANY_SIZE:
        raise StarcliError(f"--image-size is for folders and shards of images, and {kind} has its own size")
    if size is not None and not 1 <= size <= 4096:
        raise StarcliError(f"--image-size {size}: expected 1 to 4096")


def _scaling_note(loaded: Loaded) -> str:
    """How the images or floats of a user are normalised unless told otherwise; nothing of floats of a usual size."""
    if isinstance(loaded.train, MemorySplit) and loaded.train.raw.is_floating_point():
        least, most = float(loaded.train.raw.min()), float(loaded.train.raw.max())
        if max(-least, most) <= FAR:
            return ""
        return f"inputs from {least:g} to {most:g} are taken as they are; --normalise data standardises them"
    imagenet = loaded.normalisation.mean == IMAGENET_MEAN
    whose = "ImageNet's" if imagenet else "their own"
    return f"images are standardised by {whose} mean and standard deviation; --normalise says otherwise"


def _divide(
    loaded: Loaded, limit: int | None, val_fraction: float, split_seed: int
) -> tuple[Split, Split | None, list[str]]:
    """Training and validation part of the images within `limit`, and a note where data have another one unused."""
    train, validation = loaded.train, loaded.validation
    kept = balanced_prefix(strata(train.labels.numpy()), limit)
    inner, outer = split_indices(len(kept), val_fraction, split_seed)
    if len(inner) == len(train):
        return train, validation, []
    within = train.subset(torch.from_numpy(kept[inner]))
    if not len(outer):
        return within, validation, []
    unused = f"{loaded.name}: {val_fraction:g} of the training data is held back, its own validation part unused"
    return within, train.subset(torch.from_numpy(kept[outer])), [unused] if validation is not None else []


def _resident(train: Split, validation: Split | None, test: Split) -> tuple[Split, Split | None, Split]:
    """Decode streamed splits into memory where all of them together fit there."""
    streamed = [split for split in (train, validation, test) if isinstance(split, StreamedSplit)]
    if not streamed or sum(split.decoded_bytes for split in streamed) > StreamedSplit.RESIDENT_BYTES:
        return train, validation, test
    held = {key: split.decode() for key, split in {id(split): split for split in streamed}.items()}
    return (
        held.get(id(train), train),
        None if validation is None else held.get(id(validation), validation),
        held.get(id(test), test),
    )
