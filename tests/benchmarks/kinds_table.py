"""The table of the kinds of groups: what `derive_table` prints of rows that have them."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

HEADER = (
    "| model | log10 permutations | continuous dimension | groups of each kind | worst difference "
    "| seconds to trace and prove, for kinds (processor) |"
)


def kinds_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of the rows that were asked for kinds, sorted by name, under lines of totals."""
    asked = sorted((each for each in rows if "kinds" in each), key=lambda each: each["model"])
    times = sorted(_times(each) for each in asked if "seconds" in each["kinds"])
    lines = ["## Continuous symmetries", "", f"{len(asked)} models, kinds proved of {len(times)}."]
    if times:
        lines[-1] += (
            f" Kinds take {median(times):.1f} times (median; {times[0]:.1f} to {times[-1]:.1f}) the seconds of tracing "
            "and proving permutations."
        )
    return "\n".join([*lines, "", HEADER, "|" + " --- |" * (HEADER.count("|") - 1), *map(_line, asked)])


def _times(row: Mapping[str, Any]) -> float:
    """How many times as long as tracing and proving kinds took."""
    return float(row["kinds"]["seconds"] / (row["trace"] + row["prove"]))


def _line(row: Mapping[str, Any]) -> str:
    kinds = row["kinds"]
    before = f"{row['trace'] + row['prove']:.1f}"
    if "failed" in kinds:
        cells = ["", kinds["failed"].replace("|", "/"), "", before]
    else:
        words = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds["groups"].items()))
        words += f"; {kinds['signs']} with signs" if kinds["signs"] else ""
        words = "; ".join([words, *kinds["notes"]])
        seconds = f"{before}, {kinds['seconds']:.1f}"
        cells = [f"{kinds['dimension']:,}", words, f"{kinds['worst_difference']:.0e}", seconds]
    return "| " + " | ".join([row["model"], f"{row['log10_symmetries']:.1f}", *cells]) + " |"
