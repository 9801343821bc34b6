"""Help pages in plain text: what a command is for, its options in groups, worked examples.

Written here rather than by rich, whose import alone takes as long as everything else that `--help` does.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from typer.core import TyperOption

WIDEST = 100
"""Largest width of a page."""
INDENT = "  "
"""Indentation of paragraphs and rows."""
VALUES = {"int": "N", "float": "X", "str": "WORD", "path": "FILE", "file": "FILE", "directory": "DIR"}
"""How the value of an option is written, by its type."""

HEADINGS = (
    "Arguments",
    "Options",
    "Merging",
    "Alignment",
    "Points between models",
    "Figure",
    "Training",
    "Network and data",
    "General",
)
"""Headings of a help page, in their order."""


def described(command: Any, ctx: Any) -> dict[str, Any]:
    """The parts of the help of a command or a group of commands: `usage`, `paragraphs`, `sections`, `examples`, `see`.

    Sections are rows of words and explanations, by heading.
    """
    own = command if hasattr(command, "commands") else command.callback
    commands = {"Commands": [(name, _first_line(sub)) for name, sub in getattr(command, "commands", {}).items()]}
    return {
        "usage": _usage(command, ctx),
        "paragraphs": list(_paragraphs(command.help or "")),
        "examples": getattr(own, "examples", ()),
        "see": getattr(own, "see", ""),
        "sections": {**(commands if commands["Commands"] else {}), **_grouped(command.get_params(ctx), ctx)},
    }


def page(command: Any, ctx: Any) -> str:
    """Whole help of a command or a group of commands."""
    width, found = min(shutil.get_terminal_size((80, 24)).columns, WIDEST), described(command, ctx)
    parts = [_bold("Usage") + f"  {found['usage']}"]
    parts += [
        textwrap.fill(text, width, initial_indent=INDENT, subsequent_indent=INDENT) for text in found["paragraphs"]
    ]
    parts += [_section(title, rows, width) for title, rows in found["sections"].items()]
    if found["examples"]:
        lines = "\n".join(f"{INDENT}{each}" for each in found["examples"])
        parts.append(f"{_bold('Example' if len(found['examples']) == 1 else 'Examples')}\n{lines}")
    if found["see"]:
        parts.append(f"{_bold('More')}  {found['see']}")
    return "\n\n".join(parts)


def _usage(command: Any, ctx: Any) -> str:
    """Usage: the command's path and its required words."""
    words = [ctx.command_path]
    for parameter in command.get_params(ctx):
        if parameter.param_type_name == "argument":
            words.append(parameter.metavar if parameter.required else f"[{parameter.metavar}]")
        elif parameter.required:
            words.append(
                f"{parameter.opts[-1] if len(parameter.opts) == 1 else parameter.opts[1]} {_value(parameter, ctx)}"
            )
    words.append("COMMAND ..." if hasattr(command, "commands") else "[OPTIONS]")
    return " ".join(words)


def _first_line(command: Any) -> str:
    """First paragraph of a command's help, as one line."""
    text = command.short_help or (command.help or "").split("\n\n")[0]
    return " ".join(text.split())


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of a text, a line each."""
    for paragraph in textwrap.dedent(text).strip().split("\n\n"):
        yield " ".join(paragraph.split())


def _grouped(parameters: list[Any], ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Rows of a command's parameters, by heading: arguments, the command's own options, then the bundles'."""
    groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in parameters:
        if isinstance(parameter, TyperOption):
            title = parameter.rich_help_panel or ("General" if "--help" in parameter.opts else "Options")
            words = ", ".join(sorted([*parameter.opts, *parameter.secondary_opts], key=len))
            row = (f"{words} {_value(parameter, ctx)}".rstrip(), _explained(parameter))
        else:
            title, row = "Arguments", (parameter.metavar, _explained(parameter))
        groups.setdefault(title, []).append(row)
    if not any(name == "-h, --help" for rows in groups.values() for name, _ in rows):
        groups.setdefault("General", []).append(("-h, --help", "Show this page and end."))
    # the command's own matters come first, what every command has last
    return {title: groups[title] for title in sorted(groups, key=HEADINGS.index) if groups[title]}


def _value(parameter: Any, ctx: Any) -> str:
    """How an option's value is written; empty for a flag."""
    if parameter.is_flag:
        return ""
    if parameter.metavar:
        return str(parameter.metavar)
    kind = parameter.display_type(ctx).strip("<>").split()[0]
    return VALUES.get(kind, "WORD")


def _explained(parameter: Any) -> str:
    """Help of a parameter and its default, where that says something."""
    text, default = parameter.help or "", parameter.default
    if parameter.required and isinstance(parameter, TyperOption):
        return f"{text} (required)"
    if default is None or isinstance(default, bool) or default in ((), []):
        return text
    return f"{text} (default: {default:g})" if isinstance(default, float) else f"{text} (default: {default})"


def _section(title: str, rows: list[tuple[str, str]], width: int) -> str:
    """Heading and two columns; what does not fit into the first has the second on the next line."""
    column = min(max(len(name) for name, _ in rows) + 2, 30)
    lines = [_bold(title)]
    for name, text in rows:
        wrapped = textwrap.wrap(text, max(width - column - len(INDENT), 20)) or [""]
        head = f"{INDENT}{name:<{column}}"
        if len(name) + 2 > column:
            lines.append(INDENT + name)
            head = INDENT + " " * column
        lines.append((head + wrapped[0]).rstrip())
        lines += [INDENT + " " * column + more for more in wrapped[1:]]
    return "\n".join(lines)


def _bold(text: str) -> str:
    """`text` in bold on a terminal that shows it."""
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[1m{text}\033[0m"
