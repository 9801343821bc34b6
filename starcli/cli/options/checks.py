"""Checks of a command's words that take a moment, made before torch is imported.

Each check is of one option's value, named by `Checked` in the option's annotation, and raises StarcliError.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.formats import PICKLED
from starcli.files.formats_of_others import directory_not_read
from starcli.files.names import is_standard_stream
from starcli.files.run_logs.targets import LogTarget
from starcli.files.shards import INDEX, checkpoints_in, is_adapter
from starcli.files.write import check_directory
from starcli.registry.entry import Entry, lookup


def input_files(given: Path | list[Path]) -> None:
    """Files to read are there and may be read; `-` is stdin, a directory may hold a checkpoint, in shards or whole."""
    problems = [problem for path in (given if isinstance(given, list) else [given]) if (problem := _unreadable(path))]
    if len(problems) == 1:
        raise StarcliError(problems[0])
    if problems:
        raise StarcliError(f"{len(problems)} files cannot be read", problems)


def _unreadable(path: Path) -> str | None:
    if is_standard_stream(path):
        return None
    try:
        path.stat()
    except OSError as error:
        return f"{path}: cannot read: {error.strerror}"
    if path.is_dir() and not checkpoints_in(path) and not is_adapter(path):
        if kind := directory_not_read(path):
            return f"{path}: is {kind.kind}, which is not read; {kind.way}"
        kinds = [kind for kind in (".safetensors", *PICKLED) if any(path.glob(f"*{kind}"))]
        inside = f"; its files are {path}/*{kinds[0]}" if kinds else ""
        return f"{path}: is a directory, not a file{inside}"
    return None if os.access(path, os.R_OK) else f"{path}: cannot read: Permission denied"


def input_directory(path: Path) -> None:
    """A directory to read from is there."""
    if not path.is_dir():
        raise StarcliError(f"{path}: {'is no directory' if path.exists() else 'there is no such directory'}")


def output_place(template: Path) -> None:
    """The place of an output may be written to, as far as no placeholder hides it."""
    if is_standard_stream(template):
        return
    parts = template.parts
    known = next((number for number, part in enumerate(parts) if "{" in part), len(parts) - 1)
    check_directory(Path(*parts[:known]))


def one_output(path: Path) -> None:
    """The place of the one file that a command writes, in whose name nothing is filled in."""
    if placeholder := re.search(r"\{\w*\}", str(path)):
        raise StarcliError(f"{path}: one file is written, and {placeholder[0]} stands for nothing in its name")
    output_place(path)


def spec(given: str | Path) -> None:
    """A spec is a file that can be read and parsed, a checkpoint, or the name of a shipped one."""
    if str(given).endswith((".safetensors", INDEX)) or Path(given).is_dir():
        input_files(Path(given))
        return
    from starcli.symmetry.archspec.library import load_spec

    load_spec(given)


def architecture(name: str) -> None:
    """An architecture has a name of the registry, or is in a module or file that there is."""
    from starcli.models.names import check_architecture_name

    check_architecture_name(name)


def data_set(name: str) -> None:
    """A data set has a known name, and lies where it says."""
    from starcli.data.names import check_data_name

    check_data_name(name)


def data_sets(names: list[str]) -> None:
    """All of these are data sets as of `data_set`."""
    for name in names:
        data_set(name)


def normalisation(text: str) -> None:
    """A normalisation can be understood."""
    from starcli.data.normalise_option import parse_normalise

    parse_normalise(text)


def logs(words: list[str]) -> None:
    """Words of `--log` name logs whose packages are there, and directories that may be written to."""
    for word in words:
        if place := LogTarget.of(word).directory:
            check_directory(place)


def recipe(name: str) -> None:
    """A recipe is shipped, or a file that is there."""
    from starcli.recipes.shipped import recipe_path

    recipe_path(name)


def entry_of(table: Mapping[str, Entry], kind: str) -> Callable[[Any], None]:
    """A check that a name is in a table of the registry."""

    def check(name: str) -> None:
        lookup(table, kind, name)

    return check
