"""Hash of a model, over its weights alone: equal weights have one hash whatever their file is called."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.errors import StarcliError
from starcli.files.shards import tensor_places

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {
    "torch.bool": "BOOL", "torch.uint8": "U8", "torch.int8": "I8", "torch.uint16": "U16", "torch.int16": "I16",
    "torch.uint32": "U32", "torch.int32": "I32", "torch.uint64": "U64", "torch.int64": "I64",
    "torch.float8_e4m3fn": "F8_E4M3", "torch.float8_e5m2": "F8_E5M2", "torch.float16": "F16",
    "torch.bfloat16": "BF16", "torch.float32": "F32", "torch.float64": "F64", "torch.complex64": "C64",
}  # fmt: skip
"""The safetensors format's name of each of torch's dtypes."""


def weights_sha256(tensors: "Mapping[str, Tensor]") -> str:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors, in sorted order of their names.

    >>> import torch
    >>> weights_sha256({"a": torch.ones(2)}) == weights_sha256({"b": torch.ones(2)})
    False
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(_prelude(name, DTYPES[str(tensor.dtype)], tuple(tensor.shape)))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """`weights_sha256` of the tensors in a safetensors file or its shards, read piece by piece and without torch.

    Raises StarcliError where they cannot be read, and for a file that is cut meanwhile.
    """
    digest, where = hashlib.sha256(), tensor_places(path)
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
