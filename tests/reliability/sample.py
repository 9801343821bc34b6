"""`python -m tests.reliability.sample NAME`: a few trials of each kind as JSON lines, for the test suite.

In a process of its own, because it forks: a worker of the suite has threads that a child would miss.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from . import audited, faults, killed, numbers
from .faults import Row


def resume(place: Path) -> Iterator[Row]:
    """Kills, signals, and what is measured once."""
    killed.import_all()
    sources = killed.prepare(place)
    for name, moments in (("train", (3, 20, 38, 50)), ("star", (6, 47)), ("fuse", (24,))):
        killing = killed.Killing(killed.RUNS[name], sources, place / "run")
        random, writes = killing.at_random(1), killing.at_writes(iter(moments))
        yield f"kill {name}", random.trials + writes.trials, random.defects + writes.defects
    yield "measured once", 2, killed.interrupted_measurements(sources, place)
    for number in (2, 15):
        yield f"signal {number}", 2, killed.signalled(number, place) + killed.signalled(number, place, twice=True)


def fault(place: Path) -> Iterator[Row]:
    """What the system refuses, and numbers that go wrong."""
    killed.import_all()
    sources = killed.prepare(place)
    yield from faults.disks(sources, place, every=12)
    for part in (faults.vanished, faults.pipes, faults.memory, faults.two_at_once):
        yield from part(sources, place)
    yield from numbers.rows(sources, place)


def audit(place: Path) -> Iterator[Row]:
    """Every command."""
    killed.import_all()
    yield from audited.rows(killed.prepare(place), place, warm=False)


SAMPLES: dict[str, Callable[[Path], Iterator[Row]]] = {"resume": resume, "fault": fault, "audit": audit}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for row in SAMPLES[sys.argv[1]](Path(name)):
            print(json.dumps(row), flush=True)
