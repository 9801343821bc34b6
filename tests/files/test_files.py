"""Writing: whole files or nothing, locks that never go stale, states of the right run."""

import multiprocessing
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from starcli.errors import StarcliError
from starcli.files import leftovers, pickles
from starcli.files.cache import cached
from starcli.files.lock import lock
from starcli.files.state import StateFile
from starcli.files.write import _replacing, check_output, write_atomically, write_tensors


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
    with pytest.raises(StarcliError, match="does not exist"):
        check_output(tmp_path / "nowhere" / "a")


def _hold(path: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with lock(path):
        ready.set()
        signal.pause()


def test_the_second_process_is_told_who_holds_the_output_and_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(path, ready))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(StarcliError, match=f"process {holder.pid}"), lock(path):
        pass
    holder.kill()
    holder.join()
    with lock(path):
        pass
    assert not list(tmp_path.iterdir())


def test_state_survives_and_belongs_to_one_run(tmp_path: Path) -> None:
    target = tmp_path / "star.safetensors"
    state = StateFile(target, "run")
    assert state.load() is None
    state.save({"step": 3, "vector": torch.arange(4.0), "nested": {"list": [1, "a", None]}})
    loaded = state.load()
    assert loaded is not None
    assert loaded["step"] == 3
    assert torch.equal(loaded["vector"], torch.arange(4.0))
    assert state.path.suffix != ".safetensors"
    with pytest.raises(StarcliError, match="other settings"):
        StateFile(target, "another").load()
    assert StateFile(target, "another", force=True).load() is None
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
    assert cached("kind", "key", compute) == {"a": 1}
    assert cached("kind", "key", compute) == {"a": 1}
    assert len(calls) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert cached("kind", "key", compute) == {"a": 1}
    assert len(calls) == 2


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


def test_what_a_killed_writer_left_is_swept_whatever_its_name(tmp_path: Path) -> None:
    """safetensors writes to a name of its own invention before it renames."""
    target = tmp_path / "a.safetensors"
    child = os.fork()
    if child == 0:
        with _replacing(target) as temporary:
            temporary.with_name(".tmpAbCdEf").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    [left] = tmp_path.iterdir()
    assert left.name.endswith(f"-{child}.part")
    write_atomically(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def _dead() -> int:
    """The number of a process that has ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_only_what_this_machine_left_of_just_this_file_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a shared disk another machine's processes have numbers that say nothing here."""
    pid, names = _dead(), ("r18.a.safetensors", "r18.a.safetensors.state", "r18.a.metrics.jsonl", "r18.b.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: pid)
        own = [leftovers.partial_directory(tmp_path / name) for name in names]
        patched.setattr(os, "uname", lambda: SimpleNamespace(nodename="another machine/\udcff"))
        others = [leftovers.partial_directory(tmp_path / name) for name in names]
    for place in (*own, *others):
        place.mkdir()
    with lock(tmp_path / names[0], tmp_path / names[2]):
        assert {path for path in tmp_path.iterdir() if path.suffix == ".part"} == {own[3], *others}
    write_atomically(tmp_path / names[3], b"new")
    assert {path for path in tmp_path.iterdir() if path.suffix == ".part"} == set(others)


def test_a_name_as_long_as_the_disk_nearly_allows_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 200 + ".safetensors")
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"


def test_a_state_with_the_history_of_a_thousand_networks_is_read_again(tmp_path: Path) -> None:
    """1.2 million numbers, as `train --stacked` keeps of 1,000 seeds in 300 epochs."""
    numbers = [n / 7 for n in range(1000)]
    columns = ("losses", "accuracies", "validation_loss", "validation_accuracy")
    history = [{"epoch": epoch, **dict.fromkeys(columns, numbers)} for epoch in range(300)]
    history[3] = {"epoch": 3, "loss": float("inf"), "held_out": [{"model": "é", "train_barrier": 0.1 + 0.2}]}
    groups = [{"betas": (0.9, 0.99), "params": [0, 1]}]
    kept = {"position": {"history": history}, "optimizer": {"state": {0: {"step": 1}}, "param_groups": groups}}
    state = StateFile(tmp_path / "0.safetensors", "run", facts={"a": 1})
    assert state.recorded_facts() is None
    state.save({**kept, "permutations": [None, {"g": torch.arange(3)}]})
    found = state.load()
    assert found is not None
    [none, index] = found.pop("permutations")
    assert found == kept
    assert type(found["optimizer"]["param_groups"][0]["betas"]) is tuple
    assert none is None
    assert torch.equal(index["g"], torch.arange(3))
    assert state.recorded_facts() == {"a": 1}


def test_a_state_of_very_many_tensors_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The permutations of hundreds of sources: the limit of the pickle grows with the members of the file."""
    monkeypatch.setattr(pickles, "MAXIMUM_PICKLE", 2**10)
    state = StateFile(tmp_path / "star.safetensors", "run")
    state.save({"permutations": [{f"layer{j}.inner": torch.arange(4) for j in range(10)} for _ in range(30)]})
    found = state.load()
    assert found is not None
    assert len(found["permutations"]) == 30


def test_json_in_a_state_that_unfolds_is_refused(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "0.safetensors", "run")
    content = {pickles.JSON: torch.zeros(1, dtype=torch.uint8).expand(10**12)}
    torch.save({"run_id": "run", "state": {"history": content}}, state.path)
    with pytest.raises(StarcliError, match="no state of ours"):
        state.load()
