"""SIGTERM to two ranks under torchrun: all of them stop after the same step, and the same line goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .ground import BRIEF, TRAIN, contents, fresh, until

# long enough that a signal comes in the midst, however slow the machine is
LINES = {
    "train": (*TRAIN[: -len(BRIEF) - 1], "400", "--threads", "1"),
    "star": ("star", "--sources", "0.safetensors", "1.safetensors", "--epochs", "120", "--threads", "1"),
}

PATIENCE = 180.0


def started(words: Sequence[object], directory: Path, note: str) -> subprocess.Popen[str]:
    """`starcli WORDS` in two ranks (gloo); their exit statuses come into files beside `directory`."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
              "-m", "tests.reliability.rank", str(directory.parent / note)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launch, *map(str, words)], cwd=directory, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def whole(name: str, sources: Path, place: Path) -> dict[str, bytes]:
    """What the line leaves when nothing happens to it."""
    directory = fresh(sources, place / "ranked")
    process = started([*LINES[name], "-o", "out.safetensors"], directory, "whole")
    _, said = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise RuntimeError(said)
    return contents(directory)


def stopped(name: str, expected: dict[str, bytes], sources: Path, place: Path, *, launcher: bool) -> list[str]:
    """What is wrong after SIGTERM, to torchrun or to rank 1 alone, and after the same line was typed again."""
    directory = fresh(sources, place / "ranked")
    words = [*LINES[name], "-o", "out.safetensors"]
    log = directory / "out.metrics.jsonl"
    process = started(words, directory, "stopped")
    until(lambda: log.exists() and log.read_text().count("\n") > 20, PATIENCE)
    ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid if launcher else int(ranks[1]), signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    statuses = [Path(place, f"stopped.{rank}").read_text() for rank in range(2)]
    defects = [] if statuses == ["143", "143"] else [f"exit statuses {statuses}, expected 143: {said[-300:]}"]
    if said.count("type the same line again") != 1:
        defects.append(f"does not say once how to go on: {said[:300]}")
    new = {path.name for path in directory.iterdir()} - {path.name for path in sources.iterdir()}
    if new != {"out.safetensors.state", "out.metrics.jsonl"}:
        defects.append(f"leaves {sorted(new)}")
    rows = log.read_text().count("\n")
    process = started(words, directory, "again")
    _, said = process.communicate(timeout=PATIENCE)
    if process.returncode:
        return [*defects, f"again: {process.returncode} {said[-300:]}"]
    return defects + differences(expected, contents(directory), rows)


def differences(expected: dict[str, bytes], found: dict[str, bytes], stopped: int) -> list[str]:
    """The files that differ, and the first epoch that does in the log, of a run stopped after so many of them."""
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if not names:
        return []
    logs = [files.get("out.metrics.jsonl", b"").splitlines() for files in (expected, found)]
    first = next((i for i, (a, b) in enumerate(zip(*logs, strict=False)) if a != b), None)
    where = f"from {logs[0][first]!r} and {logs[1][first]!r} on" if first is not None else "in no row of the log"
    return [f"stopped after {stopped} epochs, differs in {', '.join(names)}, {where}"]
