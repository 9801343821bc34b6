"""Two ways to run the program: in this process and in a real one."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
"""The clone."""

PACKAGE = ROOT / "starcli"

TRAIN = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--epochs", "3", "--limit", "300")
"""Words of `train` for a small network."""


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
        """Stdout as JSON lines, without the line that was typed, which the first of them has."""
        return [{k: v for k, v in json.loads(line).items() if k != "command"} for line in self.out.splitlines()]


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


@cache
def _program() -> Any:
    """The program's commands, which typer would build anew for each line: 50 ms."""
    from typer.main import get_command

    from starcli.cli.main import app

    return get_command(app)


def run_here(*words: object, stdin: bytes = b"", tty: bool = False) -> Ran:
    """Run a starcli line in this process; `tty` makes stdout a terminal."""
    program = _program()
    with _replaced(stdin, tty) as (out, err):
        try:
            program([str(word) for word in words], prog_name="starcli")
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
