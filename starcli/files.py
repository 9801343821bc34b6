"""The only module that writes: whole files or nothing, locks, resumable states, caches; and the safetensors format.

Every write goes to a hidden file beside the target, is flushed to the disk and renamed, so that a reader sees the old
file or the new one and never a part. No temporary name ends in `.safetensors`, so that globs do not catch it.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from starcli.errors import StarcliError

if TYPE_CHECKING:
    from torch import Tensor

MAXIMUM_HEADER = 8 * 2**20
"""Bytes of a safetensors header that we are willing to parse: 10,000 tensors with their specs need 2 MB."""

BYTES_PER_ELEMENT = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip


def _refuse(path: Path, error: OSError, deed: str) -> NoReturn:
    raise StarcliError(f"{path}: cannot {deed}: {error.strerror or error}") from error


# -- writing -----------------------------------------------------------------------------------------------------------


def check_output(path: Path, *, force: bool = False) -> None:
    """Refuse, before any work is done, a target that exists (unless `force`) or whose directory does not."""
    if path.is_dir():
        raise StarcliError(f"{path}: is a directory, not a file to write")
    if path.exists() and not force:
        raise StarcliError(f"{path}: exists; --force overwrites it")
    if not path.parent.is_dir():
        raise StarcliError(f"{path}: its directory {path.parent} does not exist")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what is written there replaces `path` when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself must survive a power cut
        finally:
            os.close(directory)
    except OSError as error:
        _refuse(path, error, "write")
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all; an older file there is replaced."""
    with _replacing(path) as temporary:
        temporary.write_bytes(content)


def write_tensors(path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, or with path `-` put its bytes on stdout; each tensor is stored under its own name."""
    from safetensors import SafetensorError
    from safetensors.torch import save, save_file

    own = _unshared(tensors)
    if str(path) == "-":
        sys.stdout.buffer.write(save(own, dict(metadata)))
        sys.stdout.buffer.flush()
        return
    with _replacing(path) as temporary:
        try:
            save_file(own, temporary, dict(metadata))
        except SafetensorError as error:  # the Rust side wraps what the system said
            raise OSError(str(error)) from error


def _unshared(tensors: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Contiguous CPU tensors of which no two share memory: tied weights are written under every name they have."""
    seen: set[int] = set()
    own = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != plain.numel() * plain.element_size():
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        own[name] = plain
    return own


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Add one JSON line to a log beside a checkpoint."""
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row, sort_keys=True) + "\n")
    except OSError as error:
        _refuse(path, error, "write")


def make_directory(path: Path) -> None:
    """Create a directory that the user named as an output, with its parents."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _refuse(path, error, "create")


# -- locks -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the output `path` for this process; a second process is told who holds it.

    The kernel drops a flock when its holder dies, so none goes stale.
    """
    target = path.with_name(f".{path.name}.lock")
    while True:
        try:
            handle = target.open("a+", encoding="utf-8")
        except OSError as error:
            _refuse(path, error, "lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            handle.close()
            raise StarcliError(f"{path}: is being written by {holder}") from error
        if target.exists() and os.fstat(handle.fileno()).st_ino == target.stat().st_ino:
            break
        handle.close()  # the holder before us removed the file between our open and our lock
    try:
        handle.truncate(0)
        handle.write(f"process {os.getpid()}")
        handle.flush()
        yield
    finally:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        handle.close()


# -- states and caches -------------------------------------------------------------------------------------------------


class StateFile:
    """Where a long run of one target keeps what it needs to go on: `target.safetensors` has `target.safetensors.state`.

    A state carries the `run_id` of its run; a state of another run is an error unless `force`, which discards it.
    """

    def __init__(self, target: Path, run_id: str, *, force: bool = False) -> None:
        self.path = target.with_name(target.name + ".state")
        self.run_id = run_id
        self.force = force

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state by `state`: tensors, numbers, strings and containers of them."""
        import torch

        buffer = io.BytesIO()
        torch.save({"run_id": self.run_id, "state": dict(state)}, buffer)
        write_atomically(self.path, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """What was saved, or None; nothing but plain data is ever unpickled."""
        if not self.path.exists():
            return None
        import torch

        try:
            content = torch.load(self.path, weights_only=True, map_location="cpu")
            found, state = content["run_id"], dict(content["state"])
        except Exception as error:
            if self.force:
                return None
            raise StarcliError(f"{self.path}: is no state of ours; delete it or use --force to start anew") from error
        if found != self.run_id:
            if self.force:
                return None
            raise StarcliError(
                f"{self.path}: belongs to a run with other settings", ["--force discards it and starts anew"]
            )
        return state

    def remove(self) -> None:
        """Forget the state: the run is finished."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            _refuse(self.path, error, "remove")


def _cache_path(kind: str, key: str) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "starcli" / kind / f"{key}.json"


def cached(kind: str, key: str, compute: Callable[[], Any]) -> Any:
    """The JSON-able value of `compute`, kept under the content hash `key`; a cache that cannot be used is no error."""
    path = _cache_path(kind, key)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        value = compute()
    with contextlib.suppress(OSError, StarcliError, RuntimeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(value, sort_keys=True).encode())
    return value


def hash_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


# -- reading safetensors -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TensorInfo:
    """What a safetensors header says of one tensor: its dtype in the format's own words, and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """A checked safetensors header: the tensors, the string metadata and where the data begins."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def _pairs_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _parse_header(raw: bytes, data_size: int) -> Header:
    """Check a header's JSON against the format: known dtypes, sizes that fit, data without holes or overlaps."""
    content = json.loads(raw.decode("utf-8"), object_pairs_hook=_pairs_once)
    if not isinstance(content, dict):
        raise ValueError("the header is no JSON object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ is no table of strings")
    tensors, spans = {}, []
    for name, entry in content.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"{name[:80]!r} is not described by dtype, shape and data_offsets")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if dtype not in BYTES_PER_ELEMENT:
            raise ValueError(f"{name[:80]!r} has the unknown dtype {str(dtype)[:20]!r}")
        if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**48 for size in shape):
            raise ValueError(f"{name[:80]!r} has an impossible shape")
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
            raise ValueError(f"{name[:80]!r} has impossible data_offsets")
        count = BYTES_PER_ELEMENT[dtype]
        for size in shape:
            count *= size
            if count > data_size and 0 not in shape:
                break
        if offsets[1] - offsets[0] != count:
            raise ValueError(f"{name[:80]!r}: its shape and its data_offsets disagree")
        tensors[name] = TensorInfo(dtype, tuple(shape))
        spans.append((offsets[0], offsets[1]))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise ValueError("the tensors overlap or leave a hole")
        position = end
    if position != data_size:
        raise ValueError(f"the tensors take {position} bytes, the file has {data_size}")
    return Header(tensors, metadata)


def _header_of(handle: io.BufferedIOBase, size: int, source: str) -> Header:
    try:
        if size < 8:
            raise ValueError("it is shorter than a header")
        length = int.from_bytes(handle.read(8), "little")
        if length > min(size - 8, MAXIMUM_HEADER):
            raise ValueError("its header is longer than the file or than 8 MiB")
        return _parse_header(handle.read(length), size - 8 - length)
    except (ValueError, RecursionError) as error:  # json and utf-8 errors are ValueErrors
        reason = "its header is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise StarcliError(f"{source}: not a whole safetensors file: {reason}") from error


def read_header(path: Path) -> Header:
    """The checked header of a safetensors file, without reading its data or importing torch."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise StarcliError(f"{path}: is not a regular file")
    try:
        with path.open("rb") as handle:
            return _header_of(handle, os.fstat(handle.fileno()).st_size, str(path))
    except OSError as error:
        _refuse(path, error, "read")


def read_tensors(path: Path) -> tuple[Header, dict[str, "Tensor"]]:
    """Header and tensors of a safetensors file; the tensors are memory-mapped and must not be written to.

    Path `-` reads the whole file from stdin.
    """
    from safetensors import safe_open
    from safetensors.torch import load

    if str(path) == "-":
        content = sys.stdin.buffer.read()
        return _header_of(io.BytesIO(content), len(content), "stdin"), load(content)
    header = read_header(path)
    with safe_open(path, framework="pt") as handle:
        return header, {name: handle.get_tensor(name) for name in header.tensors}
