"""PyTorch files and states that would run code or exhaust memory."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

MARKER = "executed"
"""A payload that runs would leave a file of this name beside the hostile one."""


class Payload:
    """Unpickled, it makes the file `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.marker)!r}, 'w').close()",))


def saved(value: Any) -> bytes:
    """What `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def member(file: bytes, ending: str) -> bytes:
    """The content of the one member of such a file whose name ends so."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return next(archive.read(name) for name in archive.namelist() if name.endswith(ending))


def torch_zip(payload: bytes) -> bytes:
    """A file as `torch.save` makes it, around this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return buffer.getvalue()


HARMLESS = ("tuples that double", "a state dict beside code")
"""Beginnings of the names of cases that may be read: what is not tensors and plain data is skipped, and never runs."""


def beside(part: bytes) -> bytes:
    """A file whose pickle is a dictionary: under `a` a tensor of two zeros, under `b` what `part` leaves."""
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0K\x02\x85K\x01\x85\x89Nt" + b"R"
    buffer = io.BytesIO(torch_zip(b"\x80\x04}(X\x01\0\0\0a" + tensor + b"X\x01\0\0\0b" + part + b"u."))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/data/0", bytes(8))
    return buffer.getvalue()


def tricks(directory: Path) -> Mapping[str, bytes]:
    """Instructions that would run `touch MARKER`, or take much time or memory, and leave one value on the stack."""
    command = f"touch '{directory / MARKER}'".encode()
    text = b"X" + struct.pack("<I", len(command)) + command
    wide = b"K\x01K\x02\x86\x940]\x94(" + b"h\0" * 50_000 + b"e"  # 50,000 times one pair
    deep = 50_000
    return {
        "REDUCE of os.system": b"cos\nsystem\n" + text + b"\x85R",
        "INST of os.system": b"(" + text + b"ios\nsystem\n",
        "OBJ of os.system": b"(cos\nsystem\n" + text + b"o",
        "STACK_GLOBAL of builtins.exec": b"\x8c\x08builtins\x8c\x04exec\x93\x8c\x011\x85R",
        "NEWOBJ_EX of subprocess.Popen": b"csubprocess\nPopen\n" + text + b"\x85}X\x05\0\0\0shell\x88s\x92",
        "BUILD of a state with a method": b"cpathlib\nPath\n)\x81}X\x0c\0\0\0__setstate__cos\nsystem\nsb",
        "BUILD of a class": b"ctorch\nTensor\nN}X\x07\0\0\0__len__cos\nsystem\ns\x86b",
        "BUILD of a function of torch's": b"ctorch._utils\n_rebuild_tensor_v2\n}X\x08\0\0\0__code__K\0sb",
        "a method by getattr": b"c__builtin__\ngetattr\ncos\nsystem\nX\x08\0\0\0__call__\x86R" + text + b"\x85R",
        "a library of torch's that loads bytes": b"ctorch.storage\n_load_from_bytes\n" + text + b"\x85R",
        "an object as a key": b"}cos\nsystem\nK\x01s",
        "a function of torch's as a key": b"}ctorch._utils\n_rebuild_tensor_v2\nK\x01s",
        "a deep tuple as a key": b"})" + b"\x85" * deep + b"K\x01s",
        "deep lists": b"]" * deep + b"a" * (deep - 1),
        "deep dictionaries": b"}" + b"K\x01}" * deep + b"s" * deep,
        "a list in itself": b"]\x94h\0a",
        "lists that double": b"]\x94" + b"".join(b"0(h%ch%cl\x94" % (n, n) for n in range(60)),
        "a wide list, again and again": wide + b"0(" + b"h\1" * 50_000 + b"l",
        "dictionaries of 50,000 pairs": wide + b"0(" + b"ccollections\nOrderedDict\nh\1\x85R" * 9_000 + b"l",
        "500,000 dictionaries": b"(" + b"}" * 500_000 + b"l",
        "500,000 names": b"(" + b"ca\nb\n" * 500_000 + b"l",
        "an integer of a million digits": b"\x8b" + struct.pack("<i", 400_000) + b"\x7f" * 400_000,
        "a million marks": b"(" * 1_000_000 + b"0" * 999_999 + b"t",
    }


def payloads(directory: Path) -> Mapping[str, Callable[[], bytes]]:
    """The cases; what they would run would leave its mark in `directory`."""
    payload = pickle.dumps(Payload(directory / MARKER), protocol=2)

    def bomb() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + b"]" * 300_000_000 + b".")
            archive.writestr("archive/version", "3\n")
        return buffer.getvalue()

    return {
        "a pickle that runs code": lambda: payload,
        "a zip whose pickle runs code": lambda: torch_zip(payload),
        "a state dict beside code": lambda: saved({"a": torch.zeros(2), "b": Payload(directory / MARKER)}),
        "a whole module": lambda: saved(torch.nn.Linear(2, 2)),
        "empty": lambda: b"",
        "no pickle": lambda: b"hello" * 100,
        "a cut zip": lambda: saved({"a": torch.zeros(100)})[:-100],
        "a zip that unfolds": bomb,
        "a long of 2 GB": lambda: b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "a string of 4 GB": lambda: b"\x80\x02X\xff\xff\xff\xff.",
        "a frame of 2^60": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b".",
        "memo at 2^31": lambda: torch_zip(b"\x80\x02}r\xff\xff\xff\x7f."),
        "tuples that double": lambda: torch_zip(b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"."),
        "nested tuples": lambda: torch_zip(b"\x80\x02)" + b"\x85" * 200_000 + b"."),
        "numbers only": lambda: saved([1, 2, 3]),
        "a dict of dicts": lambda: saved({"state_dict": {"model": {"net": {"a": 1}}}}),
        # a tensor of 10^12 elements by strides of zero over a single one
        "a huge storage of nothing": lambda: saved({"a": torch.zeros(1).expand(10**12)}),
        **{f"a state dict beside code: {name}": partial(beside, part) for name, part in tricks(directory).items()},
    }
