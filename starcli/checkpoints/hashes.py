"""Hash of a model, over its weights alone: equal weights have one hash whatever their file is called."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.errors import StarcliError
from starcli.files.shards import TensorPlaces, tensor_places
from starcli.files.tensor_layout import DTYPES

if TYPE_CHECKING:
    from torch import Tensor


def weights_sha256(tensors: "Mapping[str, Tensor]") -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors, in sorted order of their names.

    >>> import torch
    >>> weights_sha256({"a": torch.ones(2)}) == weights_sha256({"b": torch.ones(2)})
    False
    """
    digest = WeightsDigest()
    for name in sorted(tensors):
        digest.add(name, tensors[name])
    return digest.hexdigest()


class WeightsDigest:
    """`weights_sha256` of tensors that are given one by one, sorted by their names."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, name: str, tensor: "Tensor") -> None:
        """Take the next tensor in."""
        import torch

        plain = tensor.detach().cpu().contiguous()
        self._digest.update(_prelude(name, DTYPES[str(plain.dtype)], tuple(plain.shape)))
        self._digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)

    def hexdigest(self) -> str:
        """The hash of all that was taken in."""
        return self._digest.hexdigest()


def file_sha256(path: Path) -> str:
    """`weights_sha256` of the tensors in a safetensors file or its shards, read piece by piece and without torch.

    Raises StarcliError where they cannot be read, and for a file that is cut meanwhile.
    """
    return sha256_at(tensor_places(path))


def sha256_at(where: TensorPlaces) -> str:
    """`file_sha256` of tensors that lie there, in files whose headers were read."""
    digest = hashlib.sha256()
    with ExitStack() as opened:
        handles = {file: opened.enter_context(file.open("rb")) for file in {file for file, _, _ in where.values()}}
        for name in sorted(where):
            file, begin, info = where[name]
            digest.update(_prelude(name, info.dtype, info.shape))
            handles[file].seek(begin)
            remaining = info.end - info.begin
            while remaining:
                piece = handles[file].read(min(remaining, 2**20))
                if not piece:
                    raise StarcliError(f"{file}: was cut while it was read")
                digest.update(piece)
                remaining -= len(piece)
    return digest.hexdigest()


def _prelude(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    """Bytes that precede those of a tensor."""
    return f"{name}\0{dtype}\0{shape}\0".encode()
