"""Names of data sets as people type them: a kind, and what comes after it. Needs no torch."""

import os
from pathlib import Path

from starcli.data.idx_files import IDX_FILES, missing_idx, need_idx
from starcli.data.image_files import SUFFIXES, looks_like_images, split_folders
from starcli.data.public_files import CIFAR
from starcli.data.tables import TABLE_SUFFIXES, part_tables
from starcli.data.tar_shards import shard_files
from starcli.errors import StarcliError, few, unknown
from starcli.registry.data_sets import DATASETS
from starcli.registry.entry import either

IN_MEMORY = "in memory"
"""What data, and networks, that have no name are called."""

JOINED = "joined"
"""What several data sets as one are called: the data of a model that was made of models of each."""

IMAGES_OF_ANY_SIZE = {"folder": "the folder", "wds": "the shards"}
"""Kinds of data with images of any size, which are resized to squares, and what these lie in."""

_CONTENT = {"text": "texts", "table": "numbers"}

ARRAY_SUFFIXES = (".npz", ".safetensors")
"""Suffixes by which a file name is one of a data set."""

AT_A_PATH = {
    "idx": "idx:DIR",
    "folder": "folder:DIR",
    "arrays": "FILE.npz or FILE.safetensors",
    "text": "text:FILE.csv",
    "table": "table:FILE.csv",
    "build": "FILE.py:NAME",
    "hf": "hf:DIR",
    "wds": "'wds:NAME-{000..009}.tar'",
}
"""Kinds of data that lie at a path, which no checkpoint records, and what is typed for them."""

_SINGLE_FILES = {"arrays": ARRAY_SUFFIXES, "text": TABLE_SUFFIXES, "table": TABLE_SUFFIXES}
"""Those of them that are one file, and its suffixes."""


def needs_path(name: str) -> bool:
    """Whether data of this kind lie at a path that a checkpoint does not record, so that `--data` is needed again.

    `name` is what a user typed or the name in a checkpoint: "idx" and "idx:DIR" alike.

    >>> needs_path("idx:mnist"), needs_path("digits")
    (True, False)
    """
    kinds = (*AT_A_PATH, IN_MEMORY, JOINED)
    return _is_code(name) or name.partition(":")[0] in kinds or name.endswith((*ARRAY_SUFFIXES, *TABLE_SUFFIXES))


def data_in_words(name: str) -> str:
    """Words for data with that name in a record, for a sentence.

    >>> data_in_words("cifar10"), data_in_words("build")
    ('cifar10 data', 'data of a function')
    """
    kinds = {"build": "data of a function", "arrays": "data of a file", IN_MEMORY: "data in memory"}
    return {**kinds, JOINED: "several data sets"}.get(name, f"{name} data")


def parse_name(name: str) -> tuple[str, str]:
    """Split a data set's name as typed into its kind and the rest: a path, parameters of `gaussians`, or nothing.

    A file of arrays or of texts, and a folder of images, texts or files in MNIST's format, need no kind. Raises
    StarcliError for an unknown kind, a missing path, and a path where none belongs.

    >>> parse_name("idx:mnist"), parse_name("x.npz"), parse_name("digits")
    (('idx', 'mnist'), ('arrays', 'x.npz'), ('digits', ''))
    """
    kind, colon, rest = name.partition(":")
    if kind not in DATASETS and _is_code(name):
        return "build", os.path.expanduser(name)
    if kind not in DATASETS:
        return _kind_of_path(name), os.path.expanduser(name)
    if needs_path(kind) and not rest:
        raise StarcliError(f"data set {kind!r} lives at a path: say --data {AT_A_PATH[kind]}")
    if colon and not needs_path(kind) and kind != "gaussians":
        raise StarcliError(f"data set {kind!r} takes nothing after its name, found {rest!r}")
    return kind, os.path.expanduser(rest) if needs_path(kind) else rest


def _is_code(name: str) -> bool:
    """Whether `name` is of a function that makes data: FILE.py:NAME or package.module:NAME.

    >>> _is_code("my_data.py:build"), _is_code("my_package.data:build"), _is_code("folder:images.d")
    (True, True, False)
    """
    place, _, attribute = name.partition(":")
    dotted = "/" not in place and "." in place and all(map(str.isidentifier, place.split(".")))
    return attribute.isidentifier() and (place.endswith(".py") or dotted)


def _kind_of_path(name: str) -> str:
    """Kind of the data at a path that is given without one: by its suffix, or by what is in the folder."""
    path = Path(os.path.expanduser(name))
    if name.endswith(ARRAY_SUFFIXES):
        return "arrays"
    if name.endswith(TABLE_SUFFIXES):
        return "text"
    if path.is_dir():
        if len(missing_idx(path)) < len(IDX_FILES):
            return "idx"
        if looks_like_images(path):
            return "folder"
        if part_tables(path):
            return "text"
        for kind, files in CIFAR.items():
            if not files.at(path)[1]:
                raise StarcliError(f"--data {name}: has the files of {kind}: say --data {kind} --data-dir {name}")
        found = few(sorted(os.listdir(path)), 5) or "nothing"
        hint = "a folder of images has train/, or a folder for each class (folder:DIR), one of texts train.csv"
        raise StarcliError(
            f"--data {name}: a folder without images or files in MNIST's format", [f"found {found}", hint]
        )
    if path.exists():
        raise _unknown_suffix(name)
    if "/" in name or path.suffix:
        raise StarcliError(f"--data {name}: no such file or directory")
    kind, colon, _ = name.partition(":")
    error = unknown("data set", kind, DATASETS)
    raise error if colon else StarcliError(error.summary, ["there is no file or folder of that name, either"])


def _unknown_suffix(name: str) -> StarcliError:
    found = Path(name).suffix
    known = (*ARRAY_SUFFIXES, *TABLE_SUFFIXES)
    folder = Path(name.rpartition(":")[2]).parent
    hint = [f"images are read by their folder: --data folder:{folder}"] if found.lower() in SUFFIXES else []
    words = f"unknown suffix {found!r}, expected {either(known)}"
    return StarcliError(f"--data {name}: {words}", hint)


def check_data_name(name: str) -> tuple[str, str]:
    """`parse_name`; StarcliError also for data that are not where the name says."""
    kind, rest = parse_name(name)
    if kind == "build":
        file = Path(rest.partition(":")[0])
        if file.suffix == ".py" and not file.is_file():
            raise StarcliError(f"--data {name}: there is no file {file}")
        return kind, rest
    if kind == "wds":
        shard_files(rest)  # a pattern, of which no file may have the name
        return kind, rest
    if kind in ("text", "table") and Path(rest).is_dir():
        if not part_tables(Path(rest)):
            hint = "expected train.csv, val.csv and test.csv, or some of them (or .tsv, .jsonl, .parquet)"
            raise StarcliError(f"--data {name}: a folder without tables of {_CONTENT[kind]}", [hint])
        return kind, rest
    suffixes = _SINGLE_FILES.get(kind)
    path, is_file = Path(rest), suffixes is not None
    if suffixes is not None and path.suffix not in suffixes:
        raise _unknown_suffix(name)
    if needs_path(kind) and not path.exists():
        raise StarcliError(f"--data {name}: no such {'file' if is_file else 'directory'}")
    if needs_path(kind) and path.is_file() != is_file:
        found, wanted = "a folder" if path.is_dir() else "a file", "a file" if is_file else "a folder"
        raise StarcliError(f"--data {name}: is {found}, expected {wanted}")
    if kind == "idx":
        need_idx(path)
    if kind == "folder":
        split_folders(path, measured=True)  # what is trained is refused when it is read
    return kind, rest
