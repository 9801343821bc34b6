"""Data set `idx:DIR`: image and label files in MNIST's format, gzipped or not, read strictly.

The format: two zero bytes, a byte for the kind of numbers (8: unsigned bytes), a byte for the number of dimensions,
each dimension as a big-endian 32-bit integer, then the numbers, last dimension fastest (Y. LeCun, "The MNIST
database").
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from starcli.data.idx_files import IDX_FILES, find_idx
from starcli.data.loading import Loaded, Part, Request, assemble, check_unpacked
from starcli.errors import StarcliError

_BYTES = 8


def load_idx(request: Request) -> Loaded:
    """Load train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-…, t10k-labels-…, with .gz or without."""
    return assemble("idx", *read_parts(Path(request.rest)))


def read_parts(directory: Path) -> tuple[Part, Part]:
    """Training and test part, images as (N, 1, H, W) uint8; all four files must be there."""
    paths = [cast(Path, find_idx(directory, name)) for name in IDX_FILES]
    parts = []
    for images_path, labels_path in (paths[:2], paths[2:]):
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        parts.append(Part(images[:, None], labels.astype(np.int64), str(images_path)))
    return parts[0], parts[1]


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Array of unsigned bytes in an idx file of so many dimensions.

    Raises StarcliError where the header is another one, a dimension is 0, the file has more or fewer bytes than the
    header says, or a gzipped one claims to unfold to far more than it holds.
    """
    try:
        stored = os.path.getsize(path)
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return _read(cast(BinaryIO, stream), path, dimensions, stored, packed=True)
        with open(path, "rb") as stream:
            return _read(stream, path, dimensions, stored, packed=False)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise StarcliError(f"{path}: damaged gzip file: {error}") from error
    except OSError as error:
        raise StarcliError(f"{path}: {error.strerror or error}") from error


def _read(stream: BinaryIO, path: Path, dimensions: int, stored: int, *, packed: bool) -> NDArray[np.uint8]:
    """Read and check header and numbers; `stored` is the size of the file."""
    length = 4 + 4 * dimensions
    header = stream.read(length)
    magic = bytes((0, 0, _BYTES, dimensions))
    if len(header) < length or header[:4] != magic:
        raise StarcliError(
            f"{path}: not an idx file of {dimensions}-dimensional unsigned bytes",
            [f"begins with {header[:4].hex(' ') or 'nothing'}, expected {magic.hex(' ')} and {dimensions} sizes"],
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    payload = prod(shape)
    if payload == 0:
        raise StarcliError(f"{path}: is empty, its header gives the sizes {shape}")
    if packed:
        check_unpacked(path, payload, stored)
    elif stored - length != payload:
        raise _wrong_length(path, shape, payload, f"{stored - length:,}")
    numbers = np.empty(payload, dtype=np.uint8)
    view, filled = numbers.data, 0
    while filled < payload and (count := stream.readinto(view[filled:])):  # type: ignore[attr-defined]
        filled += count
    if filled < payload:
        raise _wrong_length(path, shape, payload, f"{filled:,}")
    if stream.read(1):
        raise _wrong_length(path, shape, payload, "more")
    return numbers.reshape(shape)


def _wrong_length(path: Path, shape: tuple[int, ...], payload: int, found: str) -> StarcliError:
    """Error for a file of another length than its header says."""
    return StarcliError(f"{path}: {found} bytes after the header, expected {payload:,} for the sizes {shape}")
