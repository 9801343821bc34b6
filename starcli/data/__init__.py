"""Data sets by name: embedded, public, from files, or drawn; each opened with `open_data`.

Importing this package imports neither torch nor anything heavier; the names below bring in what they need when used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from starcli.errors import StarcliError, unknown
from starcli.registry import DATASETS

if TYPE_CHECKING:
    from starcli.data.augment import AUGMENTATIONS
    from starcli.data.dataset import Dataset, open_data
    from starcli.data.partition import split_indices
    from starcli.data.splits import MemorySplit, Normalisation, Split
    from starcli.data.streaming import StreamedSplit

__all__ = [
    "AUGMENTATIONS",
    "Dataset",
    "MemorySplit",
    "Normalisation",
    "Split",
    "StreamedSplit",
    "needs_path",
    "open_data",
    "parse_name",
    "split_indices",
]

ARRAY_SUFFIXES = (".npz", ".safetensors")

_LAZY = {
    "AUGMENTATIONS": "starcli.data.augment",
    "Dataset": "starcli.data.dataset",
    "open_data": "starcli.data.dataset",
    "split_indices": "starcli.data.partition",
    "MemorySplit": "starcli.data.splits",
    "Normalisation": "starcli.data.splits",
    "Split": "starcli.data.splits",
    "StreamedSplit": "starcli.data.streaming",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def needs_path(name: str) -> bool:
    """Whether the data of this kind lives at a path that a checkpoint does not keep, so that `--data` is needed again.

    `name` is what a user typed or the name in a checkpoint: "idx" and "idx:DIR" alike.
    """
    return name.partition(":")[0] in ("idx", "folder", "arrays") or name.endswith(ARRAY_SUFFIXES)


def parse_name(name: str) -> tuple[str, str]:
    """Kind and the rest of a data set's name as typed: ("idx", "DIR"), ("arrays", "x.npz"), ("digits", "").

    The rest is a path, for `gaussians` its parameters, for all others empty. An unknown kind, a missing path and a path
    where none belongs are errors.
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
