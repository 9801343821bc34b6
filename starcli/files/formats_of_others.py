"""Files and directories with weights of other programs that are not read: what they are, and what helps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

_AS_ARRAYS = (
    "where it was made: safetensors.numpy.save_file({name: array, ...}, NEW), by names and shapes of your network"
)
_OF_A_NETWORK = "the network that it was made from is read: torch.save(network.state_dict(), NEW)"
_UNPACK = "unpack it first"
_JOIN = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch {} NEW.pt makes one file of it"


@dataclass(frozen=True)
class NotRead:
    """What a file or directory is, and what makes of it something that is read; `way` is one line."""

    kind: str
    way: str


_OF_KERAS = NotRead("a file of Keras or HDF5", _AS_ARRAYS)
_BEGINNINGS: Mapping[bytes, NotRead] = {
    b"\x89HDF": _OF_KERAS,
    b"GGUF": NotRead("a GGUF file of llama.cpp", "the directory of transformers that it was made from is read"),
    b"\x93NUMPY": NotRead("a NumPy array", _AS_ARRAYS),
    b"\x1f\x8b": NotRead("a compressed file (gzip)", _UNPACK),
    b"BZh": NotRead("a compressed file (bzip2)", _UNPACK),
    b"\xfd7zXZ": NotRead("a compressed file (xz)", _UNPACK),
    b"(\xb5/\xfd": NotRead("a compressed file (zstd)", _UNPACK),
    b"7z\xbc\xaf": NotRead("a 7z archive", _UNPACK),
    b"Rar!": NotRead("a RAR archive", _UNPACK),
}
_SUFFIXES: Mapping[str, NotRead] = {
    ".h5": _OF_KERAS,
    ".keras": _OF_KERAS,
    ".onnx": NotRead("a file of ONNX", _OF_A_NETWORK),
    ".tflite": NotRead("a file of TensorFlow Lite", _OF_A_NETWORK),
    ".mlmodel": NotRead("a file of Core ML", _OF_A_NETWORK),
    ".pb": NotRead("a file of TensorFlow", _AS_ARRAYS),
    ".msgpack": NotRead("a file of Flax", _AS_ARRAYS),
    ".pdparams": NotRead("a file of PaddlePaddle", _AS_ARRAYS),
    ".distcp": NotRead("a part of a distributed checkpoint of PyTorch", _JOIN.format("DIRECTORY")),
}
_TAR_AT, _TAR = 257, b"ustar"

ENOUGH = _TAR_AT + len(_TAR)
"""Number of bytes at the beginning of a file that tell all these kinds apart."""


def not_read(first: bytes, name: str) -> NotRead | None:
    """What a file is by its first bytes, ENOUGH or fewer, or else by its suffix; None where it may be one that is read.

    >>> not_read(b"GGUF", "model.bin").kind, not_read(b"PK", "model.keras").kind, not_read(b"PK", "model.pt")
    ('a GGUF file of llama.cpp', 'a file of Keras or HDF5', None)
    """
    if first[_TAR_AT:ENOUGH] == _TAR:
        return NotRead("a tar archive", _UNPACK)
    told = (kind for begin, kind in _BEGINNINGS.items() if first.startswith(begin))
    return next(told, None) or _SUFFIXES.get(PurePath(name).suffix.lower())


def directory_not_read(path: Path) -> NotRead | None:
    """What a directory is that holds no model which is read, by the names in it; None where they do not tell."""
    if (path / ".metadata").is_file() and any(path.glob("*.distcp")):
        return NotRead("a distributed checkpoint of PyTorch", _JOIN.format(path))
    if (path / "zero_to_fp32.py").is_file() or any(path.glob("*zero_pp_rank_*")):
        return NotRead("a checkpoint of DeepSpeed", "its zero_to_fp32.py makes one file of it")
    if any((path / name).exists() for name in ("_CHECKPOINT_METADATA", "_METADATA")):
        return NotRead("a checkpoint of Orbax", _AS_ARRAYS)
    if (path / "saved_model.pb").is_file() or ((path / "checkpoint").is_file() and any(path.glob("*.index"))):
        return NotRead("a model of TensorFlow", _AS_ARRAYS)
    return None
