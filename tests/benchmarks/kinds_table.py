"""The table of the kinds of groups: what `derive_table` prints of rows that have them."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from starcli.symmetry.find_kinds import DERIVATION

ALIKE = {"8", "9", "13", DERIVATION}
"""Derivations as fast as today's: 9 tries at small units too what acts, which takes 2% to 7% more than 8."""

HEADER = (
    "| model | log10 permutations | continuous dimension | groups of each kind | worst difference "
    "| seconds to trace and prove, for kinds (processor) |"
)


def kinds_markdown(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """The table of the rows that were asked for kinds, sorted by name, under lines of totals.

    `names` are those of all models: which were not asked is said, and which rows are of an earlier derivation.
    """
    asked = sorted((each for each in rows if "kinds" in each), key=lambda each: each["model"])
    earlier = [each["model"] for each in asked if each["kinds"].get("derivation", DERIVATION) not in ALIKE]
    done = [each for each in asked if "seconds" in each["kinds"]]
    times = sorted(_times(each) for each in done if each["model"] not in earlier)
    lines = ["## Continuous symmetries", "", f"{len(asked)} models of {len(names)}, kinds proved of {len(done)}."]
    if times:
        lines[-1] += (
            f" Kinds take {median(times):.1f} times (median of {len(times)}; {times[0]:.1f} to {times[-1]:.1f}) the "
            "seconds of tracing and proving permutations."
        )
    if earlier:
        lines += ["", f"Of an earlier, slower derivation, and not in that median: {', '.join(earlier)}."]
    if left := sorted(set(names) - {each["model"] for each in asked}):
        lines += ["", f"Not run: {', '.join(left)}."]
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
