"""State dicts of other programs: PyTorch's own files and plain safetensors, read as checkpoints and written."""

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from starcli.checkpoints import checkpoint
from starcli.checkpoints.checkpoint import Ancestor, Architecture, Checkpoint, DataRecord, Metadata
from starcli.checkpoints.hashes import DTYPES
from starcli.errors import StarcliError, first_line
from starcli.files import pickles
from starcli.files.safetensors import PICKLED
from starcli.files.write import raise_os_error, write_atomically, write_tensors

T = TypeVar("T")

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
"""Keys under which training scripts keep the weights beside optimizer and epoch, in the order tried."""

WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile put before every name."""


def read_any(path: Path, *, verify: bool = True) -> Checkpoint:
    """Read a checkpoint, a plain safetensors file, or PyTorch's own file, which may not run any code.

    `verify` as of `checkpoint.read`. Raises StarcliError where the file holds no state dict or could run code.
    """
    if not is_pickled(path):
        return checkpoint.read(path, verify=verify)
    return Checkpoint(_without_wrappers(_state_dict(_unpickled(path), path)), Metadata(), path.name, path)


def _unpickled(path: Path) -> object:
    """Content of a file of PyTorch's."""
    try:
        return pickles.load_pickle(path)
    except OSError as error:
        raise_os_error(path, error, "read")
    except pickle.UnpicklingError as error:
        raise StarcliError(
            f"{path}: holds more than tensors, or is no file of PyTorch; it is not loaded, since it could run code",
            [_reason(error)],
        ) from error
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise StarcliError(f"{path}: not a whole PyTorch file: {first_line(error)[:200]}") from error


def _reason(error: pickle.UnpicklingError) -> str:
    """One line of an unpickling error.

    torch's own many lines explain how to load the file in spite of it, which is not for here.
    """
    if isinstance(error, pickles.RefusedPickle):
        return str(error)
    return "save the state dict alone: torch.save(network.state_dict(), FILE)"


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    """State dict in a file: all of its content, or what lies under one of CONTAINERS, however deep."""
    for _ in range(4):
        if not isinstance(content, Mapping):
            break
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors and len(tensors) == len(content):
            _refuse_strange(tensors, path)
            _refuse_inflated(tensors, path)
            return {name: value.detach() for name, value in tensors.items()}
        inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    found = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
    raise StarcliError(f"{path}: no state dict in it", [f"found {found[:200]}; looked for {', '.join(CONTAINERS)}"])


def _refuse_strange(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse what no safetensors file can hold: complex128, quantised and sparse tensors, and those without data."""
    problems = [
        f"{name}: {_kind(tensor)}"
        for name, tensor in tensors.items()
        if str(tensor.dtype) not in DTYPES or tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested
    ]
    if problems:
        raise StarcliError(f"{path}: tensors of kinds that a checkpoint cannot hold", problems)


def _kind(tensor: Tensor) -> str:
    """Dtype of a tensor and, where it is no ordinary one, its kind."""
    plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_nested
    words = [] if plain else ["nested" if tensor.is_nested else "without data" if tensor.is_meta else "sparse"]
    return " ".join([str(tensor.dtype).removeprefix("torch."), *words])


def _refuse_inflated(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse overlapping values: strides of zero let a few bytes pass for a tensor of any size."""
    problems = [
        f"{name}: {tensor.numel():,} values in {tensor.untyped_storage().nbytes():,} bytes"
        for name, tensor in tensors.items()
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    ]
    if problems:
        raise StarcliError(f"{path}: tensors whose values overlap in memory are not read", problems)


def _without_wrappers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without a prefix of WRAPPERS, where all of them have it."""
    for _ in range(4):
        prefix = next((p for p in WRAPPERS if tensors and all(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def strip_prefix(
    source: Checkpoint, fit: Callable[[Checkpoint], T], note: Callable[[str], None]
) -> tuple[Checkpoint, T]:
    """Leave out the prefix that a trainer put before all names of `source`, and return `fit` of the result as well.

    Lightning and other trainers hold the network as a part of a module of their own, so that all names begin alike
    (`model.`); but so may the network's own names. `fit` decides: it raises StarcliError for names that are not those
    of the network. Where neither fits, the error with fewer problems is raised.
    """
    owner = next(iter(source.tensors), "").partition(".")[0] + "."
    if source.metadata.architecture is not None or not all(name.startswith(owner) for name in source.tensors):
        return source, fit(source)
    bare = {name.removeprefix(owner): value for name, value in source.tensors.items()}
    inner = Checkpoint(_without_wrappers(bare), source.metadata, source.name, source.path)
    try:
        fitted = fit(inner)
    except StarcliError as error:
        try:
            return source, fit(source)
        except StarcliError as outer:
            raise min(outer, error, key=lambda each: len(each.problems)) from None
    note(f"{source.name}: all names begin with {owner}, which is left out")
    return inner, fitted


def source_plan(source: Checkpoint) -> dict[str, Any]:
    """Arguments of `plan_of` for a file with the weights of `source`: its own kind, settings, seed and parents.

    The weights are the same, so that the source is no parent. The settings say which weights, and which run made them.
    """
    metadata = source.metadata
    named = {ancestor.sha256: ancestor for ancestor in metadata.ancestors}
    parents = []
    for sha256 in metadata.parents:
        known = named.get(sha256) or Ancestor(sha256=sha256, name=sha256[:12], kind="model")
        own = Metadata(kind=known.kind, weights_sha256=sha256, parents=known.parents, ancestors=metadata.ancestors)
        parents.append(Checkpoint({}, own, known.name))
    which = {"weights": source.sha256} | ({"run": metadata.run_id} if metadata.run_id else {})
    settings = {**(metadata.recipe or {}), "convert": which}
    return {"kind": metadata.kind, "settings": settings, "seed": metadata.seed, "parents": parents}


def source_facts(source: Checkpoint, *, architecture: Architecture, data: DataRecord | None) -> dict[str, Any]:
    """Metadata of `source` that remain true for `architecture` and `data`: scores only where both are its own."""
    metadata = source.metadata
    same = metadata.architecture == architecture and metadata.data == data
    return {
        "metrics": metadata.metrics if same else None,
        "statistics": metadata.statistics,
        "aligned_to": metadata.aligned_to,
    }


def write_plain(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a bare state dict: PyTorch's own format where the suffix says so, else safetensors without our metadata."""
    if is_pickled(path):
        buffer = io.BytesIO()
        torch.save({name: tensor.detach().clone() for name, tensor in tensors.items()}, buffer)
        write_atomically(path, buffer.getvalue())
    else:
        write_tensors(path, tensors, {})


def is_pickled(path: Path) -> bool:
    """Whether a file name has a suffix of PyTorch's own files."""
    return path.suffix.lower() in PICKLED
