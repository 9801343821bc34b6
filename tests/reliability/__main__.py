"""`python -m tests.reliability [--cases N] [SECTION[/TARGET]...]`: run the trials and write tests/RELIABILITY.md.

Rows that are not run again are those of their last run, which lie in tests/reliability/results.json. A target, as in
`fuzz/image` and `kills/curve`, is one reader to fuzz or command to kill. --cases says how many cases each reader gets.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from .faults import Row
from .ground import memory
from .sections import FUZZED, SECTIONS, TITLES, Wanted

HERE = Path(__file__).parent
RESULTS, TABLE = HERE / "results.json", HERE.parent / "RELIABILITY.md"


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
            lines += [
                f"| {case} | {trials:,} | {outcome(trials, defects)} |" for case, trials, defects in results[name]
            ]
            lines.append("")
    return "\n".join(lines)


def outcome(trials: int, defects: list[str]) -> str:
    """The last column."""
    if defects:
        return f"{len(defects)} failed: {defects[0][:120]}".replace("\n", " ")
    return "all held" if trials else "not run"


def run(name: str, wanted: Wanted) -> list[Row]:
    """One section, in a process of its own: forks of what one imported must not slow another's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            with tempfile.TemporaryDirectory(dir=memory()) as place, os.fdopen(writing, "w") as out:
                began = time.monotonic()
                for row in SECTIONS[name](Path(place), wanted):
                    words = f"{name}: {row[0]}: {row[1]} trials, {len(row[2])} failed, {time.monotonic() - began:.0f} s"
                    print(words, *row[2], sep="\n  ", file=sys.stderr, flush=True)
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


def keep(name: str, rows: list[Row], *, some: bool) -> None:
    """Write the rows of a section, of which other rows stay where only `some` were run, and the table anew."""
    # read anew: sections may run side by side
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    fresh = {case for case, _, _ in rows}
    kept = [row for row in results.get(name, []) if row[0] not in fresh] if some else []
    results[name] = [*kept, *rows]
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    TABLE.write_text(table(results))


def main() -> int:
    """Run what was named, or all; exit status 1 where a trial failed."""
    parser = argparse.ArgumentParser(
        "python -m tests.reliability", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION[/TARGET]", help=", ".join(SECTIONS))
    parser.add_argument("--cases", type=int, default=FUZZED, metavar="N", help=f"of each reader ({FUZZED:,})")
    asked = parser.parse_args()
    failed = False
    for words in asked.sections or list(SECTIONS):
        name, _, target = words.partition("/")
        if name not in SECTIONS:
            parser.error(f"there is no section {name}")
        print(f"{name}: begins", file=sys.stderr, flush=True)
        began = time.monotonic()
        rows = run(name, Wanted(frozenset({target} - {""}), asked.cases))
        failed = failed or not rows or any(defects for _, _, defects in rows)
        keep(name, rows, some=bool(target))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
