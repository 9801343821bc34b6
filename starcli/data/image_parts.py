"""A data set of encoded images with labels, in files or in tar shards, decoded when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from starcli.data.encoded_images import ImageFiles
from starcli.data.loading import Loaded
from starcli.data.normalisation import BYTES, Normalisation
from starcli.data.normalise_option import IMAGENET_MEAN, IMAGENET_STD
from starcli.data.streaming import StreamedSplit
from starcli.data.targets import Targets

DEFAULT_SIZE = 224
"""Side of the network's input where no size is asked for and the images are not smaller."""

SMALL_SIZE = 64
"""Largest side at which images are stored at the network's size and shifted by padding, as is usual for CIFAR.

Larger ones are stored 8/7 as large and cropped, as is usual for ImageNet.
"""


def stored_size(size: int) -> int:
    """Side of the squares that images are resized to, of which the network sees windows of `size` squared."""
    return size if size <= SMALL_SIZE else round(size * 8 / 7)


@dataclass(frozen=True)
class LabelledImages:
    """Images of a split and their labels, one for each."""

    files: ImageFiles
    labels: Targets


def image_data(
    name: str, parts: Mapping[str, LabelledImages], *, num_classes: int, fingerprint: str, image_size: int | None
) -> Loaded:
    """Data set of images by split: train, and test or validation or both; a validation part alone is measured as test.

    Without an image size it is 224, or the smaller side of the first training image where that is less. Nothing is
    decoded yet but its header. Raises StarcliError where none of the training images can be read.
    """
    train = parts["train"].files
    header = train.first_header()
    size = image_size or min(DEFAULT_SIZE, header.width, header.height)
    notes = []
    if header.width != header.height and image_size is None and size < DEFAULT_SIZE:
        squares = f"images of {header.width} x {header.height} are resized to squares of {size} x {size}"
        notes.append(f"{train.root}: {squares}; --image-size chooses their side")
    if header.deep:
        notes.append(f"{train.root}: images of more than 8 bits: values above 255 become 255, as torchvision has it")
    stored, how = stored_size(size), Normalisation(BYTES, IMAGENET_MEAN, IMAGENET_STD)
    splits = {
        role: StreamedSplit(part.files, torch.from_numpy(part.labels), how, stored_size=stored, input_size=size)
        for role, part in parts.items()
    }
    return Loaded(
        name=name,
        num_classes=num_classes,
        normalisation=how,
        input_shape=(3, size, size),
        fingerprint=fingerprint,
        train=splits["train"],
        test=splits.get("test") or splits["validation"],
        validation=splits.get("validation"),
        augmentation=("pad-crop", "flip") if stored == size else ("crop", "flip"),
        notes=tuple(notes),
    )
