"""Names of input and output files; `-` is stdin or stdout."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from starcli.errors import StarcliError, type_in_words
from starcli.files.formats import is_pickled, refuse_name_of_bytes
from starcli.files.shards import INDEX, WHOLE


def as_path(path: object) -> Path:
    """A path as a library call gives it. StarcliError for what is none.

    >>> as_path(None)
    Traceback (most recent call last):
    starcli.errors.StarcliError: a NoneType is no path of a file
    """
    if not isinstance(path, str | os.PathLike):
        raise StarcliError(f"{type_in_words(path)} is no path of a file")
    return Path(path)


OTHER_KINDS = {
    ".csv", ".tsv", ".json", ".jsonl", ".parquet", ".npy", ".npz", ".h5", ".hdf5", ".onnx", ".gguf", ".pkl", ".pickle",
    ".yaml", ".yml", ".toml", ".txt", ".log", ".md", ".tex", ".html", ".htm", ".png", ".svg", ".pdf", ".jpg", ".jpeg",
    ".gif", ".zip", ".gz", ".tgz", ".xz", ".zst", ".py", ".ipynb", ".sh",
}  # fmt: skip
"""Suffixes that mean a file of another kind than weights, to people and to other programs."""


def refuse_other_kind_of_name(path: Path, *, pickled: bool = False) -> None:
    """StarcliError for the name of a file of another kind, where a checkpoint is to be written.

    pickled: PyTorch's own kind may be written.

    >>> refuse_other_kind_of_name(Path("mid.csv"))
    Traceback (most recent call last):
    starcli.errors.StarcliError: mid.csv: checkpoints are safetensors files and are named so, as mid.safetensors
    """
    refuse_name_of_bytes(path)
    if path.suffix.lower() in OTHER_KINDS or (is_pickled(path) and not pickled):
        usual = path.with_name(path.name.removesuffix(INDEX)).with_suffix(".safetensors")
        hint = [f"starcli convert {usual} makes one of PyTorch's own format"] if is_pickled(path) else []
        raise StarcliError(f"{path}: checkpoints are safetensors files and are named so, as {usual}", hint)


def is_standard_stream(path: Path) -> bool:
    """Whether a path is `-`: stdin of an input; stdout of an output, so that results go to stderr."""
    return str(path) == "-"


def stem(path: Path) -> str:
    """File name without the suffix of models, as in the template `{name}`; that of stdin is `stdin`.

    >>> stem(Path("ckpts/0.safetensors")), stem(Path("best.0.pth.tar")), stem(Path("s/model.safetensors.index.json"))
    ('0', 'best.0', 'model')
    """
    name = "stdin" if is_standard_stream(path) else path.absolute().name.removesuffix(INDEX)
    if name.endswith(".safetensors"):
        return name.removesuffix(".safetensors")
    while is_pickled(name):
        name = PurePath(name).stem
    return name


def model_place(path: Path) -> Path:
    """Where people look for the model in a file: in its folder, where it is called as Hugging Face calls a folder's.

    >>> print(model_place(Path("ckpts/0.safetensors")), model_place(Path("merged/model.safetensors.index.json")))
    ckpts/0.safetensors merged
    """
    return path.parent if path.parent.name and path.name.removesuffix(INDEX) in WHOLE else path


def output_name(path: Path) -> str:
    """Name, in results, of a model that is written to a path: as its `model_place`; `stdout` where it goes there.

    >>> output_name(Path("ckpts/0.safetensors")), output_name(Path("-"))
    ('0.safetensors', 'stdout')
    """
    return "stdout" if is_standard_stream(path) else model_place(path).name


def shortest_names(paths: Sequence[Path]) -> list[str]:
    """For each path the fewest of its last parts that no other path ends with, so that people can tell them apart.

    A path that another one ends with is named whole; stdin is `stdin`. Equal paths have equal names.

    >>> shortest_names([Path("ckpts/0.safetensors"), Path("run1/model.safetensors"), Path("run2/model.safetensors")])
    ['0.safetensors', 'run1/model.safetensors', 'run2/model.safetensors']
    """
    parts = [("stdin",) if is_standard_stream(path) else path.parts for path in paths]
    ends = [[path[start:] for start in reversed(range(len(path)))] for path in parts]  # the shortest first
    shared = Counter(end for each in set(map(tuple, ends)) for end in each)
    return [str(PurePath(*next((end for end in each if shared[end] == 1), each[-1]))) for each in ends]


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """Path of an input as a regular file; stdin (`-`) is copied to a temporary file named `stdin`."""
    if str(path) != "-":
        yield path
        return
    with contextlib.ExitStack() as kept:
        try:
            file = Path(kept.enter_context(tempfile.TemporaryDirectory())) / "stdin"
            with file.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        except OSError as error:
            raise StarcliError(f"stdin: cannot be copied to a temporary file: {error.strerror}") from error
        yield file


def named_after(path: Path) -> Path:
    """The file that shards are named after which are to be written to `path`: in a folder `model.safetensors`.

    A path without a suffix is one of a folder, and that of an index may be said too.

    >>> named_after(Path("out")).as_posix(), named_after(Path("a.safetensors.index.json")).as_posix()
    ('out/model.safetensors', 'a.safetensors')
    """
    path = path.with_name(path.name.removesuffix(INDEX)) if path.name != INDEX else path
    if is_standard_stream(path) or (path.suffix and not path.is_dir()):
        return path
    return path / WHOLE[0]
