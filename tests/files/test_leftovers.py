"""What killed writers left is swept: of this file, by this machine, and nothing else."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from starcli.files import leftovers
from starcli.files.lock import lock
from starcli.files.write import replacing, write_atomically


def test_what_a_killed_writer_left_is_swept_whatever_its_name(tmp_path: Path) -> None:
    """safetensors writes to a name of its own invention before it renames."""
    target = tmp_path / "a.safetensors"
    child = os.fork()
    if child == 0:
        with replacing(target) as temporary:
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
