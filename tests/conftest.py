"""One thread a worker, a cache of its own, and two ways to run the program: in this process and in a real one."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two workers with two threads each crawl

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def threads() -> Iterator[None]:
    """For tests that set torch's number of threads: it is what it was afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from or left in the user's cache."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@dataclass(frozen=True)
class Ran:
    """What a run of the program left: exit status, stdout as bytes, stderr as text."""

    status: int
    stdout: bytes
    err: str

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class _Stream(io.TextIOWrapper):
    def __init__(self, tty: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


@contextlib.contextmanager
def _replaced(stdin: bytes, tty: bool) -> Iterator[tuple[_Stream, _Stream]]:
    out, err, before = _Stream(tty), _Stream(False), (sys.stdin, sys.stdout, sys.stderr)
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(stdin)), out, err
    try:
        yield out, err
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def run_here(*words: object, stdin: bytes = b"", tty: bool = False) -> Ran:
    """Run a starcli line in this process; `tty` makes stdout a terminal."""
    from starcli.cli.main import app

    with _replaced(stdin, tty) as (out, err):
        try:
            app([str(word) for word in words], prog_name="starcli")
            status: Any = 0
        except SystemExit as leaving:
            status = leaving.code
        out.flush()
        err.flush()
        return Ran(int(status or 0), out.buffer.getvalue(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]


def start_process(words: Sequence[object], **settings: Any) -> "subprocess.Popen[bytes]":
    """Begin a starcli line in a process of its own: for signals and pipes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.pop("env", {})}
    line = [sys.executable, "-m", "starcli", *map(str, words)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **settings)


def run_process(*words: object, **settings: Any) -> Ran:
    """Run a starcli line in a process of its own, which costs three seconds where it imports torch."""
    process = start_process(words, stdin=subprocess.DEVNULL, **settings)
    out, err = process.communicate(timeout=120)
    return Ran(process.returncode, out, err.decode())


@pytest.fixture(scope="session")
def starcli() -> Callable[..., Ran]:
    return run_here


@dataclass(frozen=True)
class Solutions:
    """Five small networks trained on the digits by the program itself, in `directory`: 0.safetensors and so on."""

    directory: Path

    def __getitem__(self, number: int) -> Path:
        return self.directory / f"{number}.safetensors"

    def some(self, *numbers: int) -> list[Path]:
        return [self[number] for number in numbers]


TRAIN = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--epochs", "3", "--limit", "300")


@pytest.fixture(scope="session")
def solutions(tmp_path_factory: pytest.TempPathFactory) -> Solutions:
    """Shared by all tests of a worker: never write into its directory."""
    directory = tmp_path_factory.mktemp("solutions")
    ran = run_here("train", *TRAIN, "--val-fraction", "0.2", "--seeds", "0-4", "-o", directory / "{seed}.safetensors")
    assert ran.status == 0, ran.err
    return Solutions(directory)


@pytest.fixture(scope="session")
def star(solutions: Solutions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A star of the first three, with its permuted sources in `aligned` beside it."""
    directory = tmp_path_factory.mktemp("star")
    ran = run_here(
        "star", "--sources", *solutions.some(0, 1, 2), "--aligned-sources", directory / "aligned",
        "-o", directory / "star.safetensors",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    return directory / "star.safetensors"
