"""The line that was typed, as saved results say it."""

import os
import shlex
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path

_LINE: ContextVar[str] = ContextVar("_LINE", default="")


def remember_line(words: Sequence[str]) -> None:
    """Keep the words behind `starcli`, patterns as the shell expanded them; bytes that are no text are replaced."""
    _LINE.set(shlex.join(["starcli", *words]).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def typed_line() -> str:
    """The line that is run now, quoted so that a shell reads it as it was.

    >>> remember_line(["train", "-o", "{seed}.safetensors"])
    >>> typed_line()
    "starcli train -o '{seed}.safetensors'"
    """
    return _LINE.get()


def typed_with_slash(path: Path) -> bool:
    """Whether the line that is run now has a slash at the end of this path, which only a directory has.

    >>> remember_line(["train", "--output=out/"])
    >>> typed_with_slash(Path("out"))
    True
    """
    ends = (word.rpartition("=")[2] for word in shlex.split(_LINE.get()) if word.endswith("/"))
    return path in (Path(os.path.expanduser(word)) for word in ends)
