"""Formats of files with weights, told apart by suffixes and first bytes: safetensors, PyTorch's own, no weights."""

import re
from pathlib import Path, PurePath

from starcli.errors import StarcliError
from starcli.files.formats_of_others import not_read

PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".tar")
"""Suffixes of PyTorch's own files."""


def is_pickled(path: PurePath | str) -> bool:
    """Whether a path has a suffix of PyTorch's own files."""
    return PurePath(path).suffix.lower() in PICKLED


def other_kind(first: bytes) -> str | None:
    """Kind of a file by its first 8 bytes, where these are of a figure, results or a stand-in; None of all else.

    >>> other_kind(b'{"schema": 1}'), other_kind((100).to_bytes(8, "little"))
    ('a file of results or a log', None)
    """
    if re.match(rb'\{\s*"', first):
        return "a file of results or a log"
    if first.startswith(b"version "):
        return "a pointer of Git LFS"
    if first.lstrip().lower().startswith((b"<html", b"<!doc")):
        return "a web page"
    return "a figure" if first.startswith((b"\x89PNG", b"%PDF", b"<?xml", b"<svg")) else None


def is_torch_file(path: Path) -> bool:
    """Whether a file is one of PyTorch's own: an archive, or a pickle, or named so; it begins as no safetensors do."""
    if not path.is_file():
        return False  # opening a pipe would wait for ever
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError:
        return False  # who reads it says what is wrong
    named = is_pickled(path) or re.match(b"\x80[\2-\5]", head) is not None  # protocols of pickles
    return head[:4] == b"PK\x03\x04" or (named and head[8:] != b"{")


def refuse_other_kind(first: bytes, source: str) -> None:
    """Raise StarcliError for a file that is of another kind by its first 8 bytes or more, or has none."""
    if not first:
        format_ = "PyTorch" if is_pickled(source) else "safetensors"
        raise StarcliError(f"{source}: not a whole {format_} file: it is empty")
    if kind := not_read(first, source):
        raise StarcliError(f"{source}: is {kind.kind}, which is not read", [kind.way])
    if other := other_kind(first):
        hint = ["git lfs pull fetches the file itself"] if "Git LFS" in other else []
        raise StarcliError(f"{source}: is {other}, not a checkpoint", hint)


def refuse_name_of_bytes(path: Path) -> None:
    r"""StarcliError for the name of a file of weights that is no text: what reads and writes these cannot open it.

    >>> import os
    >>> refuse_name_of_bytes(Path(os.fsdecode(b"0\xff.pt")))
    Traceback (most recent call last):
    starcli.errors.StarcliError: 0\udcff.pt: files of weights have names of UTF-8: rename it
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise StarcliError(f"{path}: files of weights have names of UTF-8: rename it") from error
