"""Files of permutations and of other elements: read with the check that they are of the network, composed, drawn."""

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from starcli.checkpoints import checkpoint
from starcli.checkpoints.hashes import weights_sha256
from starcli.checkpoints.metadata import Sha256
from starcli.errors import StarcliError
from starcli.runtime.progress import Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry, one_after_the_other

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


def read_symmetry(path: Path, spec: Resolved, kinds: Callable[[], Kinds]) -> tuple[Symmetry, Sha256]:
    """The permutation or element in a file, and the file's hash.

    kinds: gives those of the network, which an element needs and a permutation does not. StarcliError where it was made
        for another spec or other kinds, and where its values are none of an element.
    """
    found = checkpoint.read(path, kinds=("permutation", "element"))
    recorded = found.metadata.spec
    if recorded is not None and recorded.sha256 != spec.sha256:
        theirs = found.metadata.architecture
        made_for = [] if theirs is None else [f"it was made for {theirs.title}"]
        hashes = f"its spec is {recorded.sha256[:12]}, the model's {spec.sha256[:12]}"
        raise StarcliError(f"{path}: permutes another network's groups", [*made_for, hashes])
    try:
        if found.metadata.kind == "permutation":
            return Permutation.from_tensors(spec, found.tensors), found.sha256
        own = kinds()
        if recorded is not None and recorded.kinds is not None:
            _check_kinds(recorded.kinds, own)
        return Element.from_tensors(own, found.tensors), found.sha256
    except StarcliError as error:
        raise StarcliError(f"{path}: {error.summary}", error.problems) from error


def chosen_symmetry(
    workspace: "Workspace",
    by: Sequence[Path | Symmetry],
    *,
    seed: int,
    invert: bool,
    kinds: str | None,
    progress: Progress,
) -> tuple[Symmetry, dict[str, Any]]:
    """The symmetry that acts on a model, all of `by` or a random one drawn from `seed`, and the settings that say so.

    Those of `by` act one after the other. kinds: of a random one, "permutation" (None) or "all"; `invert` undoes what
    would be done. StarcliError where one does not belong to the network.
    """
    if by and kinds is not None:
        raise StarcliError("--kinds is of a random element, and has no use for --by")
    settings: dict[str, Any]
    if by:
        found = [_own(each, workspace) for each in by]
        symmetry, hashes = reduce(one_after_the_other, (each for each, _ in found)), [sha256 for _, sha256 in found]
        settings = {"by": hashes if len(hashes) > 1 else hashes[0]}
    else:
        generator, settings = torch.Generator().manual_seed(seed), {"random": seed}
        if kinds == "all":
            symmetry, settings["kinds"] = Element.random(workspace.kinds, generator), kinds
        else:
            symmetry = Permutation.random(workspace.spec.resolved, generator)
    if isinstance(symmetry, Element):
        for note in symmetry.kinds.notes:
            progress.note(note)
    return (symmetry.inverse() if invert else symmetry), {**settings, "invert": invert}


def _own(by: Path | Symmetry, workspace: "Workspace") -> tuple[Symmetry, Sha256]:
    """One of the network's own, from a file or memory, and the hash that its file has or would have."""
    if isinstance(by, Path):
        return read_symmetry(by, workspace.spec.resolved, lambda: workspace.kinds)
    if isinstance(by, Element):
        _check_kinds(by.kinds.sha256, workspace.kinds)
    else:
        by = Permutation.from_tensors(workspace.spec.resolved, by.index)
    return by, weights_sha256(by.to_tensors())


def _check_kinds(theirs: Sha256, own: Kinds) -> None:
    """StarcliError for an element of other kinds than a network has."""
    if theirs != own.sha256:
        raise StarcliError(
            "this element acts by other kinds than the network has",
            [f"its kinds are {theirs[:12]}, the network's {own.sha256[:12]}"],
        )
