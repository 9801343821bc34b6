"""Reading PyTorch's own files, which are pickles, from strangers: tensors and plain data only, never code.

Files that would take unreasonable time or memory to unpickle are refused.
"""

import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

MAXIMUM_PICKLE = 4 * 2**20
"""Largest pickle in bytes, without the tensors' own data: 10,000 tensors need 1 MB; interpreting more takes seconds."""

BYTES_PER_MEMBER = 256
"""Bytes of pickle allowed for each tensor where there are very many: twice of what one takes."""

JSON = "starcli/json"
"""Key of a packed list: `pack` replaces a list of plain data by {JSON: its text as a tensor of bytes}."""


class RefusedPickle(pickle.UnpicklingError):
    """What no file of PyTorch's has or needs, in words for the user."""


class _Bounded(io.BufferedReader):
    """File that may be read in MAXIMUM_PICKLE steps: unpickling takes one or two for each instruction."""

    steps = 0

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAXIMUM_PICKLE:
            raise RefusedPickle("more instructions than any state dict needs")

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and count a step."""
        self._step()
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line, and count a step."""
        self._step()
        return super().readline(size)


def load_pickle(path: Path, *, mapped: bool = True) -> Any:
    """Load the tensors (on the CPU) and plain data in a file of `torch.save`, memory-mapped if the format allows it.

    Raises pickle.UnpicklingError for what could run code, its kind RefusedPickle for what is too large, OSError where
    the file cannot be read, and nearly anything for a damaged one.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks about old protocols
        with _Bounded(io.FileIO(path)) as stream:
            if stream.peek(4)[:4] != b"PK\x03\x04":  # the format before PyTorch 1.6
                return torch.load(stream, map_location="cpu", weights_only=True)
        _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def _check_archive(path: Path) -> None:
    """Refuse compressed members and large pickles: PyTorch stores members as they are."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        largest = max(MAXIMUM_PICKLE, BYTES_PER_MEMBER * len(members))
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise RefusedPickle(f"{member.filename[:80]} is compressed, which PyTorch never does")
            if member.filename.endswith(".pkl") and member.file_size > largest:
                raise RefusedPickle(f"{member.filename[:80]} is larger than {largest >> 20} MB")


def pack(value: Any) -> Any:
    """Replace the lists of plain data in `value` by tensors, so that the pickle of a long history remains small."""
    if isinstance(value, dict):
        return {key: pack(child) for key, child in value.items()}
    if type(value) is not list:
        return value
    if not _is_plain(value):
        return [pack(child) for child in value]
    import torch

    return {JSON: torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)}


def unpack(value: Any) -> Any:
    """Inverse of `pack`. Raises ValueError or RecursionError for what `pack` never made.

    >>> unpack(pack({"history": [{"loss": 0.5}, {"loss": 0.25}]}))
    {'history': [{'loss': 0.5}, {'loss': 0.25}]}
    """
    if isinstance(value, list):
        return [unpack(child) for child in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {JSON}:
        return {key: unpack(child) for key, child in value.items()}
    if not value[JSON].is_contiguous():  # a few bytes that pass for many
        raise ValueError("its bytes overlap in memory")
    return json.loads(value[JSON].numpy().tobytes())


def _is_plain(value: Any) -> bool:
    """Whether JSON gives back exactly `value`: no tuples, tensors or keys that are numbers."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(child) for key, child in value.items())
    if type(value) is list:
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
