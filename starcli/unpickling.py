"""PyTorch's own files from strangers: plain data and tensors are read, code never, and no bomb unfolds."""

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

MAXIMUM_PICKLE = 4 * 2**20
"""Bytes of pickled structure, without the tensors' own: 10,000 tensors need 1 MB; interpreting more takes seconds."""


class _Bounded(io.BufferedReader):
    """A file that may be read in so many steps: unpickling takes one or two for each instruction."""

    steps = 0

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAXIMUM_PICKLE:
            raise pickle.UnpicklingError("more instructions than any state dict needs")

    def read(self, size: int | None = -1, /) -> bytes:
        self._step()
        return super().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        self._step()
        return super().readline(size)


def load(path: Path, *, mapped: bool = True) -> Any:
    """The plain data in a file of `torch.save`, tensors on the CPU; memory-mapped if the format allows it.

    Raises pickle.UnpicklingError for what could run code or is too large, OSError, and nearly anything for damage.
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
    """PyTorch stores members as they are: one that is packed, or a large pickle, is somebody else's."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise pickle.UnpicklingError(f"{member.filename[:80]} is compressed, which PyTorch never does")
            if member.filename.endswith(".pkl") and member.file_size > MAXIMUM_PICKLE:
                raise pickle.UnpicklingError(f"{member.filename[:80]} is larger than {MAXIMUM_PICKLE >> 20} MB")
