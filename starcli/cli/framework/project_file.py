"""The project file `starcli.toml`: network, data and device, said once for all commands of a directory tree."""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError, unknown

PROJECT_FILE = "starcli.toml"

PROJECT_WORDS: ContextVar[str] = ContextVar("PROJECT_WORDS", default="")
"""What the present command took from a project file, in words; empty: nothing."""

PROJECT_KEYS: Mapping[str, tuple[type, ...]] = {
    "arch": (str,),
    "arch-arg": (dict,),
    "spec": (str,),
    "data": (str,),
    "data-dir": (str,),
    "limit": (int,),
    "val-fraction": (int, float),
    "split-seed": (int,),
    "image-size": (int,),
    "normalise": (str,),
    "text-column": (str,),
    "label-column": (str,),
    "tokenizer": (str,),
    "length": (int,),
    "task": (str,),
    "input": (str,),
    "input-dtype": (str,),
    "device": (str,),
    "precision": (str,),
    "threads": (int,),
}
"""Options that the file may give, by their names without dashes in front, and the types of their values."""

_OF_A_LINE = ("source-data", "train-data")
"""Options that no file may give: data of models that a single line names, in their order."""

_PATHS = ("arch", "spec", "data", "data-dir", "tokenizer")


@dataclass(frozen=True)
class ProjectFile:
    """A project file that was read: `values` are as they stand there, by option."""

    path: Path
    values: Mapping[str, Any]

    def defaults(self) -> dict[str, Any]:
        """Defaults of the options, by the names of their parameters; paths are beside the file, seen from here."""
        return {_parameter(key): self._word(key, value) for key, value in self.values.items()}

    def used(self, taken: Mapping[str, bool]) -> str:
        """The values that a command took from here, in words; taken: for each of its parameters whether it did."""
        found = [f"{key} {_said(value)}" for key, value in self.values.items() if taken.get(_parameter(key))]
        return f"{os.path.relpath(self.path)}: {', '.join(found)}" if found else ""

    def to_json(self) -> dict[str, Any]:
        """The file, seen from here, and its values, as `starcli inspect` shows them."""
        return {"project": {"file": os.path.relpath(self.path), "values": dict(self.values)}}

    def _word(self, key: str, value: Any) -> Any:
        """What would be typed in the place of `value`."""
        if key == "arch-arg":
            return [f"{name}={_scalar(each)}" for name, each in value.items()]
        return self._from_here(value) if key in _PATHS else str(value)

    def _from_here(self, word: str) -> str:
        """A word whose path, if it has one, leads from the working directory to what lies beside the file.

        The path is the word, or what is before or behind a colon: `net.py:build`, `text:packages.csv`.
        """
        before, colon, behind = word.partition(":")
        if before == "wds":  # a pattern, of which no file may have the name
            return f"wds:{os.path.relpath(self.path.parent / os.path.expanduser(behind))}"
        for lead, path, rest in (("", word, ""), (f"{before}{colon}", behind, ""), ("", before, f"{colon}{behind}")):
            if path and (self.path.parent / os.path.expanduser(path)).exists():
                return f"{lead}{os.path.relpath(self.path.parent / os.path.expanduser(path))}{rest}"
        return word


def find_project_file() -> ProjectFile | None:
    """The project file of this directory, or of the nearest one above that has one.

    It may name code that is run. So it has to belong to the user or to root, unless root itself asks. StarcliError for
    another one, one that cannot be read, and one that says what no project file may.
    """
    here = Path.cwd()
    for directory in (here, *here.parents):
        path = directory / PROJECT_FILE
        try:
            owner = path.stat().st_uid
        except OSError:
            continue
        if os.geteuid() and owner not in (0, os.geteuid()):
            raise StarcliError(f"{path}: belongs to another user, and could name code to run: move or copy it")
        return ProjectFile(path, _read(path))
    return None


def _read(path: Path) -> dict[str, Any]:
    """The values of a project file, of known names and right types."""
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StarcliError(f"{path}: cannot read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StarcliError(f"{path}: is not TOML: {error}") from error
    problems = []
    for key, value in values.items():
        if key in _OF_A_LINE:
            problems.append(f"{key}: goes with the models of one line, and is said there: --{key}")
        elif key not in PROJECT_KEYS:
            problems.append(unknown("option of a project file", key, PROJECT_KEYS).summary)
        elif isinstance(value, bool) or not isinstance(value, PROJECT_KEYS[key]):
            problems.append(f"{key}: {_said(value)} is no {_EXPECTED[PROJECT_KEYS[key][-1]]}")
        elif isinstance(value, dict) and any(isinstance(each, dict | list) for each in value.values()):
            problems.append(f"{key}: its values are numbers, words, true or false")
    if problems:
        raise StarcliError(f"{path}: cannot be used", problems)
    return values


_EXPECTED = {str: "text", int: "whole number", float: "number", dict: "table, as { width = 16 }"}


def _parameter(key: str) -> str:
    """Name of the parameter of an option: the list of --arch-arg is `arch_args`."""
    return "arch_args" if key == "arch-arg" else key.replace("-", "_")


def _scalar(value: Any) -> str:
    """A value as it would be typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(value: Any) -> str:
    """A value in words."""
    if isinstance(value, dict):
        return " ".join(f"{name}={_scalar(each)}" for name, each in value.items())
    return _scalar(value)
