"""What trials of commands start from: imports done, two trained sources, small runs, fresh directories."""

import contextlib
import functools
import gc
import importlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import trial
from .trial import Ended, command

BRIEF = ("--checkpoint-every", "0", "--threads", "1")
TRAIN = ("train", "--arch", "mlp", "--data", "digits", "--limit", "200", "--epochs", "2", *BRIEF)


def runs(epochs: int) -> dict[str, tuple[str, ...]]:
    """Lines that save their state after each step, of two an epoch."""
    train = (*TRAIN[:-5], str(epochs), *BRIEF)
    inputs = ("--sources", "0.safetensors", "1.safetensors", "--epochs", str(epochs), *BRIEF)
    return {
        "train": (*train, "--seed", "7", "-o", "out.safetensors"),
        "train, two seeds": (*train, "--seeds", "7-8", "-o", "out{seed}.safetensors"),
        "star": ("star", *inputs, "-o", "out.safetensors"),
        "fuse": ("fuse", *inputs, "-o", "out.safetensors"),
        "curve": ("curve", *inputs[1:], "-o", "out.safetensors"),
    }


RUNS = runs(2)

LONG = (*TRAIN[:-5], "2000", "--threads", "1", "--seed", "7", "-o", "out.safetensors")
"""A run that takes longer than any trial waits."""


def memory() -> str | None:
    """Where files take no time, if this system has such a place."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


USED = (
    "averaging.cached", "barriers.cached", "data.arrays", "data.digits", "evaluation.rows", "models.densenet",
    "models.mlp", "models.resnet", "plots.bma_figure", "fusion.fusion_report", "star.starlight", "training.train",
)  # fmt: skip
"""What the commands import when they run."""


def import_all() -> None:
    """Import what the commands use, once, so that a fork of this process is a started program."""
    trial.quiet_import()
    import scipy.optimize  # noqa: F401  # which matching imports late: two thirds of the time of a small star

    for name in USED:
        importlib.import_module(f"starcli.{name}")
    _build_commands()
    gc.freeze()  # else the first collection in each fork copies all of this memory


def _build_commands() -> None:
    """Typer makes the same commands of the same functions at each start: a third of the time of these small runs."""
    import typer

    from starcli.cli import main

    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(main.app)


def prepare(place: Path) -> Path:
    """Two trained sources and a warm cache below `place`; returns the directory of the sources."""
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    sources = place / "sources"
    sources.mkdir(parents=True)
    ended = learned([*TRAIN, "--seeds", "0-1", "-o", "{seed}.safetensors"], sources)
    if ended.status:
        raise RuntimeError(ended.err)
    for log in sources.glob("*.jsonl"):
        log.unlink()
    return sources


def learned(words: Sequence[object], directory: Path) -> Ended:
    """Run a command, and import here whatever it imported: torch puts off much that the next fork then has already."""
    note = directory.parent / "modules"
    before = set(sys.modules)

    def listing() -> None:
        leave = os._exit

        def leaving(status: int) -> None:
            note.write_text("\n".join(name for name in sys.modules if name not in before))
            leave(status)

        os._exit = leaving  # type: ignore[assignment]

    ended = command(words, directory, listing)
    if not note.exists():
        raise RuntimeError(f"{words} ended in its midst: {ended}")
    for name in note.read_text().split():
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    note.unlink()
    return ended


def fresh(sources: Path, place: Path) -> Path:
    """A new directory with links to the sources."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for source in sources.glob("*.safetensors"):
        os.link(source, place / source.name)
    return place


def contents(place: Path) -> dict[str, bytes]:
    """Every file in a directory, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


def until(condition: Callable[[], bool], limit: float = 60.0) -> None:
    """Wait for `condition`, but no longer than `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
