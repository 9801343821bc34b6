"""PyTorch files and states that would run code or exhaust memory."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
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
    }
