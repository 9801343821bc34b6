"""The reference of all commands, from what `--help` is made of: as Markdown for the site, and as pages for `man`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from starcli.cli.framework.help import described
from starcli.files.write import make_directory, write_atomically

Described = dict[str, Any]


def all_commands() -> Iterator[tuple[str, Described]]:
    """Each command's name as typed, `starcli spec derive`, and what its help page says; the program's own first."""
    from starcli.cli.main import app

    program = typer.main.get_command(app)
    yield from _below(program, None, "starcli")


def _below(command: Any, parent: Any, name: str) -> Iterator[tuple[str, Described]]:
    context = typer.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    yield name, described(command, context)
    for word, sub in getattr(command, "commands", {}).items():
        yield from _below(sub, context, f"{name} {word}")


def markdown_reference() -> str:
    """A page with all commands, each with its options in tables."""
    parts = ["# Commands", "What `starcli COMMAND --help` says, on one page."]
    for name, page in all_commands():
        parts += [f"## {name}", *page["paragraphs"], f"```text\n{page['usage']}\n```"]
        for heading, rows in page["sections"].items():
            lines = [f"| {heading} | |", "| --- | --- |"]
            lines += [f"| {_code(words)} | {_cell(text)} |" for words, text in rows]
            parts.append("\n".join(lines))
        if page["examples"]:
            parts.append("```sh\n" + "\n".join(page["examples"]) + "\n```")
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _cell(text: str) -> str:
    """Text in a cell: no markup of its own but what a cell needs."""
    return re.sub(r"([|*_<>\[\]])", r"\\\1", text)


def man_pages() -> dict[str, str]:
    """Pages for `man` by file name, `starcli-barrier.1`, in roff's man macros; the same bytes each time."""
    from starcli.version import __version__

    everything = list(all_commands())
    return {f"{name.replace(' ', '-')}.1": _man_page(name, page, everything, __version__) for name, page in everything}


def write_man_pages(words: list[str]) -> None:
    """`python -m starcli.cli.reference DIR`: write the pages for `man` into a directory, which is made."""
    if len(words) != 1 or words[0].startswith("-"):
        raise SystemExit("usage: python -m starcli.cli.reference DIR, as ~/.local/share/man/man1")
    directory = Path(words[0]).expanduser()
    make_directory(directory)
    for name, text in man_pages().items():
        write_atomically(directory / name, text.encode())


def _man_page(name: str, page: Described, everything: list[tuple[str, Described]], version: str) -> str:
    title = name.replace(" ", "-")
    first, *more = page["paragraphs"]
    lines = [f'.TH "{title.upper()}" 1 "" "starcli {version}" "starcli"']
    lines += [".SH NAME", f"{_roff(title)} \\- {_roff(first)}", ".SH SYNOPSIS", f".B {_roff(page['usage'])}"]
    lines += [".SH DESCRIPTION", *(line for text in (more or [first]) for line in (".PP", _roff(text)))]
    for heading, rows in page["sections"].items():
        lines.append(f".SH {heading.upper()}")
        for words, text in rows:
            lines += [".TP", f".B {_roff(words)}", _roff(text)]
    if page["examples"]:
        lines += [".SH EXAMPLES", ".nf", *map(_roff, page["examples"]), ".fi"]
    others = [other.replace(" ", "-") for other, _ in everything if other != name]
    lines += [".SH SEE ALSO", ",\n".join(f".BR {_roff(other)} (1)" for other in others)]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Text as it stands, whatever roff would make of it."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    plain = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in plain)
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in plain.splitlines())


if __name__ == "__main__":
    write_man_pages(sys.argv[1:])
