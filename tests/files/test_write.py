"""Writing: whole files or nothing."""

import contextlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from support.disk import files_of_at_most

from starcli.errors import StarcliError
from starcli.files.write import check_output, holds, tensor_pieces, write_atomically, write_tensors


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.safetensors"
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StarcliError, match="No space left"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_checks_before_work(tmp_path: Path) -> None:
    existing = tmp_path / "there"
    existing.write_bytes(b"")
    check_output(existing, force=True)
    check_output(tmp_path / "new")
    with pytest.raises(StarcliError, match="--force"):
        check_output(existing)
    with pytest.raises(StarcliError, match="is a directory"):
        check_output(tmp_path)
    check_output(tmp_path / "nowhere" / "deep" / "a")
    with pytest.raises(StarcliError, match="is no directory"):
        check_output(existing / "deep" / "a")


@pytest.mark.parametrize(
    ("pieces", "same"),
    [([b"ab", b"c"], True), ([b"abc", b""], True), ([b"ab"], False), ([b"abcd"], False), ([b"a", b"bd"], False)],
)
def test_a_file_holds_its_pieces_and_no_others(tmp_path: Path, pieces: list[bytes], same: bool) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert holds(tmp_path / "a", pieces) == same


@pytest.mark.parametrize("link", [False, True])
def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path: Path, link: bool) -> None:
    """`-o /dev/null --force` of root made a file of /dev/null, for the whole machine."""
    os.mkfifo(tmp_path / "pipe")
    target = tmp_path / "pipe"
    if link:
        target = tmp_path / "link"
        target.symlink_to("pipe")
    for refused in (lambda: check_output(target, force=True), lambda: write_atomically(target, b"new")):
        with pytest.raises(StarcliError, match="is no regular file"):
            refused()
    assert (tmp_path / "pipe").is_fifo()
    assert target.is_symlink() == link
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", target.name}


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/dev/fd/1"])
def test_what_all_processes_need_is_not_replaced(path: str) -> None:
    if os.path.exists(path):
        with pytest.raises(StarcliError, match="is no regular file"):
            check_output(Path(path), force=True)


def test_tied_and_sliced_tensors_are_written_under_every_name(tmp_path: Path) -> None:
    from starcli.files.safetensors import read_tensors

    base = torch.arange(12.0)
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": base, "b": base, "c": base[2:5], "d": base.view(3, 4).t()}, {"k": "v"})
    header, tensors = read_tensors(path)
    assert header.metadata == {"k": "v"}
    assert torch.equal(tensors["a"], base)
    assert torch.equal(tensors["b"], base)
    assert torch.equal(tensors["c"], base[2:5])
    assert torch.equal(tensors["d"], base.view(3, 4).t())


@pytest.mark.parametrize("metadata", [{}, {"k": "v", "a": "\u00e9"}])
def test_the_pieces_of_a_file_of_tensors_are_the_file(metadata: dict[str, str], tmp_path: Path) -> None:
    base = torch.arange(12.0)
    tensors = {"b": base, "a": base.view(3, 4).t(), "flag": torch.tensor(True), "none": torch.empty(0, 3)}
    tensors |= {"half": base[2:5].bfloat16(), "count": torch.tensor(3)}
    wave = {"wave": torch.tensor([1 + 2j])}
    with contextlib.suppress(KeyError):  # older versions of safetensors have no complex numbers
        tensors |= wave if save(wave) else {}
    write_tensors(tmp_path / "x.safetensors", tensors, metadata)
    assert holds(tmp_path / "x.safetensors", tensor_pieces(tensors, metadata))
    assert not holds(tmp_path / "x.safetensors", tensor_pieces({**tensors, "count": torch.tensor(4)}, metadata))


def test_a_name_as_long_as_the_disk_nearly_allows_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 200 + ".safetensors")
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"


def test_what_the_disk_says_of_tensors_is_said_in_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(StarcliError, match=r"x.safetensors: cannot write: File too large$"), files_of_at_most(100):
        write_tensors(path, {"a": torch.zeros(100)}, {})
    assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(path, b"old")]
