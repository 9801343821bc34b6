"""Data sets from one `.npz` or `.safetensors` file of images and labels.

Keys: `train_images`, `train_labels`, `test_images`, `test_labels` (or `x_train`, `y_train`, `x_test`, `y_test`); or one
pair, `images` and `labels` (or `x` and `y`), of which a fixed fifth is held out for testing (`held_out_fifth`). Other
keys are left unread.

Images: uint8 (divided by 255) or float; (N, H, W), (N, C, H, W), (N, H, W, C) or (N, D). Of four axes, the channels are
the second where that has size 1 or 3, else the last where that has, else the second. Labels: integers (N,) or (N, 1).
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Mapping
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from starcli.data.loading import Array, Loaded, Part, Request, assemble, check_unpacked
from starcli.data.partition import held_out_fifth
from starcli.errors import StarcliError
from starcli.files.safetensors import read_tensors

LAYOUTS = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
    ("images", "labels"),
    ("x", "y"),
)
"""Names of the arrays; the first layout whose keys are all there is taken: training and test pairs, or one pair."""


def load_arrays(request: Request) -> Loaded:
    """Load the file that the name gives; its suffix tells the format."""
    path = Path(request.rest)
    readers: Mapping[str, Callable[[Path], Mapping[str, Array]]] = {
        ".npz": read_npz,
        ".safetensors": read_safetensors,
    }
    if path.suffix not in readers:
        raise StarcliError(f"{path}: unknown suffix {path.suffix!r}, expected .npz or .safetensors")
    if not path.is_file():
        raise StarcliError(f"{path}: no such file")
    return assemble("arrays", *_parts(readers[path.suffix](path), path))


def read_npz(path: Path) -> dict[str, Array]:
    """Arrays of a .npz file. Raises StarcliError for pickled objects, headers that lie and decompression bombs."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            keys = _layout(members, path)
            stored = path.stat().st_size
            check_unpacked(path, sum(members[key].file_size for key in keys), stored)
            arrays = {}
            for key in keys:
                with archive.open(members[key]) as stream:
                    arrays[key] = _read_npy(stream, members[key].file_size, f"{path}: {key}")
            return arrays
    except StarcliError:
        raise
    except Exception as error:
        # A damaged archive makes zipfile, zlib and NumPy's header parser raise nearly anything.
        raise StarcliError(f"{path}: cannot be read as .npz: {_words(error)}") from error


def read_safetensors(path: Path) -> dict[str, Array]:
    """Arrays of a .safetensors file, copied into memory; floats of any width as float32."""
    header, tensors = read_tensors(path)
    # The tensors are mapped: a copy cannot be pulled away from under a run of hours.
    return {
        key: (tensors[key].float() if tensors[key].is_floating_point() else tensors[key]).numpy().copy()
        for key in _layout(header.tensors, path)
    }


def _layout(found: Collection[str], path: Path) -> tuple[str, ...]:
    """First of LAYOUTS whose keys are all in the file."""
    for keys in LAYOUTS:
        if all(key in found for key in keys):
            return keys
    raise StarcliError(
        f"{path}: no images with labels in it",
        [
            "expected the keys " + "; or ".join(", ".join(keys) for keys in LAYOUTS),
            "found " + (", ".join(sorted(found)[:10]) or "nothing"),
        ],
    )


def _read_npy(stream: IO[bytes], size: int, where: str) -> Array:
    """Array in a .npy stream of `size` bytes; its header is believed only as far as the size bears it out."""
    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise StarcliError(f"{where}: .npy version {version}, expected 1.0 or 2.0")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise StarcliError(f"{where}: holds pickled objects, which could run code; refused")
    count, length = prod(shape), size - stream.tell()
    if min(shape, default=1) < 0 or count * dtype.itemsize != length:
        raise StarcliError(f"{where}: {length:,} bytes, expected {count * dtype.itemsize:,} for {dtype} {shape}")
    buffer = np.empty(length, dtype=np.uint8)
    view, filled = buffer.data, 0
    while filled < length and (piece := stream.read(min(length - filled, 1 << 20))):
        view[filled : filled + len(piece)] = piece
        filled += len(piece)
    if filled < length or stream.read(1):  # reading to the end checks the archive's sum too
        raise StarcliError(f"{where}: {'more' if filled == length else f'{filled:,}'} bytes, expected {length:,}")
    return np.ndarray(shape, dtype, buffer, order="F" if fortran else "C")


def _parts(found: Mapping[str, Array], path: Path) -> tuple[Part, Part]:
    """Training and test part from the arrays of one layout."""
    keys = list(found)
    train = Part(_images(found[keys[0]], path, keys[0]), _labels(found[keys[1]], path, keys[1]), f"{path}: {keys[0]}")
    if len(keys) == 4:
        test_images, test_labels = _images(found[keys[2]], path, keys[2]), _labels(found[keys[3]], path, keys[3])
        return train, Part(test_images, test_labels, f"{path}: {keys[2]}")
    if len(train.labels) != len(train.inputs) or len(train.labels) < 2:
        raise StarcliError(
            f"{path}: {len(train.inputs)} {keys[0]} and {len(train.labels)} {keys[1]}, expected as many, at least 2"
        )
    inner, outer = held_out_fifth(train.labels)
    return (
        Part(train.inputs[inner], train.labels[inner], train.where),
        Part(train.inputs[outer], train.labels[outer], f"{train.where} (held-out fifth)"),
    )


def _images(array: Array, path: Path, key: str) -> Array:
    """Images as (N, C, H, W) or (N, D), contiguous, uint8 or finite float32."""
    if array.ndim not in (2, 3, 4) or 0 in array.shape[1:]:
        raise StarcliError(
            f"{path}: {key}: shape {array.shape}, expected (N, D), (N, H, W), (N, C, H, W) or (N, H, W, C)"
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise StarcliError(f"{path}: {key}: numbers of type {array.dtype}, expected uint8 or float")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is reported as such
        floats: NDArray[np.float32] = np.ascontiguousarray(array, dtype=np.float32)
    bad = len(floats) - int(np.isfinite(floats).reshape(len(floats), -1).all(axis=1).sum())
    if bad:
        raise StarcliError(f"{path}: {key}: {bad} of {len(floats)} hold NaN or infinite numbers")
    return floats


def _labels(array: Array, path: Path, key: str) -> NDArray[np.int64]:
    """Labels (N,) as int64."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise StarcliError(f"{path}: {key}: {array.dtype} of shape {array.shape}, expected integers (N,)")
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and len(array) and array.max() > np.iinfo(np.int64).max:
        raise StarcliError(f"{path}: {key}: label {array.max()} is out of range")
    return np.ascontiguousarray(array, dtype=np.int64)


def _words(error: Exception) -> str:
    return str(error).replace("\n", " ")[:200] or type(error).__name__
