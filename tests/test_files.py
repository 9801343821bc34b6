"""Writing: whole files or nothing, locks that never go stale, states of the right run."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from starcli import files
from starcli.errors import StarcliError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.safetensors"
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StarcliError, match="No space left"):
        files.write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_checks_before_work(tmp_path: Path) -> None:
    existing = tmp_path / "there"
    existing.write_bytes(b"")
    files.check_output(existing, force=True)
    files.check_output(tmp_path / "new")
    with pytest.raises(StarcliError, match="--force"):
        files.check_output(existing)
    with pytest.raises(StarcliError, match="is a directory"):
        files.check_output(tmp_path)
    with pytest.raises(StarcliError, match="does not exist"):
        files.check_output(tmp_path / "nowhere" / "a")


def _hold(path: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with files.lock(path):
        ready.set()
        signal.pause()


def test_the_second_process_is_told_who_holds_the_output_and_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(path, ready))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(StarcliError, match=f"process {holder.pid}"), files.lock(path):
        pass
    holder.kill()
    holder.join()
    with files.lock(path):
        pass
    assert not list(tmp_path.iterdir())


def test_state_survives_and_belongs_to_one_run(tmp_path: Path) -> None:
    target = tmp_path / "star.safetensors"
    state = files.StateFile(target, "run")
    assert state.load() is None
    state.save({"step": 3, "vector": torch.arange(4.0), "nested": {"list": [1, "a", None]}})
    loaded = state.load()
    assert loaded is not None
    assert loaded["step"] == 3
    assert torch.equal(loaded["vector"], torch.arange(4.0))
    assert state.path.suffix != ".safetensors"
    with pytest.raises(StarcliError, match="other settings"):
        files.StateFile(target, "another").load()
    assert files.StateFile(target, "another", force=True).load() is None
    state.path.write_bytes(state.path.read_bytes()[:100])
    with pytest.raises(StarcliError, match="no state of ours"):
        state.load()
    state.remove()
    assert state.load() is None


def test_cache_computes_once_and_survives_a_read_only_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compute() -> dict[str, int]:
        calls.append(1)
        return {"a": 1}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cached("kind", "key", compute) == {"a": 1}
    assert files.cached("kind", "key", compute) == {"a": 1}
    assert len(calls) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert files.cached("kind", "key", compute) == {"a": 1}
    assert len(calls) == 2


def test_tied_and_sliced_tensors_are_written_under_every_name(tmp_path: Path) -> None:
    from starcli.tensorfile import read_tensors

    base = torch.arange(12.0)
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, {"a": base, "b": base, "c": base[2:5], "d": base.view(3, 4).t()}, {"k": "v"})
    header, tensors = read_tensors(path)
    assert header.metadata == {"k": "v"}
    assert torch.equal(tensors["a"], base)
    assert torch.equal(tensors["b"], base)
    assert torch.equal(tensors["c"], base[2:5])
    assert torch.equal(tensors["d"], base.view(3, 4).t())


def test_what_a_killed_writer_left_is_swept_whatever_its_name(tmp_path: Path) -> None:
    """safetensors writes to a name of its own invention before it renames."""
    target = tmp_path / "a.safetensors"
    child = os.fork()
    if child == 0:
        with files._replacing(target) as temporary:
            temporary.with_name(".tmpAbCdEf").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.iterdir()] == [f".a.safetensors.{child}.part"]
    files.write_atomically(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
