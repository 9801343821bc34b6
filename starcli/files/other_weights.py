"""Weights of another model in a directory that is to hold one: they are refused, or go with `--force`.

`from_pretrained` of `transformers` takes the first that is there of model.safetensors, its index, pytorch_model.bin and
its index, and so never sees shards that lie beside an older file.
"""

import contextlib
from pathlib import Path

from starcli.errors import StarcliError
from starcli.files.shards import INDEX, WHOLE, checkpoints_in, files_of
from starcli.files.write import remove


def other_weights(path: Path) -> list[Path]:
    """Files and indexes beside `path` that a reader of the directory takes in place of it, or cannot choose between.

    None where `path` has no name by which weights are looked for in a directory: there may be many of these.
    """
    if path.name.removesuffix(INDEX) not in WHOLE:
        return []
    found = [each for each in checkpoints_in(path.parent) if each.name.removesuffix(INDEX) in WHOLE]
    return [each for each in found if each.name != path.name and (_is_safe(each) or not _is_safe(path))]


def refuse_other_weights(path: Path, *, force: bool) -> None:
    """Check, before any work is done, that weights written to `path` are those that are read; StarcliError if not.

    force: they will be, by `remove_other_weights`.
    """
    if not force and (others := other_weights(path)):
        said = f"{others[0]}: exists, and would be loaded in place of {path.name}, or beside it"
        raise StarcliError(f"{said}; --force replaces it")


def remove_other_weights(path: Path) -> None:
    """Remove `other_weights` with their shards, now that those at `path` are written."""
    for other in other_weights(path):
        files = [other]
        with contextlib.suppress(StarcliError):  # shards are missing already, say
            files = files_of(other)
        for file in files:
            if file not in files_of(path):
                remove(file)


def _is_safe(path: Path) -> bool:
    return path.name.removesuffix(INDEX).endswith(".safetensors")
