"""Names of data sets as people type them: a kind, and what comes after it. Needs no torch."""

from pathlib import Path

from starcli.errors import StarcliError, unknown
from starcli.registry.data_sets import DATASETS

IN_MEMORY = "in memory"
"""What data, and networks, that have no name are called."""

ARRAY_SUFFIXES = (".npz", ".safetensors")
"""Suffixes by which a file name is one of a data set."""


def needs_path(name: str) -> bool:
    """Whether data of this kind lie at a path that a checkpoint does not record, so that `--data` is needed again.

    `name` is what a user typed or the name in a checkpoint: "idx" and "idx:DIR" alike.

    >>> needs_path("idx:mnist"), needs_path("digits")
    (True, False)
    """
    return name.partition(":")[0] in ("idx", "folder", "arrays", IN_MEMORY) or name.endswith(ARRAY_SUFFIXES)


def parse_name(name: str) -> tuple[str, str]:
    """Split a data set's name as typed into its kind and the rest: a path, parameters of `gaussians`, or nothing.

    Raises StarcliError for an unknown kind, a missing path, and a path where none belongs.

    >>> parse_name("idx:mnist"), parse_name("x.npz"), parse_name("digits")
    (('idx', 'mnist'), ('arrays', 'x.npz'), ('digits', ''))
    """
    kind, colon, rest = name.partition(":")
    if kind not in DATASETS:
        if name.endswith(ARRAY_SUFFIXES):
            return "arrays", name
        hint = ["a folder of images is folder:DIR, MNIST-format files are idx:DIR"] if "/" in name else []
        error = unknown("data set", kind, DATASETS)
        raise StarcliError(error.summary, hint)
    if needs_path(kind) and not rest:
        what = "FILE.npz or FILE.safetensors" if kind == "arrays" else f"{kind}:DIR"
        raise StarcliError(f"data set {kind!r} lives at a path: say --data {what}")
    if colon and not needs_path(kind) and kind != "gaussians":
        raise StarcliError(f"data set {kind!r} takes nothing after its name, found {rest!r}")
    return kind, rest


def check_data_name(name: str) -> None:
    """Raise StarcliError for a name that `parse_name` refuses, and for data that are not where it says."""
    kind, rest = parse_name(name)
    if needs_path(kind) and not Path(rest).exists():
        raise StarcliError(f"{rest}: no such file or directory, of --data {name}")
