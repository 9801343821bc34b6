"""Data set `folder:DIR`: train/ and val/ (or test/) with one folder of images a class, like torchvision's ImageFolder.

Images of any shape are resized to squares as in the paper (appendix B.1: 256 x 256 for an input of 224 x 224), decoded
by workers as RGB, held in memory where all of them fit (`StreamedSplit.RESIDENT_BYTES`), and normalised by ImageNet's
mean and standard deviation.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch

from starcli.data.loading import Loaded, Request
from starcli.data.normalise import IMAGENET_MEAN, IMAGENET_STD
from starcli.data.partition import check_labels
from starcli.data.splits import BYTES, Normalisation
from starcli.data.streaming import FORMATS, SUFFIXES, StreamedSplit
from starcli.errors import StarcliError, few

DEFAULT_SIZE = 224
"""Side of the network's input where no size is asked for and the images are not smaller."""

SMALL_SIZE = 64
"""Largest side at which images are stored at the network's size and shifted by padding, as is usual for CIFAR.

Larger ones are stored 8/7 as large and cropped, as is usual for ImageNet.
"""

Listing = list[tuple[str, int, int]]
"""(Name below the split's directory, size in bytes, label) of each image."""


def load_folder(request: Request) -> Loaded:
    """List the folder; no image is decoded yet but the header of the first one, where no size is asked for.

    Without an image size it is 224, or the smaller side of the first training image where that is less. The fingerprint
    is a SHA-256 over the relative name, size in bytes and label of each file, not over their contents: reading all of
    ImageNet would take many minutes.
    """
    root = Path(request.rest)
    train_dir, test_dir = _split_dirs(root)
    classes = _class_names(train_dir)
    unseen = sorted(set(_class_names(test_dir)) - set(classes))
    if unseen:
        raise StarcliError(
            f"{test_dir}: {len(unseen)} of its classes are not in {train_dir}", [f"{name}/" for name in unseen[:20]]
        )
    train, test = _listing(train_dir, classes), _listing(test_dir, classes)
    empty = sorted(set(range(len(classes))) - {label for _, _, label in train})
    if empty:
        raise StarcliError(
            f"{train_dir}: {len(empty)} class folders have no images ({', '.join(SUFFIXES)})",
            [f"{classes[label]}/" for label in empty[:20]],
        )
    labels = [np.array([label for _, _, label in part], dtype=np.int64) for part in (train, test)]
    check_labels([(str(train_dir), labels[0], len(train)), (str(test_dir), labels[1], len(test))], len(classes))
    notes = _untested(test_dir, classes, test)
    size = request.image_size
    if size is None:
        width, height = _first_size(train_dir, train)
        size = min(DEFAULT_SIZE, width, height)
        if width != height and size < DEFAULT_SIZE:
            notes.append(f"{train_dir}: images of {width} x {height} are resized to squares of {size} x {size}")
    stored = stored_size(size)
    normalisation = Normalisation(BYTES, IMAGENET_MEAN, IMAGENET_STD)

    def split(directory: Path, part: Listing, part_labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> StreamedSplit:
        return StreamedSplit(
            directory,
            np.array([os.fsencode(name) for name, _, _ in part]),
            torch.from_numpy(part_labels),
            normalisation,
            stored_size=stored,
            input_size=size,
        )

    return Loaded(
        name="folder",
        num_classes=len(classes),
        normalisation=normalisation,
        input_shape=(3, size, size),
        fingerprint=_fingerprint(classes, train, test),
        train=split(train_dir, train, labels[0]),
        test=split(test_dir, test, labels[1]),
        augmentation=("pad-crop", "flip") if stored == size else ("crop", "flip"),
        notes=tuple(notes),
    )


def stored_size(size: int) -> int:
    """Side of the squares that images are resized to, of which the network sees windows of `size` squared."""
    return size if size <= SMALL_SIZE else round(size * 8 / 7)


def _split_dirs(root: Path) -> tuple[Path, Path]:
    """Directories of the training and the test images."""
    if not root.is_dir():
        raise StarcliError(f"{root}: no such directory")
    tests = [root / name for name in ("val", "test") if (root / name).is_dir()]
    if not (root / "train").is_dir() or not tests:
        raise StarcliError(
            f"{root}: expected train/ and val/ (or test/), each with a folder of images for every class",
            ["found " + (", ".join(sorted(os.listdir(root))[:10]) or "nothing")],
        )
    return root / "train", tests[0]


def _class_names(directory: Path) -> list[str]:
    """Class folders in the order of their names, hidden ones left out; the position is the label."""
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise StarcliError(f"{directory}: {error.strerror}") from error
    if not names:
        raise StarcliError(f"{directory}: expected a folder for every class, found none")
    return sorted(names)


def _listing(directory: Path, classes: list[str]) -> Listing:
    """(Name below `directory`, size in bytes, label) of every image, by class and name."""
    listing: Listing = []
    for label, name in enumerate(classes):
        if not (directory / name).is_dir():
            continue
        try:
            found = [
                (f"{name}/{entry.name}", entry.stat().st_size, label)
                for entry in os.scandir(directory / name)
                if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
            ]
        except OSError as error:
            raise StarcliError(f"{directory / name}: {error.strerror}") from error
        listing += sorted(found)
    return listing


def _fingerprint(classes: list[str], train: Listing, test: Listing) -> str:
    """SHA-256 over both listings."""
    digest = hashlib.sha256()
    for role, listing in (("train", train), ("test", test)):
        digest.update(f"{role} {len(classes)} classes, {len(listing)} images\n".encode())
        for name, size, label in listing:
            digest.update(os.fsencode(name) + f"\0{size}\0{label}\n".encode())
    return digest.hexdigest()


def _untested(test_dir: Path, classes: list[str], test: Listing) -> list[str]:
    """Note about classes that have no test image."""
    absent = sorted(set(range(len(classes))) - {label for _, _, label in test})
    if not test or not absent:
        return []
    names = few([f"{classes[label]}/" for label in absent], 5)
    return [f"{test_dir}: {len(absent)} of {len(classes)} classes have no images to be tested on: {names}"]


def _first_size(directory: Path, listing: Listing) -> tuple[int, int]:
    """Width and height of the first image that can be read; broken ones are all reported when they are decoded."""
    from PIL import Image

    for name, _, _ in listing:
        try:
            with Image.open(directory / name, formats=FORMATS) as image:
                return image.size
        # pixels are bounded when they are decoded
        except (OSError, Image.DecompressionBombError, Warning, ValueError, SyntaxError):
            continue
    raise StarcliError(f"{directory}: none of {len(listing)} images can be read", [f"{listing[0][0]} and all others"])
