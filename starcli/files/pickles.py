"""Reading PyTorch's own files, which are pickles, from strangers: tensors and plain data only, never code.

Files that would take unreasonable time or memory to unpickle are refused. Objects of classes are skipped and named.
"""

import io
import json
import os
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.files.formats import PICKLED
from starcli.files.pickled_values import RefusedPickle
from starcli.files.torch_tensors import CALLS, Storage, constants, dtype_of_storage
from starcli.files.unpickler import MAXIMUM_STEPS, Unpickler

if TYPE_CHECKING:
    from torch import UntypedStorage

MAXIMUM_PICKLE = 64 * 2**20
"""Largest pickle in bytes, without the tensors' own data: 10,000 tensors need 1 MB, long texts beside them more."""

BYTES_PER_MEMBER, STEPS_PER_MEMBER = 256, 64
"""Bytes and instructions of a pickle allowed for each tensor where there are very many: twice of what one takes."""

BYTES_PER_STEP = 16
"""Bytes of a file for each instruction in its pickles, where it does not say beforehand how many tensors it has."""

JSON = "starcli/json"
"""Key of a packed list: `pack` replaces a list of plain data by {JSON: its text as a tensor of bytes}."""

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""What a file of the format before PyTorch 1.6 begins with: two pickles of these."""
_BEGINNING = 32
"""Number of bytes among which the first of the two ends, whatever the protocol."""


def load_pickle(path: Path, *, mapped: bool = True) -> Any:
    """Load the tensors (on the CPU) and plain data in a file of `torch.save`, memory-mapped if the format allows it.

    What is of any class is a `Skipped`, and no code is run. Raises pickle.UnpicklingError for what no file of PyTorch's
    has, its kind RefusedPickle with words for the user, OSError where the file cannot be read, and nearly anything for
    a damaged one.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            file.seek(0)
            return _load_legacy(file)
        with zipfile.ZipFile(file) as archive:
            return _load_archive(path, file, archive, mapped=mapped)


def _load_archive(path: Path, file: io.BufferedReader, archive: zipfile.ZipFile, *, mapped: bool) -> Any:
    """The content of a zip archive: `NAME/data.pkl`, and `NAME/data/KEY` for each storage."""
    size = os.fstat(file.fileno()).st_size
    pickled = next((name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1), None)
    if pickled is None and any(name.endswith(".npy") for name in archive.namelist()):
        raise RefusedPickle("it holds NumPy arrays, which are data (--data) and no checkpoint")
    if pickled is None:
        raise RefusedPickle(f"an archive without data.pkl, which torch.save writes{_way_out(archive.namelist())}")
    root = pickled.removesuffix("data.pkl")
    if any(name == f"{root}constants.pkl" or name.startswith(f"{root}code/") for name in archive.namelist()):
        raise RefusedPickle(
            "a TorchScript program; save its state dict: torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    _check_archive(archive, size)
    if archive.NameToInfo.get(f"{root}byteorder") and archive.read(f"{root}byteorder").decode() != sys.byteorder:
        raise RefusedPickle("it was written on a machine with another order of bytes")
    import torch

    whole = torch.UntypedStorage.from_file(str(path), False, size) if mapped else None

    def storage(key: str, _: int) -> "UntypedStorage":
        info = archive.getinfo(f"{root}data/{key}")
        if not info.file_size:
            return torch.empty(0, dtype=torch.uint8, device="cpu").untyped_storage()
        if whole is None:
            return torch.frombuffer(bytearray(archive.read(info)), dtype=torch.uint8).untyped_storage()
        file.seek(info.header_offset)
        header = file.read(30)
        names, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
        begin = info.header_offset + 30 + names + extra
        if header[:4] != b"PK\x03\x04" or begin + info.file_size > size:
            raise ValueError("a member lies outside the archive")
        found: UntypedStorage = whole[begin : begin + info.file_size]
        if begin % 8:  # torch aligns its members, other writers may not
            found = found.clone()  # type: ignore[no-untyped-call]
        return found

    most = max(MAXIMUM_STEPS, STEPS_PER_MEMBER * len(archive.namelist()))
    return Unpickler(CALLS, constants(), _storages(storage), most=most).load(io.BytesIO(archive.read(pickled)))


EXPORTED = ("/archive_format", "serialized_exported_program.json")
"""Ends of names that a file of torch.export has, of newer and of older versions of PyTorch."""


def _way_out(names: Sequence[str]) -> str:
    """What makes something of an archive with files of these names that is read, where they tell."""
    if any(name.endswith(EXPORTED) for name in names):
        return "; of torch.export: torch.save(dict(torch.export.load(FILE).state_dict), NEW)"
    inside = next((name for name in names if name.endswith((*PICKLED, ".safetensors"))), None)
    return f"; unpack it: {inside} lies in it" if inside else ""


def _load_legacy(file: io.BufferedReader) -> Any:
    """The content of a file in the format before PyTorch 1.6: four pickles, the keys of the storages, their bytes."""
    import torch

    size, head = os.fstat(file.fileno()).st_size, io.BytesIO(file.read(MAXIMUM_PICKLE))
    storages: dict[str, UntypedStorage] = {}
    free = size

    def storage(key: str, length: int) -> "UntypedStorage":
        nonlocal free
        free -= length
        if length < 0 or free < 0:
            raise ValueError("storages of more bytes than the file has")
        return storages.setdefault(key, torch.empty(length, dtype=torch.uint8, device="cpu").untyped_storage())

    most = max(MAXIMUM_STEPS, size // BYTES_PER_STEP)
    machine = Unpickler(CALLS, constants(), _storages(storage), most=most)
    begin = head.getvalue()[:_BEGINNING]
    if begin.startswith(b"\x80") and _MAGIC.to_bytes(10, "little") not in begin:
        by = "torch.save({name: torch.as_tensor(array), ...}, NEW)"
        raise RefusedPickle(f"a pickle that torch.save did not write; {by} writes its arrays")
    if machine.load(head) != _MAGIC or machine.load(head) != _PROTOCOL:
        raise ValueError("it was not written by torch.save")
    if machine.load(head)["little_endian"] != (sys.byteorder == "little"):
        raise RefusedPickle("it was written on a machine with another order of bytes")
    content, keys = machine.load(head), machine.load(head)
    if set(keys) != storages.keys():
        raise ValueError("storages without their bytes")
    file.seek(head.tell())
    for key in keys:
        file.seek(8, os.SEEK_CUR)  # its number of elements
        found = torch.empty(0, dtype=torch.uint8, device="cpu").set_(storages[key])
        read = file.read(len(found))
        if len(read) != len(found):
            raise ValueError("it was cut")
        if read:
            found.copy_(torch.frombuffer(bytearray(read), dtype=torch.uint8))
    return content


def _storages(open_storage: "Callable[[str, int], UntypedStorage]") -> Callable[[Any], Any]:
    """What stands for an object outside a pickle: the storage of this key, and of so many bytes at least.

    Its identity is ("storage", class, key, device, elements), and in the old format also views, which nobody made.
    """
    known: dict[str, UntypedStorage] = {}

    def persistent(identity: Any) -> Any:
        if isinstance(identity, tuple) and len(identity) == 4 and identity[0] == "module":
            return identity[1]  # the source of a class, which the old format keeps beside its name
        _, kind, key, _, elements, *view = identity
        dtype = dtype_of_storage(kind)
        if identity[0] != "storage" or type(key) is not str or type(elements) is not int or any(view):
            raise ValueError("an object that is no storage")
        length = elements * dtype.itemsize
        if key not in known:
            known[key] = open_storage(key, length)
        if not 0 <= length <= known[key].nbytes():
            raise ValueError("a storage of fewer bytes than it says")
        return Storage(dtype, known[key])

    return persistent


def _check_archive(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse compressed or overlapping members and large pickles: PyTorch stores members as they are."""
    members = archive.infolist()
    largest = max(MAXIMUM_PICKLE, BYTES_PER_MEMBER * len(members))
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise RefusedPickle(f"{member.filename[:80]} is compressed, which PyTorch never does")
        if member.filename.endswith(".pkl") and member.file_size > largest:
            raise RefusedPickle(f"{member.filename[:80]} is larger than {largest >> 20} MB")
    if sum(member.file_size for member in members) > size:
        raise RefusedPickle("members that overlap, which PyTorch never writes")


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
