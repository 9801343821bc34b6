"""`python -m tests.reliability [SECTION[/TARGET]...]`: run the trials and write tests/RELIABILITY.md.

Rows that are not run again are those of their last run, which lie in tests/reliability/results.json. A target, as in
`fuzz/image`, is one reader to fuzz.
"""

import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from . import audited, faults, fuzz, hostile, killed, numbers, trial
from .faults import Row

HERE = Path(__file__).parent
RESULTS, TABLE = HERE / "results.json", HERE.parent / "RELIABILITY.md"
RANDOM_KILLS, FUZZED = 50, 100_000
ONLY: set[str] = set()
"""The readers to fuzz; none named: all."""

TITLES = {
    "hostile": "Hostile files: refused in one error, in 2 s and 200 MB over their size, nothing run, nothing written",
    "fuzz": "Mutated files, from a fixed seed",
    "kills": "SIGKILL, then the same line again: the same bytes as an uninterrupted run's, no litter",
    "signals": "SIGINT and SIGTERM",
    "faults": "What the system refuses: one line, old files intact, no litter",
    "audit": "Nothing imported from data",
    "numbers": "Numbers that go wrong, and provenance",
}


def hostile_rows(place: Path) -> Iterator[Row]:
    trial.quiet_import()
    for kind, group in groupby(sorted(hostile.cases(), key=lambda found: found[0]), key=lambda found: found[0]):
        defects, count = [], 0
        for _, case in group:
            count += 1
            defects += [f"{case.name}: {defect}" for defect in hostile_defects(case, place)]
        yield kind, count, defects
    defects, count = [], 0
    for content in hostile.truncations():
        count += 1
        path = place / "cut.safetensors"
        path.write_bytes(content)
        outcome = trial.trial(lambda path=path: hostile.read_checkpoint(path))
        defects += [] if outcome.ended == "refused" else [f"cut at {len(content)}: {outcome.ended}"]
    yield "safetensors cut at every length", count, defects


def hostile_defects(case: hostile.Case, place: Path) -> list[str]:
    """Make the file, read it in a child, and say what was wrong."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        directory = Path(name)
        path = case.make(directory)
        before = sorted(directory.rglob("*"))
        size = path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
        outcome = trial.trial(lambda: case.read(path))
        defects = outcome.defects(size)
        if sorted(directory.rglob("*")) != before:
            defects.append("code ran, or something was written")
        if outcome.ended == "read" and not case.harmless:
            defects.append("was read")
        return defects


def fuzz_rows(place: Path) -> Iterator[Row]:
    trial.quiet_import()
    warnings.simplefilter("ignore")
    for target in fuzz.targets():
        if ONLY and target.name not in ONLY:
            continue
        yield f"{target.name}, mutated", FUZZED, fuzz.run(target, FUZZED, place)


def kill_rows(place: Path) -> Iterator[Row]:
    killed.import_all()
    sources = killed.prepare(place)
    for name, words in killed.RUNS.items():
        killing = killed.Killing(words, sources, place / "run")
        tally = killing.at_random(RANDOM_KILLS)
        yield f"`{name}` at random moments ({tally.resumed} with a state to go on from)", tally.trials, tally.defects
        tally = killing.at_writes()
        yield f"`{name}` at each step of each write ({tally.resumed} with a state)", tally.trials, tally.defects
    yield "`barrier --all-pairs` and `bma`: nothing measured twice", 2, killed.interrupted_measurements(sources, place)


def signal_rows(place: Path) -> Iterator[Row]:
    killed.import_all()
    killed.prepare(place)
    for number, name, status in ((2, "SIGINT", 130), (15, "SIGTERM", 143)):
        once = [defect for _ in range(10) for defect in killed.signalled(number, place)]
        yield f"{name}: saves, says how to go on, exit {status}", 10, once
        twice = [defect for _ in range(10) for defect in killed.signalled(number, place, twice=True)]
        yield f"{name} twice: leaves at once", 10, twice


def fault_rows(place: Path) -> Iterator[Row]:
    killed.import_all()
    sources = killed.prepare(place)
    for part in (faults.disks, faults.vanished, faults.pipes, faults.memory, faults.two_at_once):
        yield from part(sources, place)


def audit_rows(place: Path) -> Iterator[Row]:
    killed.import_all()
    yield from audited.rows(killed.prepare(place), place)


def number_rows(place: Path) -> Iterator[Row]:
    killed.import_all()
    yield from numbers.rows(killed.prepare(place), place)


SECTIONS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "hostile": hostile_rows, "fuzz": fuzz_rows, "kills": kill_rows, "signals": signal_rows, "faults": fault_rows,
    "audit": audit_rows, "numbers": number_rows,
}  # fmt: skip


def table(results: dict[str, list[Row]]) -> str:
    """The Markdown of all rows."""
    lines = [
        "# Reliability",
        "",
        "Made by `python -m tests.reliability`; a trial fails where anything in its title does.",
        "",
    ]
    for name, title in TITLES.items():
        if name in results:
            lines += [f"## {title}", "", "| case | trials | outcome |", "| --- | ---: | --- |"]
            for case, trials, defects in results[name]:
                outcome = "all held" if not defects else f"{len(defects)} failed: {defects[0][:120]}".replace("\n", " ")
                lines.append(f"| {case} | {trials:,} | {outcome} |")
            lines.append("")
    return "\n".join(lines)


def run(name: str) -> list[Row]:
    """One section, in a process of its own: forks of what one imported must not slow another's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            with tempfile.TemporaryDirectory() as place, os.fdopen(writing, "w") as out:
                for row in SECTIONS[name](Path(place)):
                    said = [f"{name}: {row[0]}: {row[1]} trials, {len(row[2])} failed", *row[2]]
                    print(*said, sep="\n  ", file=sys.stderr, flush=True)
                    out.write(json.dumps(row) + "\n")
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as lines:
        found = [json.loads(line) for line in lines]
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"{name}: ended with status {status}; its rows are not kept")
    return found


def main() -> int:
    """Run what was named, or all; exit status 1 where a trial failed."""
    names = sys.argv[1:] or list(SECTIONS)
    failed = False
    for words in names:
        name, _, target = words.partition("/")
        ONLY.clear()
        ONLY.update({target} - {""})
        began = time.monotonic()
        rows = run(name)
        failed = failed or not rows or any(defects for _, _, defects in rows)
        # read anew: sections may run side by side
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        fresh = {case for case, _, _ in rows}
        kept = [row for row in results.get(name, []) if row[0] not in fresh] if target else []
        results[name] = [*kept, *rows]
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        TABLE.write_text(table(results))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
