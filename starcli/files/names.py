"""Names of input and output files; `-` is stdin or stdout."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

STDOUT = "-"
"""Name that stands for a standard stream."""


def to_stdout(path: Path) -> bool:
    """Whether an output goes to stdout, so that results go to stderr."""
    return str(path) == STDOUT


def stem(path: Path) -> str:
    """File name without `.safetensors`, as in the template `{name}`; that of stdin is `stdin`.

    >>> stem(Path("ckpts/0.safetensors"))
    '0'
    """
    return "stdin" if str(path) == STDOUT else path.name.removesuffix(".safetensors")


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """Path of an input as a regular file; stdin (`-`) is copied to a temporary file named `stdin`."""
    if str(path) != "-":
        yield path
        return
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "stdin"
        with file.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield file
