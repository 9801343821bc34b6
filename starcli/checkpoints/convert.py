"""Metadata of a converted checkpoint, and bare state dicts for other programs."""

import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Ancestor, Architecture, DataRecord, Metadata
from starcli.checkpoints.state_dict import StateDict, without_wrappers
from starcli.files.formats import is_pickled
from starcli.files.names import is_standard_stream
from starcli.files.other_weights import remove_other_weights
from starcli.files.write import holds, tensor_pieces, write_atomically, write_tensors
from starcli.files.write_shards import shards_hold, write_shards


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


def unwrapped(source: Checkpoint) -> Checkpoint:
    """A file of others without the prefixes of DataParallel and the like, which its network may have been wrapped in.

    A file of ours has the names of its network, and stays as it is.
    """
    if source.metadata.architecture is not None:
        return source
    found = without_wrappers(StateDict(source.tensors, source.versions, source.notes))
    if found.tensors.keys() == source.tensors.keys():
        return source
    return replace(source, tensors=found.tensors, reopen=None, versions=found.versions, notes=found.notes)


@dataclass(frozen=True)
class PlainFile:
    """A bare state dict for other programs: PyTorch's own format where the suffix of `path` says so, else safetensors.

    versions: of the network's modules, which only PyTorch's format keeps. shard_size: as of `checkpoint.write`.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    versions: Mapping[str, Any] | None = None
    shard_size: int | None = None

    def stands(self) -> bool:
        """Whether it is there already, byte for byte."""
        if is_standard_stream(self.path) or not self.path.is_file():
            return False
        if self.shard_size is not None:
            return shards_hold(self.path, self.tensors, self.shard_size)
        return holds(self.path, [self._pickled()] if is_pickled(self.path) else tensor_pieces(self.tensors, {}))

    def write(self) -> None:
        """Write it, in place of an older one."""
        if is_pickled(self.path):
            write_atomically(self.path, self._pickled())
        elif self.shard_size is None:
            write_tensors(self.path, self.tensors, {})
        else:
            write_shards(self.path, self.tensors, {}, self.shard_size)
        remove_other_weights(self.path)

    def _pickled(self) -> bytes:
        """The file in PyTorch's own format."""
        buffer = io.BytesIO()
        content: Any = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        if self.versions is not None:
            content = OrderedDict(content)
            content._metadata = OrderedDict(self.versions)
        torch.save(content, buffer)
        return buffer.getvalue()
