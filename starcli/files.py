"""The only module that writes: whole files or nothing, locks, resumable states, caches.

Every write goes to a file in a hidden directory beside the target, is flushed to the disk and renamed, so that a reader
sees the old file or the new one and never a part. No temporary name ends in `.safetensors`, so that globs do not catch
it.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from starcli import leftovers
from starcli.errors import StarcliError
from starcli.runtime import stdout

if TYPE_CHECKING:
    from torch import Tensor


def refuse(path: Path, error: OSError, deed: str) -> NoReturn:
    """Say in one line what the system did not let us do with `path`."""
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
def on_disk(path: Path) -> Iterator[Path]:
    """`path` itself; for `-` a file named `stdin`, while the block lasts, with what stdin has to say."""
    if str(path) != "-":
        yield path
        return
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "stdin"
        with file.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield file


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there replaces `path` when the block ends well.

    It lies in a directory of its own, for safetensors writes to a name of its own invention first, which a process that
    is killed leaves behind.
    """
    place = leftovers.in_the_making(path)
    leftovers.sweep(path)
    try:
        place.mkdir(exist_ok=True)
        temporary = place / "new"
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)  # safetensors makes its files readable by nobody else, against the user's umask
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself must survive a power cut
        finally:
            os.close(directory)
    except OSError as error:
        refuse(path, error, "write")
    finally:
        shutil.rmtree(place, ignore_errors=True)


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
        stdout.results().buffer.write(save(own, dict(metadata)))
        stdout.results().buffer.flush()
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
        refuse(path, error, "write")


def make_directory(path: Path) -> None:
    """Create a directory that the user named as an output, with its parents."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(path, error, "create")


# -- locks -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lock(path: Path, *beside: Path, wait: bool = False) -> Iterator[None]:
    """Hold the output `path` for this process; a second process is told who holds it, or made to `wait`.

    The kernel drops a flock when its holder dies, so none goes stale. What it had half written is removed, also of the
    files `beside` it that only the holder writes.
    """
    target = path.with_name(f".{path.name}.lock")
    while True:
        try:
            handle = target.open("a+", encoding="utf-8")
        except OSError as error:
            refuse(path, error, "lock")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
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
        for each in (path, state_path(path), *beside):
            leftovers.sweep(each)
        yield
    finally:
        with contextlib.suppress(OSError):
            target.unlink(missing_ok=True)
        handle.close()


# -- states and caches -------------------------------------------------------------------------------------------------


def state_path(target: Path) -> Path:
    """Where the state of a run that makes `target` is."""
    return target.with_name(target.name + ".state")


class StateFile:
    """Where a long run of one target keeps what it needs to go on: `target.safetensors` has `target.safetensors.state`.

    A state carries the `run_id` of its run; a state of another run is an error unless `force`, which discards it.
    It also carries `facts`, plain values, of which `differences` says in lines how they differ from those of now.
    """

    def __init__(
        self,
        target: Path,
        run_id: str,
        *,
        force: bool = False,
        facts: Mapping[str, Any] | None = None,
        differences: Callable[[Mapping[str, Any]], list[str]] | None = None,
    ) -> None:
        self.path = state_path(target)
        self.run_id = run_id
        self.force = force
        self.facts, self.differences = facts, differences

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the state by `state`: tensors, numbers, strings and containers of them."""
        import torch

        from starcli import unpickling

        packed = unpickling.pack(dict(state))
        buffer = io.BytesIO()
        torch.save({"run_id": self.run_id, "facts": json.dumps(self.facts), "state": packed}, buffer)
        write_atomically(self.path, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """What was saved, or None; nothing but plain data is ever unpickled."""
        if not self.path.exists():
            return None
        from starcli import unpickling

        try:
            content = unpickling.load(self.path, mapped=False)
            found, state = content["run_id"], dict(unpickling.unpack(content["state"]))
        except Exception as error:
            if self.force:
                return None
            raise StarcliError(f"{self.path}: is no state of ours; delete it or use --force to start anew") from error
        if found != self.run_id:
            if self.force:
                return None
            problems = [*self._differences(content.get("facts")), "--force discards it and starts anew"]
            raise StarcliError(f"{self.path}: belongs to a run with other settings", problems)
        return state

    def _differences(self, facts: object) -> list[str]:
        """None where the state does not say, or says what makes no sense."""
        with contextlib.suppress(ValueError, TypeError):
            return self.differences(json.loads(str(facts))) if self.differences else []
        return []

    def recorded(self) -> Any:
        """The facts of the state that is there, of whichever run; None where there is none, or none of ours."""
        from starcli import unpickling

        try:
            return json.loads(unpickling.load(self.path)["facts"])
        except Exception:  # `load` says what is wrong with it
            return None

    def remove(self) -> None:
        """Forget the state: the run is finished."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            refuse(self.path, error, "remove")


def _cache_path(kind: str, key: str) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "starcli" / kind / f"{key}.json"


def recall(kind: str, key: str) -> Any:
    """The JSON value that `remember` kept under the content hash `key`, or None."""
    try:
        return json.loads(_cache_path(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return None


def remember(kind: str, key: str, value: Any) -> None:
    """Keep a JSON-able value, not None, under the content hash `key`; a cache that cannot be used is no error."""
    with contextlib.suppress(OSError, StarcliError, RuntimeError):
        path = _cache_path(kind, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(value, sort_keys=True).encode())


def cached(kind: str, key: str, compute: Callable[[], Any]) -> Any:
    """The JSON-able value of `compute`, kept under the content hash `key`."""
    value = recall(kind, key)
    if value is None:
        value = compute()
        remember(kind, key, value)
    return value


def hash_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
