"""How each file was made: the line that was typed, where a result has it, else one rebuilt from what files record."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from starcli.checkpoints.metadata import Metadata
from starcli.reports.findings import Findings
from starcli.reports.html import Markup, element, together
from starcli.reports.rebuilt_line import rebuilt_line
from starcli.reports.section import Section, folded_part, section_of, shell_line
from starcli.reports.tables import words

REBUILT = "rebuilt from what the file records"
"""What is said of a line that nobody is known to have typed."""

MOST_NAMES = 6
"""Largest number of files whose names are all said above a line."""

OF_LINES = (
    "Lines are as they were typed where saved results have them. Others are rebuilt from what files record, which is "
    "neither words nor directories: they make the same files."
)
"""What is said of all lines."""


def made_section(found: Findings) -> Section | None:
    """The lines, each with the files that it makes, and what files record where that gives no line."""
    typed = _typed(found)
    groups: dict[tuple[str, str], list[tuple[str, Metadata]]] = {}
    for name, file in found.checkpoints:
        groups.setdefault(_line(name, file.metadata, typed), []).append((name, file.metadata))
    blocks = [_block(line, how, made) for (line, how), made in groups.items()]
    settings = [_settings(name, file.metadata) for name, file in found.checkpoints if file.metadata.recipe]
    kept = folded_part("All settings that the files record", *settings) if settings else None
    said = element("p", OF_LINES, class_="note")
    return section_of("lines", "How it was made", said, *blocks, kept) if blocks else None


def _typed(found: Findings) -> dict[str, str]:
    """The line that was typed for each checkpoint, by base name, where one has that name and there is one such line."""
    lines: dict[str, set[str]] = {}
    for run in found.runs:
        outputs = [row.get("output") for row in run.rows if run.line]
        for output in outputs:
            if isinstance(output, str):
                lines.setdefault(PurePath(output).name, set()).add(run.line)
    count = Counter(PurePath(name).name for name, _ in found.checkpoints)
    return {name: min(some) for name, some in lines.items() if len(some) == count[name] == 1}


def _line(name: str, metadata: Metadata, typed: Mapping[str, str]) -> tuple[str, str]:
    """The line, and what is said of it; that of models of several seeds is one for all."""
    base = PurePath(name).name
    if base in typed:
        return typed[base], ""
    template, shared = _of_all_seeds(base, metadata)
    line = rebuilt_line(template, shared)
    return (line, REBUILT) if line else ("", "the line is not recorded, the settings are below")


def _of_all_seeds(base: str, metadata: Metadata) -> tuple[str, Metadata]:
    """Name and metadata of a trained model with its seed left open, where the name has it."""
    if metadata.seed is None or metadata.parents or str(metadata.seed) not in base:
        return base, metadata
    return base.replace(str(metadata.seed), "{seed}", 1), metadata.model_copy(update={"seed": None})


def _block(line: str, how: str, made: Sequence[tuple[str, Metadata]]) -> Markup:
    """A line and the files that it makes."""
    name, metadata = made[0]
    if how == REBUILT:
        template, shared = _of_all_seeds(PurePath(name).name, metadata)
        if len(made) > 1 and shared.seed is None:
            seeds = {each.seed for _, each in made if each.seed is not None}
            line = rebuilt_line(template, shared, seeds=sorted(seeds)) or line
        else:
            line = rebuilt_line(PurePath(name).name, metadata) or line
    said = element("p", how, class_="note") if how else None
    names = [name for name, _ in made]
    several = f"{', '.join(names[:2])}, … {names[-1]} ({len(names)} files)"
    heading = element("h3", several if len(names) > MOST_NAMES else ", ".join(names))
    return element("section", heading, line and shell_line(line), said, class_="run")


def _settings(name: str, metadata: Metadata) -> Markup:
    """What a file records of how it was made."""
    rows: dict[str, Any] = {**(metadata.recipe or {}), "seed": metadata.seed}
    if metadata.architecture:
        rows |= {"architecture": metadata.architecture.name, **metadata.architecture.arguments}
    said = [together(element("dt", key), element("dd", words(value))) for key, value in rows.items()]
    return together(element("h4", name), element("dl", *said))
