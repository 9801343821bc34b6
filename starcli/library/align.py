"""Aligning and permuting from Python."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch

from starcli.alignment.align import Alignment
from starcli.alignment.aligner import Aligned, Aligner
from starcli.alignment.permutation_file import chosen_permutation
from starcli.errors import StarcliError
from starcli.library.calls import library_call
from starcli.library.inputs import MadeModel, ModelLike, Where, open_models
from starcli.library.plans import alignment_plan, permuted_plan
from starcli.library.train import made
from starcli.symmetry.permutation import Permutation


@dataclass(frozen=True, eq=False, repr=False)
class AlignedModel(MadeModel):
    """A model aligned to a reference: the same function under other names of its units."""

    aligned: Aligned | None = None

    @property
    def permutation(self) -> Permutation:
        """The permutation that was applied."""
        assert self.aligned is not None
        return self.aligned.permutation

    def to_dict(self) -> dict[str, Any]:
        """The figures of `starcli align`: distances and cosines before and after, the objective, units moved."""
        assert self.aligned is not None
        return self.aligned.to_dict()


def as_alignment(alignment: Alignment | str | None) -> Alignment:
    """An alignment, or one by the name of its method; None takes models as they are."""
    if isinstance(alignment, Alignment):
        return alignment
    if alignment is not None and not isinstance(alignment, str):
        raise StarcliError(
            f"alignment: a {type(alignment).__name__}, expected the name of a method, an Alignment or None"
        )
    return Alignment(alignment)


@library_call
def align(
    reference: ModelLike,
    model: ModelLike,
    *,
    method: Alignment | str = "weight",
    restarts: int = 1,
    seed: int = 0,
    dtype: str | torch.dtype | None = None,
    **where: Unpack[Where],
) -> AlignedModel:
    """Bring the weights of `model` nearest to those of `reference` by renaming its units, which changes no function.

    method, restarts, seed: as of `Alignment`, which in the place of a name says all of it. By weight it needs no data,
    but for networks in memory an `input_shape` or data.
    dtype: float32, float64, float16 or bfloat16; else tensors keep their type.
    where: `arch`, `data`, `device` and others, see `Where`.
    StarcliError where the two are not models of one network, or its spec is not proved.

    >>> import starcli as sc
    >>> a, b = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
    >>> figures = sc.align(a, b, restarts=2).to_dict()
    >>> figures["distance_after"] < figures["distance_before"]
    True
    """
    if isinstance(method, Alignment) and (restarts, seed) != (1, 0):
        raise StarcliError("an Alignment has its own restarts and seed: say them there")
    alignment = method if isinstance(method, Alignment) else Alignment(method, restarts, seed)
    workspace, [first, second], watcher = open_models(
        [reference, model], where, data=alignment.reads_data, uses_data=alignment.reads_data, dtype=dtype
    )
    if not workspace.spec.movable:
        watcher.note("the network has no units that can be renamed: alignment changes nothing")
    found = Aligner(alignment, workspace).apply(first, second, progress=watcher)
    metadata = second.metadata
    metrics = {**(metadata.metrics or {}), "align": found.recorded()}
    plan = alignment_plan(workspace, alignment, first, second)
    facts = {"metrics": metrics, "statistics": metadata.statistics, "aligned_to": found.record}
    return made(AlignedModel, workspace, plan, found.tensors, second.name, **facts, aligned=found)  # type: ignore[no-any-return]


@library_call
def permute(
    model: ModelLike,
    *,
    by: Permutation | str | os.PathLike[str] | None = None,
    seed: int | None = None,
    invert: bool = False,
    dtype: str | torch.dtype | None = None,
    **where: Unpack[Where],
) -> MadeModel:
    """Rename the units of a model by a permutation: other weights, the same function.

    by: a permutation, or a file of one; else `seed`, from which a random one is drawn. invert: apply the inverse.
    dtype: as of `align`.
    where: `arch`, `data`, `device` and others, see `Where`.

    >>> import starcli as sc
    >>> a = sc.train("mlp", "digits", epochs=1, limit=60)
    >>> shuffled = sc.permute(a, seed=1)
    >>> back = sc.align(a, shuffled)
    >>> all(bool((back.tensors[name] == tensor).all()) for name, tensor in a.tensors.items())
    True
    """
    if (by is None) == (seed is None):
        raise StarcliError("permute needs one of by and seed")
    workspace, [source], _ = open_models([model], where, data=False, uses_data=False, dtype=dtype)
    spec = workspace.spec.resolved
    if isinstance(by, Permutation):
        permutation = by.inverse() if invert else by
        which: Mapping[str, Any] = {"by": None, "invert": invert}
    else:
        if by is not None and not isinstance(by, str | os.PathLike):
            raise StarcliError(f"by: a {type(by).__name__}, expected a permutation or a file of one")
        file = None if by is None else Path(by)
        permutation, which = chosen_permutation(spec, file, seed=seed or 0, invert=invert)
    tensors, metadata = permutation.apply(source.tensors), source.metadata
    plan = permuted_plan(workspace, source, dict(which))
    facts = {"metrics": metadata.metrics, "statistics": metadata.statistics}
    return made(MadeModel, workspace, plan, tensors, source.name, **facts)  # type: ignore[no-any-return]
