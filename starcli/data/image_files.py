"""Folders of images: which folder is which split, and the images of each, as torchvision's ImageFolder lists them.

Needs no torch.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from starcli.errors import StarcliError, few

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Suffixes of image files, in small letters or capitals: those of torchvision's ImageFolder."""

SPLIT_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What the folder of a split, its table or its shards may be called, in small letters or capitals."""


def split_called(word: str) -> str | None:
    """The split whose folder, table or shards are called so.

    >>> split_called("Dev"), split_called("extra")
    ('validation', None)
    """
    return next((split for split, names in SPLIT_FOLDERS.items() if word.lower() in names), None)


@dataclass(frozen=True)
class ImageListing:
    """Images below a directory that has a folder for each class.

    images: (name below the directory, size in bytes, label) of each, in torchvision's order.
    written: when each of them was last written, in nanoseconds: the ctime, for a copy may keep the date of another.
    unread: names of what else lies there, hidden files apart.
    """

    directory: Path
    classes: tuple[str, ...]
    images: list[tuple[str, int, int]] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def split_folders(root: Path, *, measured: bool) -> tuple[dict[str, Path], list[str]]:
    """Folders of train, validation and test below `root`, and names of what else is there; none where it has none.

    measured: nothing is trained on these images, so that test may be alone. Raises StarcliError where two folders are
    one split, and for splits without a training one.
    """
    found: dict[str, Path] = {}
    others = []
    for entry in _entries(root):
        role = split_called(entry.name) if entry.is_dir() else None
        if role in found:
            raise StarcliError(f"{root}: both {found[role].name}/ and {entry.name}/ are there: which is {role}?")
        if role is not None:
            found[role] = root / entry.name
        elif not entry.name.startswith("."):
            others.append(_shown(entry))
    if found and "train" not in found and not (measured and [*found] == ["test"]):
        there = ", ".join(f"{path.name}/" for path in found.values())
        raise StarcliError(f"{root}: expected train/ beside {there}, each with a folder of images for every class")
    return found, others


def list_images(directory: Path) -> ImageListing:
    """List the images below `directory` as torchvision's ImageFolder does.

    Each folder in it is a class, hidden ones too, in the order of their names; images are all files below it with one
    of SUFFIXES, however deep and through links. Raises StarcliError for a folder without images, as torchvision does,
    and for one whose name is no text, which no file could record.
    """
    entries = _entries(directory)
    classes = tuple(entry.name for entry in entries if entry.is_dir())
    if not classes:
        there = few([_shown(entry) for entry in entries], 10) or "nothing"
        raise StarcliError(f"{directory}: expected a folder of images for every class, found {there}")
    if strange := [name for name in classes if any("\ud800" <= letter <= "\udfff" for letter in name)]:
        raise StarcliError(f"{directory / strange[0]}/: names of classes are text in UTF-8: rename it")
    others = [entry.name for entry in entries if not entry.is_dir() and not entry.name.startswith(".")]
    listing = ImageListing(directory, classes, unread=others)
    for label, name in enumerate(classes):
        top = str(directory / name)
        for path in _files_below(top):
            below = name + path[len(top) :]
            if path.lower().endswith(SUFFIXES):
                found = _ordinary(path)
                listing.images.append((below, found.st_size, label))
                listing.written.append(found.st_ctime_ns)
            elif not os.path.basename(path).startswith("."):
                listing.unread.append(below)
    empty = sorted({*range(len(classes))} - {label for _, _, label in listing.images})
    if empty:
        raise StarcliError(
            f"{directory}: {len(empty)} class folders have no images ({', '.join(SUFFIXES)})",
            [f"{classes[label]}/" for label in empty[:20]],
        )
    return listing


def labelled_as(listing: ImageListing, known: Sequence[str]) -> ImageListing:
    """The listing with labels in the order of the `known` classes of a model, where its folders are among these."""
    if not set(listing.classes) <= set(known):
        return listing
    label_of = [known.index(name) for name in listing.classes]
    images = [(name, size, label_of[label]) for name, size, label in listing.images]
    return replace(listing, classes=tuple(known), images=images)


def images_in(directory: Path) -> list[str]:
    """Names of the images right in `directory`, in their order; hidden files are none."""
    return [
        entry.name
        for entry in _entries(directory)
        if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
    ]


def looks_like_images(root: Path) -> bool:
    """Whether `root` has an image, or a folder with one somewhere below it."""
    return bool(images_in(root)) or _has_folders_of_images(root)


def has_no_classes(root: Path) -> bool:
    """Whether images lie right in `root`, and none in folders below it."""
    return bool(images_in(root)) and not _has_folders_of_images(root)


def _has_folders_of_images(root: Path) -> bool:
    folders = (entry.path for entry in _entries(root) if entry.is_dir())
    # as they come, without listing all: the first of a million is enough
    return any(name.lower().endswith(SUFFIXES) for folder in folders for _, names in _walked(folder) for name in names)


def _entries(directory: Path) -> Sequence[os.DirEntry[str]]:
    """What is in a directory, sorted by name."""
    try:
        return sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError as error:
        raise StarcliError(f"{directory}: {error.strerror}") from error


def _files_below(directory: str) -> Iterator[str]:
    """Paths of all files below a directory, links followed, in torchvision's order."""
    for place, names in sorted(_walked(directory)):
        for name in sorted(names):
            yield os.path.join(place, name)


def _walked(directory: str) -> Iterator[tuple[str, list[str]]]:
    """(Folder, names of its files) of a directory and all folders below it; StarcliError for links in a circle."""

    def refuse(error: OSError) -> None:
        raise StarcliError(f"{error.filename}: {error.strerror}") from error

    for place, _, names in os.walk(directory, followlinks=True, onerror=refuse):
        above = Path(place).parents
        if os.path.islink(place) and os.path.realpath(place) in map(os.path.realpath, above):
            raise StarcliError(f"{place}: is a link to a folder that it is in")
        yield place, names


def _ordinary(path: str) -> os.stat_result:
    """What the system says of a file; StarcliError for what is no ordinary file: to read a pipe would wait for ever."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise StarcliError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise StarcliError(f"{path}: is no ordinary file")
    return found


def _shown(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir() else entry.name
