"""safetensors files from strangers: whatever is wrong with them is one clear error."""

import contextlib
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reliability.hostile.checkpoints import entry, forged

from starcli.errors import StarcliError
from starcli.files import safetensors
from starcli.files.write import write_tensors

FOUR = b"\0" * 4
FORGERIES = {
    "empty": b"",
    "text": b"hello, this is not a checkpoint at all",
    "length beyond the file": forged({}, length=2**40),
    "length of all ones": forged({}, length=2**64 - 1),
    "no json": forged(b"{'a': 1}"),
    "no object": forged([1, 2]),
    "not utf-8": forged(b'{"\xff": 1}'),
    "nested": forged(b"[" * 100_000),
    "duplicate names": forged(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), FOUR),
    "overlap": forged({"a": entry(), "b": entry()}, FOUR),
    "hole": forged({"a": entry(offsets=(4, 8))}, FOUR * 2),
    "beyond the end": forged({"a": entry(shape=(2,), offsets=(0, 8))}, FOUR),
    "data left over": forged({"a": entry()}, FOUR * 2),
    "huge shape": forged({"a": entry(shape=(2**40, 2**40), offsets=(0, 4))}, FOUR),
    "shape that overflows to fit": forged({"a": entry(shape=(2**47, 2**47, 2**47), offsets=(0, 0))}),
    "negative shape": forged({"a": entry(shape=(-1,))}, FOUR),
    "boolean shape": forged({"a": entry(shape=(True,))}, FOUR),
    "unknown dtype": forged({"a": entry(dtype="F31")}, FOUR),
    "dtype that is a list": forged({"a": entry(dtype=["F32"])}, FOUR),
    "offsets that are strings": forged({"a": entry(offsets=("0", "4"))}, FOUR),
    "more fields": forged({"a": {**entry(), "code": "import os"}}, FOUR),
    "metadata of numbers": forged({"__metadata__": {"a": 1}}),
    "long number": forged(b'{"a": ' + b"9" * 100_000 + b"}"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files_are_refused_in_one_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "forged.safetensors"
    path.write_bytes(FORGERIES[name])
    with pytest.raises(StarcliError, match="not a whole safetensors file"):
        safetensors.read_tensors(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    write_tensors(whole, {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.int64)}, {"starcli": "{}"})
    content = whole.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(StarcliError):
            safetensors.read_tensors(cut)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_read_or_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(forged(content, FOUR))
    with contextlib.suppress(StarcliError):
        safetensors.read_tensors(path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StarcliError, match="No such file"):
        safetensors.read_header(tmp_path / "nothing")
    with pytest.raises(StarcliError, match="not a regular file"):
        safetensors.read_header(tmp_path)
