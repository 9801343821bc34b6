"""Names of files to read and write: `-` for the standard streams, templates for several outputs."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

STDOUT = "-"


def to_stdout(path: Path) -> bool:
    """Whether the output is stdout, so that results go to stderr."""
    return str(path) == STDOUT


def stem(path: Path) -> str:
    """`{name}` of an input: its file name without `.safetensors`; stdin's is `stdin`."""
    return "stdin" if str(path) == STDOUT else path.name.removesuffix(".safetensors")


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """`path` itself; for `-` a file named `stdin`, while the block lasts, with what stdin has to say."""
    if str(path) != "-":
        yield path
        return
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "stdin"
        with file.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield file
