"""How each file was made: the line that was typed, where a result has it, else one rebuilt from what files record."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from starcli.checkpoints.lineage import Description
from starcli.checkpoints.metadata import Metadata
from starcli.report.findings import Findings, SavedRun
from starcli.report.html import Markup, element, together
from starcli.report.rebuilt_line import rebuilt_line
from starcli.report.section import Section, folded, section_of, shell_line
from starcli.report.tables import words

TYPED = "typed"
REBUILT = "rebuilt from what the files record; a file records no words and no directories"


def made_section(found: Findings) -> Section | None:
    """The lines, each with the files that it makes, and what files record where that gives no line."""
    typed = _typed(found.runs)
    groups: dict[tuple[str, str], list[str]] = {}
    for name, file in found.checkpoints:
        groups.setdefault(_line(name, file, typed), []).append(name)
    blocks = [_block(line, how, names) for (how, line), names in groups.items()]
    settings = [_settings(name, file.metadata) for name, file in found.checkpoints if file.metadata.recipe]
    kept = folded("All settings that the files record", *settings) if settings else None
    return section_of("lines", "How it was made", *blocks, kept) if blocks else None


def _typed(runs: Sequence[SavedRun]) -> dict[str, str]:
    """The lines that were typed, by the base names of the files that their results say they wrote."""
    found = {}
    for run in runs:
        for row in run.rows:
            output = row.get("output")
            if run.line and isinstance(output, str) and output.endswith(".safetensors"):
                found[PurePath(output).name] = run.line
    return found


def _line(name: str, file: Description, typed: Mapping[str, str]) -> tuple[str, str]:
    """How a line is known, and the line; models of several seeds share one."""
    base = PurePath(name).name
    if base in typed:
        return TYPED, typed[base]
    metadata = file.metadata
    rebuilt = rebuilt_line(base, metadata)
    if rebuilt is None:
        return "", ""
    if metadata.seed is not None and not metadata.parents and str(metadata.seed) in base:
        template = base.replace(str(metadata.seed), "{seed}", 1)
        shared = metadata.model_copy(update={"seed": 0})
        return REBUILT, rebuilt_line(template, shared) or rebuilt
    return REBUILT, rebuilt


def _block(line: str, how: str, names: Sequence[str]) -> Markup:
    """A line and the files that it makes."""
    said = element("p", ", ".join(names), class_="made")
    if not line:
        return together(said, element("p", "The line is not recorded; the settings are below.", class_="note"))
    return together(said, shell_line(line), element("p", how, class_="note"))


def _settings(name: str, metadata: Metadata) -> Markup:
    """What a file records of how it was made."""
    rows: dict[str, Any] = {**(metadata.recipe or {}), "seed": metadata.seed}
    if metadata.architecture:
        rows |= {"architecture": metadata.architecture.name, **metadata.architecture.arguments}
    said = [together(element("dt", key), element("dd", words(value))) for key, value in rows.items()]
    return together(element("h4", name), element("dl", *said))
