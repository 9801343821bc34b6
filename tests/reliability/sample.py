"""`python -m tests.reliability.sample NAME...`: a few trials of each kind as JSON lines, for the test suite.

In a process of its own, because it forks: a worker of the suite has threads that a child would miss.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from . import audited, faults, ground, killed, measured, numbers, signalled
from .faults import Row


def resume(sources: Path, place: Path) -> Iterator[Row]:
    """Kills, signals, and what is measured once."""
    for name, moments in (("train", (3, 20, 38, 50)), ("star", (6, 47)), ("fuse", (24,))):
        killing = killed.Killing(ground.RUNS[name], sources, place / "run")
        random, writes = killing.at_random(1), killing.at_writes(iter(moments))
        yield f"kill {name}", random.trials + writes.trials, random.defects + writes.defects
    yield "measured once", 2, measured.interrupted_measurements(sources, place)
    signalling = signalled.Signalling(place)
    for number in (2, 15):
        yield f"signal {number}", 2, signalling.trial(number) + signalling.trial(number, twice=True)


def fault(sources: Path, place: Path) -> Iterator[Row]:
    """What the system refuses, and numbers that go wrong."""
    yield from faults.disks(sources, place, every=12)
    for part in (faults.vanished, faults.pipes, faults.memory, faults.two_at_once):
        yield from part(sources, place)
    yield from numbers.rows(sources, place)


def audit(sources: Path, place: Path) -> Iterator[Row]:
    """Every command."""
    yield from audited.rows(sources, place, warm=False)


SAMPLES: dict[str, Callable[[Path, Path], Iterator[Row]]] = {"resume": resume, "fault": fault, "audit": audit}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=ground.memory()) as directory:
        ground.import_all()
        found = ground.prepare(Path(directory))
        for name in sys.argv[1:]:
            for row in SAMPLES[name](found, Path(directory)):
                print(json.dumps((name, *row)), flush=True)
