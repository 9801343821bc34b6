"""Reading safetensors files that may come from strangers: every header is checked before any data is mapped.

The format: 8 bytes of length (little-endian), a JSON header (tensor name -> dtype, shape, begin and end of its data;
`__metadata__` -> strings), then the data of all tensors.
"""

import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.errors import StarcliError
from starcli.files.formats import is_pickled, refuse_name_of_bytes, refuse_other_kind
from starcli.files.strict_json import strict_json
from starcli.files.tensor_layout import BYTES_PER_ELEMENT
from starcli.files.write import raise_os_error

if TYPE_CHECKING:
    from torch import Tensor

MAXIMUM_HEADER = 8 * 2**20
"""Largest header in bytes: 10,000 tensors with their specs need 2 MB."""

MAXIMUM_TENSORS, MAXIMUM_DIMENSIONS = 20_000, 64
"""Largest number of tensors in a file, and of dimensions of a tensor: more was not made for a network."""


@dataclass(frozen=True)
class TensorInfo:
    """Entry of a tensor in a header: dtype in the format's words, shape, begin and end of its data in bytes."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """Checked header: the tensors, the string metadata, and the offset in the file at which the data begins."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_begin: int


def _parse_header(raw: bytes, data_size: int) -> Header:
    """Check a header against the format: known dtypes, sizes that agree with shapes, data without holes or overlaps."""
    content = strict_json(raw.decode("utf-8"))
    if not isinstance(content, dict):
        raise ValueError("the header is no JSON object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ is no table of strings")
    if len(content) > MAXIMUM_TENSORS:
        raise ValueError(f"it has {len(content)} tensors, at most {MAXIMUM_TENSORS} are read")
    tensors = {name: _tensor_info(name[:80], entry, data_size) for name, entry in content.items()}
    position = 0
    for begin, end in sorted((each.begin, each.end) for each in tensors.values()):
        if begin != position:
            raise ValueError("the tensors overlap or leave a hole")
        position = end
    if position != data_size:
        raise ValueError(f"the tensors take {position} bytes, the file has {data_size}")
    return Header(tensors, metadata, 8 + len(raw))


def _tensor_info(name: str, entry: object, data_size: int) -> TensorInfo:
    """Check what a header says of one tensor; `name` is as errors show it."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES_PER_ELEMENT:
        raise ValueError(f"{name!r} has the unknown dtype {str(dtype)[:20]!r}")
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**48 for size in shape):
        raise ValueError(f"{name!r} has an impossible shape")
    if len(shape) > MAXIMUM_DIMENSIONS:
        raise ValueError(f"{name!r} has {len(shape)} dimensions")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        raise ValueError(f"{name!r} has impossible data_offsets")
    count = BYTES_PER_ELEMENT[dtype]
    for size in shape:
        count *= size
        if count > data_size and 0 not in shape:
            break
    if offsets[1] - offsets[0] != count:
        raise ValueError(f"{name!r}: its shape and its data_offsets disagree")
    return TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])


def _header_of(handle: io.BufferedIOBase, size: int, source: str) -> Header:
    """Read and check the header at the beginning of a stream of `size` bytes."""
    try:
        first = handle.read(8)
        refuse_other_kind(first, source)
        if first.isascii() and all(byte in b"\t\n\r" or byte >= 32 for byte in first):  # no header is so long
            raise ValueError("it is text")
        if size < 8:
            raise ValueError("it is shorter than a header")
        length = int.from_bytes(first, "little")
        if length > min(size - 8, MAXIMUM_HEADER):
            raise ValueError("its header is longer than the file or than 8 MiB")
        return _parse_header(handle.read(length), size - 8 - length)
    except (ValueError, RecursionError) as error:  # json and utf-8 errors are ValueErrors
        reason = "its header is nested too deeply" if isinstance(error, RecursionError) else str(error)
        if is_pickled(source):
            summary = f"{source}: a file of PyTorch's says nothing of itself; starcli convert makes a checkpoint of it"
            raise StarcliError(summary, ["other commands read it as it is, with --arch and --data"]) from error
        raise StarcliError(f"{source}: not a whole safetensors file: {reason}") from error


def read_header(path: Path) -> Header:
    """Checked header of a safetensors file, without reading its data and without torch.

    Raises StarcliError where the file cannot be read or its header is not that of a whole safetensors file.

    >>> import tempfile, torch
    >>> from starcli.files.write import write_tensors
    >>> with tempfile.TemporaryDirectory() as place:
    ...     write_tensors(Path(place, "a.safetensors"), {"w": torch.zeros(2, 3)}, {})
    ...     read_header(Path(place, "a.safetensors")).tensors["w"]
    TensorInfo(dtype='F32', shape=(2, 3), begin=0, end=24)
    """
    refuse_name_of_bytes(path)
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise StarcliError(f"{path}: is not a regular file")
    try:
        with path.open("rb") as handle:
            return _header_of(handle, os.fstat(handle.fileno()).st_size, str(path))
    except OSError as error:
        raise_os_error(path, error, "read")


def read_tensors(path: Path) -> tuple[Header, dict[str, "Tensor"]]:
    """Header and tensors of a safetensors file; `-` reads the whole file from stdin.

    The tensors are memory-mapped: never write to them. Errors as of `read_header`.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    if str(path) == "-":
        content = sys.stdin.buffer.read()
        if content[:4] == b"PK\x03\x04":
            raise StarcliError("stdin: a file of PyTorch's; these are read by their names, not from stdin")
        return _header_of(io.BytesIO(content), len(content), "stdin"), load(content)
    header = read_header(path)
    try:
        with safe_open(path, framework="pt") as handle:
            return header, {name: handle.get_tensor(name) for name in header.tensors}
    except (SafetensorError, OSError) as error:
        raise StarcliError(f"{path}: not a whole safetensors file: {error}") from error
