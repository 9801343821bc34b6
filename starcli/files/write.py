"""Writing files: whole or not at all.

Every write goes to a file in a hidden directory beside the target, is flushed to the disk and renamed, so that a reader
sees the old file or the new one and never a part. A link stays, and what it leads to is replaced. No temporary name
ends in `.safetensors`, so that globs do not catch it. Nothing else in the package opens a file to write. A rehearsal is
told the size in place of it.
"""

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from starcli.errors import StarcliError
from starcli.files import leftovers
from starcli.files.links import behind_links
from starcli.files.tensor_layout import DTYPES, tensor_header
from starcli.runtime import stdout
from starcli.runtime.rehearsal import present_rehearsal

if TYPE_CHECKING:
    from torch import Tensor


def raise_os_error(path: Path, error: OSError, deed: str) -> NoReturn:
    """Raise the StarcliError for an operation (`deed`: read, write, lock ...) on `path` that the system refused."""
    raise StarcliError(f"{path}: cannot {deed}: {error.strerror or error}") from error


def check_output(path: Path, *, force: bool = False) -> None:
    """Check, before any work is done, that `path` can be written.

    Raises StarcliError where it exists (unless `force`), is no file, or lies where nothing may be written.
    """
    check_replaceable(path)
    if path.exists() and not force:
        raise StarcliError(f"{path}: exists; --force overwrites it")
    check_directory(behind_links(path).parent)


def check_replaceable(path: Path) -> None:
    """Check that a file may take the place `path`: a directory, a device (/dev/null) or a pipe may not go for one.

    /dev/stdout is not the file that it leads to, but a link that all processes need.
    """
    if path.is_dir():
        raise StarcliError(f"{path}: is a directory, not a file to write")
    of_the_system = str(path.absolute().parent) in ("/dev", "/dev/fd")
    if path.exists() and (of_the_system or not path.is_file()):
        raise StarcliError(f"{path}: is no regular file, and would be replaced by one; - is stdout")


def check_directory(path: Path) -> None:
    """Check that files can be written into the directory `path`, which is made when the first one is written."""
    existing = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
    if not existing.is_dir():
        raise StarcliError(f"{existing}: is no directory to write into")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StarcliError(f"{existing}: may not be written to")


@contextlib.contextmanager
def replacing(path: Path, into: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; what is written there replaces `path`, or what it links to, when the block ends well.

    Its directory is made where it does not exist.
    into: the `partial_place` of several files, where this one stays under its name until all are there.
    """
    assert present_rehearsal() is None, path
    check_replaceable(path)
    target = behind_links(path)
    try:
        with contextlib.nullcontext(into) if into else partial_place(target) as place:
            temporary = place / ("new" if into is None else path.name)
            temporary.touch()
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            temporary.chmod(mode)  # safetensors makes its files readable by nobody else, against the user's umask
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            if into is None:
                temporary.replace(target)
                flush_directory(target.parent)
    except OSError as error:
        raise_os_error(path, error, "write")


@contextlib.contextmanager
def partial_place(target: Path) -> Iterator[Path]:
    """A hidden directory beside `target` in which it is written; it goes with what is left in it.

    It is of its own, for safetensors writes to a name of its own invention first, which a process that is killed leaves
    behind.
    """
    make_directory(target.parent)
    place = leftovers.partial_directory(target)
    leftovers.sweep(target)
    try:
        place.mkdir(exist_ok=True)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def flush_directory(path: Path) -> None:
    """Have the disk keep the names in a directory: a rename must survive a power cut."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_atomically(path: Path, content: bytes, *, into: Path | None = None) -> None:
    """Write `content` to `path`, whole or not at all, in place of an older file. into: as of `replacing`."""
    if (rehearsal := present_rehearsal()) is not None:
        rehearsal.wrote(path, len(content))
        return
    with replacing(path, into) as temporary:
        temporary.write_bytes(content)


def holds(path: Path, pieces: Iterable[bytes | memoryview]) -> bool:
    """Whether a file is just these `pieces`, one after the other."""
    try:
        with path.open("rb") as file:
            return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)
    except OSError as error:
        raise_os_error(path, error, "read")


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write `pieces`, one after the other, to `path`, whole or not at all, or to stdout where `path` is `-`."""
    if (rehearsal := present_rehearsal()) is not None:
        rehearsal.wrote(path, sum(map(len, pieces)))
        return
    if str(path) == "-":
        for piece in pieces:
            stdout.result_stream().buffer.write(piece)
        stdout.result_stream().buffer.flush()
        return
    with replacing(path) as temporary, temporary.open("wb") as handle:
        handle.writelines(pieces)


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str], *, into: Path | None = None
) -> None:
    """Write a safetensors file atomically, or its bytes to stdout where `path` is `-`.

    Tied tensors are stored under each of their names. into: as of `replacing`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save, save_file

    if (rehearsal := present_rehearsal()) is not None:
        rehearsal.wrote(path, len(_header(tensors, metadata)[0]) + sum(each.nbytes for each in tensors.values()))
        return
    own = _unshared(tensors)
    if str(path) == "-":
        stdout.result_stream().buffer.write(save(own, dict(metadata)))
        stdout.result_stream().buffer.flush()
        return
    with replacing(path, into) as temporary:
        try:
            save_file(own, temporary, dict(metadata))
        except SafetensorError as error:  # the Rust side wraps what the system said
            found = re.search(r"(?:os error |Os { code: )(\d+)", str(error))  # older releases: the second
            raise OSError(os.strerror(int(found[1])) if found else str(error)) from error
        _sort_words_(temporary, metadata)


def tensor_pieces(tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """The file that `write_tensors` makes, piece by piece: its header, then the data of each tensor."""
    header, places = _header(tensors, metadata)
    yield header
    for name in sorted(places, key=places.__getitem__):
        yield raw_bytes(tensors[name].detach().cpu())


def raw_bytes(tensor: "Tensor") -> memoryview:
    """The data of a tensor on the CPU as a file holds them."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _header(tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str]) -> tuple[bytes, dict[str, int]]:
    """`tensor_header` of tensors that are there."""
    forms = {name: (DTYPES[str(tensor.dtype)], tuple(tensor.shape)) for name, tensor in tensors.items()}
    return tensor_header(forms, metadata)


def _sort_words_(path: Path, metadata: Mapping[str, str]) -> None:
    """Sort the words in the header of a safetensors file, which stand there in another order each time."""
    if len(metadata) < 2:
        return
    begin = json.dumps({"__metadata__": dict(metadata)}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    words = begin.removesuffix("}").encode()
    with path.open("rb+") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
        if json.loads(words + header[len(words) :]) == json.loads(header):
            file.seek(8)
            file.write(words)


def _unshared(tensors: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Contiguous CPU tensors of which no two share memory, as safetensors wants them."""
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


def remove(path: Path) -> None:
    """Remove a file that what was written replaces, if it is there."""
    if present_rehearsal() is not None:
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise_os_error(path, error, "remove")


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON line to a log."""
    line = json.dumps(row, sort_keys=True) + "\n"
    if (rehearsal := present_rehearsal()) is not None:
        rehearsal.wrote(path, (rehearsal.files.get(path) or 0) + len(line.encode()))
        return
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(line)
    except OSError as error:
        raise_os_error(path, error, "write")


def make_directory(path: Path) -> None:
    """Create a directory, with its parents, for what the user named as an output."""
    if present_rehearsal() is not None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise_os_error(path, error, "create")
