"""Archives of arrays, and files in MNIST's format, that lie about what they hold."""

# ruff: noqa: E501 - a case is one line

import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .pickles import MARKER, Payload


def _npz(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def _npy_header(words: str, data: bytes = b"", *, length: int | None = None, version: int = 1) -> bytes:
    raw = words.encode()
    size = len(raw) if length is None else length
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", size) + raw + data


LABELS = _npy(np.arange(10) % 2)


def archives(directory: Path) -> Mapping[str, Callable[[], bytes]]:
    """Archives of arrays; what they would run would leave its mark in `directory`."""

    def pickled() -> bytes:
        objects = np.empty(10, dtype=object)
        objects[:] = Payload(directory / MARKER)
        return _npz(x=_npy(objects, allow_pickle=True), y=LABELS)

    def with_header(words: str, data: bytes = b"", **more: Any) -> bytes:
        return _npz(x=_npy_header(words, data, **more), y=LABELS)

    good = _npz(x=_npy(np.zeros((10, 4, 4), np.uint8)), y=LABELS)
    return {
        "pickled objects": pickled,
        "no archive": lambda: b"hello",
        "empty": lambda: b"",
        "an empty archive": lambda: _npz(),
        "cut": lambda: good[:-30],
        "a bomb": lambda: _npz(x=_npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (10, 30000000)}",
                                             bytes(300_000_000)), y=LABELS),
        "a huge shape": lambda: with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (10, 10000000000000)}"),
        "a shape of 0 times 2^62": lambda: with_header(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4611686018427387904, 4)}"
        ),
        "a negative shape": lambda: with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-10, -4)}", bytes(40)),
        "a header that is code": lambda: with_header(f"open({str(directory / MARKER)!r}, 'w')"),
        "a header nested deeply": lambda: with_header("(" * 30_000),
        "a header of 2 GB": lambda: with_header("{", length=2**31 - 1, version=2),
        "a structured dtype": lambda: with_header(
            "{'descr': [('a', '|u1'), ('b', '<f8')], 'fortran_order': False, 'shape': (10,)}", bytes(90)
        ),
        "a dtype of 2 GB": lambda: with_header("{'descr': '|V2147483647', 'fortran_order': False, 'shape': (0,)}"),
        "a million dimensions": lambda: with_header(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1, " * 9_000 + ")}", b"x"
        ),
        "NaN": lambda: _npz(x=_npy(np.full((10, 4), np.nan)), y=LABELS),
        "labels of 2^60": lambda: _npz(x=_npy(np.zeros((10, 4, 4), np.uint8)), y=_npy(np.full(10, 2**60))),
        "labels of -1": lambda: _npz(x=_npy(np.zeros((10, 4, 4), np.uint8)), y=_npy(np.full(10, -1))),
        "fewer labels than images": lambda: _npz(x=_npy(np.zeros((10, 4, 4), np.uint8)), y=_npy(np.arange(3))),
        "names that leave the directory": lambda: _npz(**{"../../x": LABELS, "y": LABELS}),
        "a member of a lying size": lambda: good.replace(struct.pack("<I", len(_npy(np.zeros((10, 4, 4), np.uint8)))),
                                                         struct.pack("<I", 2**31)),
    }  # fmt: skip


def idx(dimensions: int, sizes: tuple[int, ...], data: bytes, *, kind: int = 8) -> bytes:
    """A file of the format, which may lie."""
    return bytes((0, 0, kind, dimensions)) + struct.pack(f">{len(sizes)}I", *sizes) + data


IDX: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "cut header": lambda: bytes((0, 0, 8)),
    "another type": lambda: idx(3, (10, 4, 4), bytes(160), kind=13),
    "another rank": lambda: idx(1, (160,), bytes(160)),
    "sizes of 2^32": lambda: idx(3, (2**32 - 1,) * 3, bytes(160)),
    "fewer bytes": lambda: idx(3, (10, 4, 4), bytes(159)),
    "more bytes": lambda: idx(3, (10, 4, 4), bytes(161)),
    "no images": lambda: idx(3, (0, 4, 4), b""),
    "gzip that is cut": lambda: gzip.compress(idx(3, (10, 4, 4), bytes(160)))[:-9],
    "gzip bomb": lambda: gzip.compress(idx(3, (10, 40_000, 1_000), bytes(400_000_000)), 1),
    "gzip of noise": lambda: b"\x1f\x8b" + bytes(range(200)),
}


def idx_directory(directory: Path, images: bytes) -> Path:
    """A data set in MNIST's format whose images are in such a file."""
    place = directory / "data.d"
    place.mkdir()
    suffix = ".gz" if images[:2] == b"\x1f\x8b" else ""
    for part in ("train", "t10k"):
        (place / f"{part}-images-idx3-ubyte{suffix}").write_bytes(images)
        (place / f"{part}-labels-idx1-ubyte").write_bytes(idx(1, (10,), bytes([0, 1] * 5)))
    return place
