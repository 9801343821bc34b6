"""Lineage of a checkpoint: its ancestors, and whether the recorded hashes are true.

Needs no torch but for files of PyTorch's own.
"""

import math
import os
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starcli.checkpoints.checkpoint import Checkpoint, generations, read_metadata, with_network
from starcli.checkpoints.hashes import file_sha256
from starcli.checkpoints.metadata import Ancestor, Metadata, Sha256
from starcli.errors import StarcliError, number_of
from starcli.files.formats import is_torch_file
from starcli.files.moments import of_one_moment
from starcli.files.names import as_path
from starcli.files.safetensors import Header, TensorInfo
from starcli.files.shards import checkpoints_in, files_of
from starcli.files.tensor_layout import DTYPES

MAXIMUM_GENERATIONS = 100
"""Largest number of generations: a file whose ancestors go in a circle was not written by us."""


class Lineage:
    """The ancestry of a model, as its file records it.

    A copy of a model is it with other names of units (aligned, permuted, in normal form) or converted: the same
    solution. What a model was aligned to left nothing in it. Files of before this was recorded do not say which of
    their ancestors are copies or points, so that what these were made from is not known.
    """

    def __init__(self, model: Checkpoint) -> None:
        self.sha256, self.known = model.sha256, generations([model])

    def copies(self, sha256: Sha256 | None = None) -> set[Sha256]:
        """Hashes of the model, or of another one of its lineage, and of all of which that is a copy."""
        return set(self._back(sha256 or self.sha256))

    def _back(self, sha256: Sha256) -> list[Sha256]:
        """A model, what it is a copy of, and so on to the first."""
        found: list[Sha256] = []
        each: Sha256 | None = sha256
        while each is not None and each not in found:
            found.append(each)
            each = self.known[each].copy_of if each in self.known else None
        return found

    def made_from(self) -> set[Sha256]:
        """Hashes of what the model was made from in one step, and of all of which that is a copy."""
        first = self._back(self.sha256)[-1]
        parents = self.known[first].went_in if first in self.known else []
        return {copy for parent in parents for copy in self._back(parent)}

    def seen(self) -> set[Sha256]:
        """Hashes of the model and of all that ever went into it, of every generation."""
        found: set[Sha256] = set()
        generation = {self.sha256}
        while generation:
            found |= generation
            generation = {each for one in generation & self.known.keys() for each in self.known[one].went_in} - found
        return found


def is_among(model: Checkpoint, weights: Collection[Sha256]) -> bool:
    """Whether a model, or one of which it is a copy, has `weights`."""
    return not Lineage(model).copies().isdisjoint(weights)


@dataclass(frozen=True, repr=False)
class Description:
    """Header and metadata of a file, and the result of verifying its lineage.

    `verified` is None where it was not asked for, and where the file records no hash of its weights. `broken` names the
    hashes that are wrong, `missing` the ancestors that were not found. notes: how weights were found in a file of
    PyTorch's own, which says nothing of itself.
    """

    path: Path
    header: Header
    metadata: Metadata
    sha256: Sha256
    verified: bool | None
    broken: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Name, kind, sizes and whether it was verified, in one line."""
        verified = {None: "", True: ", verified", False: ", not what it says"}[self.verified]
        size = number_of(len(self.header.tensors), "tensor")
        return f"Description({self.path.name!r}: {self.metadata.kind}, {size}{verified})"

    def names(self) -> Mapping[Sha256, Ancestor]:
        """Ancestors by their hashes."""
        return {ancestor.sha256: ancestor for ancestor in self.metadata.ancestors}

    def to_dict(self) -> dict[str, Any]:
        """Row of `inspect`: the metadata (of the spec only hash and verdict), numbers of tensors and of parameters."""
        stored = self.metadata.model_dump(mode="json")
        spec = stored.pop("spec")
        floats = [info for info in self.header.tensors.values() if info.dtype.startswith(("F", "BF"))]
        return {
            "file": self.path.name,
            **stored,
            "aligned_to": (stored["aligned_to"] or {}).get("reference"),
            "alignment": stored["aligned_to"],
            "weights_sha256": self.sha256 or None,
            "spec_sha256": spec["sha256"] if spec else None,
            "proved": (spec["proof"] or {}).get("proved") if spec else None,
            "tensors": len(self.header.tensors),
            "parameters": sum(math.prod(info.shape) for info in floats),
            "verified": self.verified,
        }


def describe(path: str | os.PathLike[str], *, verify: bool = False) -> Description:
    """Read the header and metadata of `path`; with `verify`, hash its weights and those of its ancestors beside it.

    Ancestors are looked for under their base names in the file's own directory and those directly below it.
    StarcliError for what cannot be read, and where ancestors go in a circle.

    >>> import starcli as sc
    >>> path = sc.save(sc.train("mlp", "digits", epochs=1, limit=60, seed=3), "d.safetensors")
    >>> found = sc.describe(path, verify=True)
    >>> found, found.to_dict()["seed"]
    (Description('d.safetensors': model, 4 tensors, verified), 3)
    """
    place = as_path(path)
    return of_one_moment(place, lambda _: _describe(place, verify))


def _describe(path: Path, verify: bool) -> Description:
    """`describe` where the file stays as it is."""
    if any(is_torch_file(file) for file in files_of(path)):
        return _of_torch_file(path, verify)
    header, metadata = read_metadata(path)
    _check_ancestry(path, metadata)
    if not verify:
        return Description(path, header, metadata, metadata.weights_sha256, None)
    actual = file_sha256(path)
    broken, missing = [], []
    if metadata.weights_sha256 and actual != metadata.weights_sha256:
        broken.append(f"{actual[:12]}, recorded {metadata.weights_sha256[:12]}")
    hashes = _hashes_beside(path, {ancestor.name for ancestor in metadata.ancestors})
    for ancestor in metadata.ancestors:
        if ancestor.sha256 not in hashes.get(ancestor.name, ()):
            missing.append(f"{ancestor.name} ({ancestor.sha256[:12]})")
    verified = not broken and not missing if metadata.weights_sha256 else None
    return Description(path, header, metadata, actual, verified, tuple(broken), tuple(missing))


def _of_torch_file(path: Path, verify: bool) -> Description:
    """The description of a file of PyTorch's own, or its shards: its tensors, and the network of its directory."""
    from starcli.checkpoints.weights import read_weights

    found = read_weights(path)
    tensors = {
        name: TensorInfo(DTYPES[str(each.dtype)], tuple(each.shape), 0, each.nbytes)
        for name, each in found.tensors.items()
    }
    metadata = with_network(Metadata(), path)
    return Description(
        path, Header(tensors, {}, 0), metadata, found.sha256() if verify else "", None, notes=found.notes
    )


def _hashes_beside(path: Path, names: Set[str]) -> dict[str, set[Sha256]]:
    """Hashes of the weights in the files called `names`, in the directory of `path` and those directly below it.

    The directories are listed and compared, so that a name in a stranger's metadata leads nowhere else.
    """
    found: dict[str, set[Sha256]] = {}
    for candidate in (*path.parent.glob("*"), *path.parent.glob("*/*")) if names else ():
        is_model = candidate.name in names and (candidate.is_file() or checkpoints_in(candidate))
        if is_model and (sha256 := _hash_or_none(candidate)):
            found.setdefault(candidate.name, set()).add(sha256)
    return found


def _hash_or_none(path: Path) -> Sha256 | None:
    """Hash of the weights in a file; None where it is no safetensors file."""
    try:
        return file_sha256(path)
    except StarcliError:
        return None


def _check_ancestry(path: Path, metadata: Metadata) -> None:
    """Refuse ancestors that descend from themselves."""
    parents = {ancestor.sha256: ancestor.parents for ancestor in metadata.ancestors}
    generation, depth = set(metadata.parents), 0
    while generation:
        depth += 1
        if depth > MAXIMUM_GENERATIONS:
            raise StarcliError(f"{path}: its ancestors descend from themselves")
        generation = {parent for one in generation for parent in parents.get(one, ())}
