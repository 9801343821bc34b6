"""What the benchmarks share: a row compares two ways of doing one thing, measured in turn in one run."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["faster", "price"]
"""What the ratio says: how many times faster ours is (theirs / ours), or what ours costs (ours / theirs)."""


@dataclass(frozen=True)
class Row:
    """One line of the table: the figures of both ways, in `unit`, of repeats that were run in turn."""

    what: str
    against: str
    ours: Sequence[float]
    theirs: Sequence[float]
    kind: Kind = "faster"
    unit: str = "s"
    target: str = ""
    note: str = ""

    def ratios(self) -> list[float]:
        """Paired where both ways were run as often, of the medians otherwise; sorted."""
        paired = len(self.ours) == len(self.theirs)
        ours, theirs = (s if paired else [statistics.median(s)] for s in (self.ours, self.theirs))
        pairs = zip(theirs, ours, strict=True) if self.kind == "faster" else zip(ours, theirs, strict=True)
        return sorted(above / below for above, below in pairs)

    def cells(self) -> list[str]:
        """For the table."""
        ratios = self.ratios()
        low, high = (ratios[0], ratios[-1]) if len(ratios) < 8 else statistics.quantiles(ratios, n=4)[::2]
        spread = f" ({low:.3g} to {high:.3g})" if len(ratios) > 1 else ""
        return [
            self.what,
            self.against,
            f"{statistics.median(self.theirs):.3g} {self.unit}",
            f"{statistics.median(self.ours):.3g} {self.unit}",
            f"{statistics.median(ratios):.3g}{spread}" + (" times faster" if self.kind == "faster" else ""),
            self.target,
            self.note,
        ]


HEADER = ["what", "against", "that", "ours", "ratio: median (spread)", "target", "note"]


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long `work` takes, by `clock`."""
    begin = clock()
    work()
    return clock() - begin


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Both in turn, `repeats` times: their seconds, as arguments of a `Row`."""
    found: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(repeats):
        found["theirs"].append(seconds(theirs, clock))
        found["ours"].append(seconds(ours, clock))
    return found


def show(row: Row) -> Row:
    """Print a row as soon as it is known."""
    what, against, *rest = row.cells()
    print(f"{what:58} against {against:34} " + "   ".join(filter(None, rest)), flush=True)
    return row


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the options that every benchmark has."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--quick", action="store_true", help="small, to see that it works; the figures say little")
    result.add_argument("--json", type=Path, help="keep the rows in this file")
    return result


def save(path: Path | None, rows: Sequence[Row]) -> None:
    """Keep the rows as JSON, where a path is given."""
    if path is not None:
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def load(values: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The inverse of `save`."""
    return [Row(**value) for value in values]
