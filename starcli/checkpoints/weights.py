"""Weights in any file: safetensors, PyTorch's own files, read without running code in them, or either in shards."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from starcli.checkpoints.containers import find_state_dict
from starcli.checkpoints.hashes import file_sha256, sha256_at, weights_sha256
from starcli.checkpoints.state_dict import EVERYTHING, Pick, StateDict
from starcli.errors import StarcliError, first_line, type_in_words
from starcli.files import pickles
from starcli.files.formats import is_torch_file, refuse_name_of_bytes, refuse_other_kind
from starcli.files.formats_of_others import ENOUGH
from starcli.files.names import is_standard_stream
from starcli.files.pickled_values import RefusedPickle
from starcli.files.safetensors import read_tensors
from starcli.files.shards import Index, file_of, is_index, places_in, read_index
from starcli.files.state import STATE
from starcli.files.write import raise_os_error


@dataclass(frozen=True)
class Weights:
    """Tensors of a file by name, memory-mapped where its format allows it, and the words stored beside them.

    sha256: computes their hash from the file. versions, notes: as of `StateDict`.
    """

    tensors: Mapping[str, Tensor]
    sha256: Callable[[], str]
    metadata: Mapping[str, str] = field(default_factory=dict)
    versions: Any = None
    notes: tuple[str, ...] = ()


def read_weights(path: Path, pick: Pick = EVERYTHING) -> Weights:
    """Read the weights in a file or its shards, or what the user picks of them; `-` reads safetensors from stdin.

    Raises StarcliError where they cannot be read, or there is no state dict.
    """
    path = file_of(path)
    refuse_name_of_bytes(path)
    if path.name.endswith(f".safetensors{STATE}"):
        raise StarcliError(f"{path}: the state of a run that is not finished, no model; its line typed again goes on")
    if is_torch_file(path):
        return _chosen(find_state_dict(_unpickled(path), str(path), pick), {})
    if is_index(path):
        return _in_shards(read_index(path), pick)
    header, tensors = read_tensors(path)
    if pick != EVERYTHING:
        return _chosen(find_state_dict(tensors, str(path), pick), header.metadata)
    from_stdin = is_standard_stream(path)
    hashed = partial(weights_sha256, tensors) if from_stdin else partial(sha256_at, places_in(path, header))
    return Weights(tensors, hashed, header.metadata)


def _chosen(found: StateDict, metadata: Mapping[str, str]) -> Weights:
    return Weights(found.tensors, partial(weights_sha256, found.tensors), metadata, found.versions, found.notes)


def _in_shards(index: Index, pick: Pick) -> Weights:
    """The weights of all shards of an index."""
    content: dict[Any, Any] = {}
    pickled = [shard for shard in index.shards() if is_torch_file(shard)]
    for shard in index.shards():
        part = _unpickled(shard) if shard in pickled else read_tensors(shard)[1]
        if not isinstance(part, Mapping):
            raise StarcliError(f"{shard}: no state dict in it", [f"found {type_in_words(part)}"])
        index.check(shard, map(str, part))
        content |= part
    if pickled or pick != EVERYTHING:
        return _chosen(find_state_dict(content, str(index.path), pick), index.metadata)
    return Weights(content, partial(file_sha256, index.path), index.metadata)


def _unpickled(path: Path) -> object:
    """Content of a file of PyTorch's."""
    try:
        with path.open("rb") as file:
            refuse_other_kind(file.read(ENOUGH), str(path))
        return pickles.load_pickle(path)
    except OSError as error:
        raise_os_error(path, error, "read")
    except StarcliError:
        raise
    except RefusedPickle as error:
        raise StarcliError(f"{path}: is not read: {error}") from error
    except pickle.UnpicklingError as error:
        raise StarcliError(f"{path}: no file of PyTorch") from error
    except Exception as error:  # a damaged file can make nearly anything fail
        reason = f": {first_line(error)[:200]}" if isinstance(error, ValueError) else ""  # others name numbers alone
        raise StarcliError(f"{path}: not a whole PyTorch file{reason}") from error
