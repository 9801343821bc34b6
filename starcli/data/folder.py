"""Data set `folder:DIR`: a folder of images a class, read as torchvision's ImageFolder reads them.

DIR has train/, and val/ and test/ or one of these (`SPLIT_FOLDERS`), each with a folder for every class; or the folders
of the classes themselves, of which a fixed fifth is held out for testing. Where there is no test/, val/ is measured as
the test split too. Where a model is measured, test/ may be alone.

Images of any shape are resized to squares as in the paper (appendix B.1: 256 x 256 for an input of 224 x 224), decoded
by workers as RGB, held in memory where all of them fit (`StreamedSplit.RESIDENT_BYTES`), and normalised by ImageNet's
mean and standard deviation.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from starcli.data.encoded_images import ImageFiles
from starcli.data.image_files import ImageListing, images_in, labelled_as, list_images, split_folders
from starcli.data.image_parts import LabelledImages, image_data
from starcli.data.loading import Loaded, Request
from starcli.data.partition import check_labels, held_out_fifth
from starcli.errors import StarcliError, few
from starcli.files.cache import hash_json


def load_folder(request: Request) -> Loaded:
    """List the folder; no image is decoded yet but the header of the first one.

    The fingerprint is a SHA-256 over the relative name, size in bytes and label of each file, not over their contents:
    reading all of ImageNet would take many minutes.
    """
    root = Path(request.rest)
    parts, notes = _listed(root, request.texts.classes or request.texts.named or ())
    train = parts["train"]
    _refuse_one_class(train)
    check_labels([(str(train.directory), _labels(train), len(train.images))], len(train.classes))
    files = {
        role: ImageFiles.below(part.directory, (name for name, _, _ in part.images)) for role, part in parts.items()
    }
    loaded = image_data(
        "folder",
        {role: LabelledImages(files[role], _labels(part)) for role, part in parts.items()},
        num_classes=len(train.classes),
        fingerprint=_fingerprint(parts, deep=files["train"].first_header().deep),
        image_size=request.image_size,
    )
    if parts["train"] == parts["test" if "test" in parts else "validation"]:
        loaded = replace(loaded, train=loaded.test)  # one part, of which nothing is held back
    written = hash_json([part.written for part in parts.values()])
    return replace(loaded, written=written, class_names=train.classes, notes=(*notes, *loaded.notes))


def _listed(root: Path, known: Sequence[str]) -> tuple[dict[str, ImageListing], list[str]]:
    """The images of each split, and notes on what stands for what and what is not read.

    known: the classes of the model that is to see the images, in order; there need not be images of all.
    """
    directories, others = split_folders(root, measured=bool(known))
    parts = {role: list_images(path) for role, path in (directories or {"train": root}).items()}
    if alone := "train" not in parts:
        parts["train"] = parts["test"]
    _refuse_other_classes(parts)
    there = parts["train"].classes
    parts = {role: labelled_as(part, known) for role, part in parts.items()}
    unread = others if directories else []
    for part in parts.values():
        unread += [os.path.relpath(part.directory / name, root) for name in part.unread]
    notes = [f"{root}: left unread: {few([*dict.fromkeys(unread)], 5)}"] if unread else []
    if missing := [name for name in parts["train"].classes if name not in there]:
        notes.append(f"{root}: no images of {few(missing, 5)}, of the model's {len(known)} classes")
    if len(parts) == 1:
        whole = "; of class folders in test/ alone all images are measured" if known else ""
        notes.append(f"{root}: no test/ in it: a fixed fifth of each class is held out for testing{whole}")
        parts["train"], parts["test"] = _halves(parts["train"])
    elif "test" not in parts:
        name = parts["validation"].directory.name
        notes.append(f"{root}: no test/ in it: {name}/ is the validation split, and measured as test split too")
    elif alone:
        notes.append(f"{root}: no train/ in it: {parts['test'].directory.name}/ stands for the training split too")
    return parts, notes


def _refuse_one_class(train: ImageListing) -> None:
    """A single folder is no class among others, and often one of images that belong beside those next to it."""
    if len(train.classes) > 1:
        return
    [name] = train.classes
    problem = f"{train.directory}: only one class, {name}/, expected a folder of images for each of at least two"
    beside = len(images_in(train.directory))
    hint = f"beside it are images of no class ({beside}); images without labels lie in a folder without others in it"
    raise StarcliError(problem, [hint] if beside else [])


def _refuse_other_classes(parts: Mapping[str, ImageListing]) -> None:
    """Each split must have the same classes: their order is that of their labels."""
    train, problems = parts["train"], []
    for part in parts.values():
        problems += [
            f"{part.directory / name}/: not in {train.directory.name}/"
            for name in part.classes
            if name not in train.classes
        ]
        problems += [f"{part.directory / name}/: missing" for name in train.classes if name not in part.classes]
    if problems:
        raise StarcliError("the splits have different classes", problems[:20])


def _halves(whole: ImageListing) -> tuple[ImageListing, ImageListing]:
    """Training part and held-out fifth of a listing."""
    inner, outer = held_out_fifth(_labels(whole))
    return tuple(replace(whole, images=[whole.images[row] for row in rows]) for rows in (inner, outer))  # type: ignore[return-value]


def _labels(part: ImageListing) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([label for _, _, label in part.images], dtype=np.int64)


def _fingerprint(parts: Mapping[str, ImageListing], *, deep: bool) -> str:
    """SHA-256 over the listings, and over whether images are `deep`, which once were read otherwise."""
    digest = hashlib.sha256(b"deep\n" if deep else b"")
    roles = {"train": "train", "test": "test" if "test" in parts else "validation"}
    if len(parts) == 3:
        roles["validation"] = "validation"
    for role, part in ((role, parts[found]) for role, found in roles.items()):
        digest.update(f"{role} {len(part.classes)} classes, {len(part.images)} images\n".encode())
        for name, size, label in part.images:
            digest.update(os.fsencode(name) + f"\0{size}\0{label}\n".encode())
    return digest.hexdigest()
