"""The part of docs/speed.md that speaks of GPUs, from the rows of the last visit."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("results.jsonl")
PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
BEGIN, END = "<!-- tests.gpu -->\n", "<!-- end of tests.gpu -->\n"

NOTHING = "No card was at hand so far: nothing here is measured on a GPU."

TITLES = {
    "card": "The card",
    "works": "It works",
    "step": "A star step against a plain step",
    "epoch": "An epoch",
    "alignment": "Alignment",
    "barrier": "A barrier",
    "many": "Many small networks",
    "captured": "Passes and steps as one CUDA graph",
    "layouts": "Layouts and --fast",
    "compiled": "torch.compile",
    "graphs": "torch.compile with CUDA graphs",
}

FORMS = {
    "seconds": "{:.3g} s",
    "ratio": "{:.3f}",
    "difference": "{:.1e}",
    "teraflops": "{:.0f} TFLOP/s",
    "gigabytes": "{:.0f} GB/s",
    "microseconds": "{:.1f} us",
    "count": "{}",
}
"""Keys of figures, the first of which a row has, and how they are shown."""

Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """The rows of a visit; none where there is no file. What was cut off in the midst of a row is left out."""
    rows: list[Row] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def render(rows: Sequence[Row]) -> str:
    """Markdown: a table of figures for each card, what failed, and what the profiles say."""
    rows = [row for row in rows if not row["quick"] and row["card"] != "no card"]
    if not rows:
        return NOTHING + "\n"
    lines = []
    for machine in dict.fromkeys((row["card"], row["torch"], row["python"]) for row in rows):
        of = [row for row in rows if (row["card"], row["torch"], row["python"]) == machine]
        lines += [f"{machine[0]}, torch {machine[1]}, Python {machine[2]}:", ""]
        lines += ["| what | found | limit | |", "| --- | ---: | ---: | --- |"]
        for section, title in TITLES.items():
            found = [row for row in of if row["section"] == section and row.get("kind") != "profile"]
            lines += [f"| **{title}** | | | |"] * bool(found) + [cells(row) for row in found]
        lines += [""] + [profile(row) for row in of if row.get("kind") == "profile"]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> str:
    """A line of the table."""
    if "failed" in row:
        return f"| {row['what']} | | | **{row['failed']}** |"
    found = next((form.format(row[key]) for key, form in FORMS.items() if key in row), "")
    limit = row.get("limit")
    notes = []
    if limit is not None:
        held = row["held"] if "held" in row else row.get("seconds", row.get("ratio", 0.0)) <= limit
        notes.append("held" if held else "**missed**")
    if "least" in row:
        notes.append(f"{row['least']:.3g} to {row['largest']:.3g}")
    if "share_of_matrix_rate" in row:
        notes.append(f"{row['share_of_matrix_rate']:.0%} of the matrix rate")
    if "hours_of_200_epochs" in row:
        notes.append(f"200 epochs: {row['hours_of_200_epochs']:.2g} h")
    asked = row.get("count") or not row.get("held", True)
    notes += [str(row[key]) for key in ("places", "which") if asked and key in row]
    return f"| {row['what']} | {found} | {'' if limit is None else f'{limit:g}'} | {', '.join(notes)} |"


def profile(row: Row) -> str:
    """What a profile says, as a paragraph."""
    top = ", ".join(f"`{name}` {taken:.3f}" for name, taken, _ in row["top"])
    return (
        f"{row['what']}: {row['milliseconds_a_step']:.2f} ms a step, the device busy {row['busy']:.0%} of it, "
        f"{row['launches_a_step']:.0f} launches; milliseconds by operator: {top}.\n"
    )


def write(rows: Sequence[Row], page: Path = PAGE) -> None:
    """Put the tables in their place on the page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + render(rows) + END + after, encoding="utf-8")
