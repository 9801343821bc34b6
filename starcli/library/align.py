"""Aligning and permuting from Python."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch

from starcli.alignment.aligned import Aligned
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.alignment.element_file import chosen_symmetry
from starcli.alignment.joint import apply_jointly
from starcli.alignment.matching.bound import check_bounded, optimality
from starcli.alignment.notes import note_alignment
from starcli.alignment.unchanged import act_on
from starcli.barriers.bends import Bends
from starcli.checkpoints import checkpoint
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError, type_in_words
from starcli.files.write import check_output
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, listed, open_models
from starcli.library.made_models import MadeModel, made
from starcli.library.plans import alignment_plans, permuted_plans
from starcli.library.where import Where
from starcli.symmetry.element import Element
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry
from starcli.workspace.plan import Plan
from starcli.workspace.workspace import Workspace

Acting = str | os.PathLike[str] | Symmetry
"""What can act on a model: a permutation, an element, or a file of one."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PermutedModel(MadeModel):
    """A model that a permutation, or another element of its network's symmetries, acted on: the same function."""

    symmetry: Symmetry
    """What acted: it composes with others and has an inverse, and `permute(model, by=...)` takes it."""
    symmetry_plan: Plan

    @library_call
    def save_symmetry(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write what acted to a file, as `--permutation` does; `permute` reads it. Returns the path.

        StarcliError where the file exists (unless `force`).
        """
        check_output(target := Path(path), force=force)
        aligned_to = self.metadata.aligned_to if self.symmetry_plan.settings.keys() & {"align"} else None
        content = self.symmetry_plan.finish(self.symmetry.to_tensors(), aligned_to=aligned_to)
        checkpoint.write(target, *content)
        return target


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AlignedModel(PermutedModel):
    """A model aligned to a reference: the same function of other weights."""

    aligned: Aligned

    @property
    def permutation(self) -> Permutation:
        """The permutation that was applied."""
        return self.aligned.permutation

    def to_dict(self) -> dict[str, Any]:
        """The figures of `starcli align`: distances and cosines before and after, the objective, units moved."""
        return self.aligned.to_dict()

    def optimality(self) -> dict[str, float | None]:
        """How near the objective is to the best: `upper_bound`, which no permutation exceeds, and the `gap` to it.

        The keys of `starcli align --bound`. Takes seconds. StarcliError for other methods than weight.
        """
        check_bounded(self.aligned.alignment.method, uses_kinds=self.aligned.alignment.uses_kinds)
        found = self.aligned
        return optimality(found.reference.tensors, found.model.tensors, found.permutation.spec, found.match.objective)


def as_alignment(alignment: Alignment | str | None, *, seed: int = 0) -> Alignment:
    """An alignment, or one by the name of its method, from `seed`; None takes models as they are."""
    if isinstance(alignment, Alignment):
        return alignment
    if alignment is not None and not isinstance(alignment, str):
        raise StarcliError(
            f"alignment: {type_in_words(alignment)}, expected the name of a method, an Alignment or None"
        )
    return Alignment(alignment, seed=seed)


AUTO = "auto"
"""An alignment of which nothing is said, where there is one that suits; of lines none, or that of their curve."""


def alignment_along(alignment: Alignment | str | None, bends: Bends, ends: Sequence[Checkpoint]) -> Alignment:
    """How a path's ends are aligned: by default as when its curve was trained, or not at all."""
    if alignment != AUTO:
        return as_alignment(alignment)
    return bends.alignment_of(*ends) if bends.models else AS_GIVEN


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
    """Bring `model` nearest to `reference` by renaming its units, which changes no function.

    method, restarts, seed: as of `Alignment`, which in the place of a name says all of it, as in
        `method=Alignment("activation", select="midpoint", ends=3)`. "weight" (the default here) compares weights, and
        needs no data, but for networks in memory an `input_shape` or data; "activation", what units compute on training
        examples; "straight-through", "sinkhorn" and "learn" (all kinds of symmetry) learn on labelled ones.
    dtype: float32, float64, float16 or bfloat16; else tensors keep their type.
    where: `arch`, `data`, `device` and others, see `Where`.
    StarcliError where the two are not models of one network, or its spec is not proved.

    >>> import starcli as sc
    >>> a, b = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
    >>> figures = sc.align(a, b, restarts=2).to_dict()
    >>> figures["distance_after"] < figures["distance_before"]
    True
    """
    alignment = _chosen(method, restarts, seed)
    workspace, [first, second], watcher = open_models([reference, model], where, **_reading(alignment), dtype=dtype)
    note_alignment(workspace, alignment, watcher)
    found = Aligner(alignment, workspace).apply(first, second, progress=watcher)
    return _aligned_model(workspace, found, ())


@library_call
def align_jointly(
    reference: ModelLike,
    models: Sequence[ModelLike],
    *,
    method: Alignment | str = "weight",
    restarts: int = 1,
    seed: int = 0,
    dtype: str | torch.dtype | None = None,
    **where: Unpack[Where],
) -> list[AlignedModel]:
    """Align `models` and `reference` with each other, each to the mean of the others; return a list of the `models`.

    `reference` stays as it is, so that the mean of all is that of `reference` and the list. Where `align` brings models
    near to one, this brings them near to each other, and their mean is better. restarts: starts of the search, of which
    the best end is kept. All else as of `align`.

    >>> import starcli as sc
    >>> a, b, c = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in range(3))
    >>> [model.metadata.aligned_to.joint for model in sc.align_jointly(a, [b, c])]
    [3, 3]
    """
    alignment = _chosen(method, restarts, seed)
    members = [reference, *listed(models, "models")]
    workspace, [first, *others], watcher = open_models(
        members, where, **_reading(alignment), dtype=dtype, distinct=len(members)
    )
    note_alignment(workspace, alignment, watcher)
    found = apply_jointly(Aligner(alignment, workspace), first, others, progress=watcher)
    return [_aligned_model(workspace, each, others) for each in found]


def _chosen(method: Alignment | str, restarts: int, seed: int) -> Alignment:
    """The alignment that the keywords ask for."""
    if not isinstance(method, Alignment):
        return Alignment(method, restarts, seed)
    if (restarts, seed) != (1, 0):
        raise StarcliError("an Alignment has its own restarts and seed: say them there")
    return method


def _reading(alignment: Alignment) -> dict[str, bool]:
    """Whether data are opened, as keywords of `open_models`."""
    return {"data": alignment.reads_data, "uses_data": alignment.reads_data}


def _aligned_model(workspace: Workspace, found: Aligned, together: Sequence[Checkpoint]) -> AlignedModel:
    """What was found, as a model in memory; `together` as of `alignment_plans`."""
    plan, of_symmetry = alignment_plans(workspace, found.alignment, found.reference, found.model, together)
    facts = {**found.model.facts_under(workspace.data, align=found.recorded()), "aligned_to": found.record}
    own = {"aligned": found, "symmetry": found.match.symmetry, "symmetry_plan": of_symmetry}
    return made(AlignedModel, workspace, plan, found.tensors, found.model.name, **facts, **own)


@library_call
def permute(
    model: ModelLike,
    *,
    by: Acting | Sequence[Acting] | None = None,
    seed: int | None = None,
    kinds: str | None = None,
    invert: bool = False,
    dtype: str | torch.dtype | None = None,
    **where: Unpack[Where],
) -> PermutedModel:
    """Rename the units of a model by a permutation, or let any other element of its symmetries act: the same function.

    by: what acts: a permutation, an `Element`, a file of either, or a list of these, one after the other; else `seed`,
        from which a random one is drawn. kinds: of that, "permutation" (the default), or "all": signs, scales,
        rotations and matrices, too, where the network has them. invert: undo what would be done.
    dtype: as of `align`.
    where: `arch`, `data`, `device` and others, see `Where`.
    StarcliError for what is of another network or other kinds, and where an element would change the function by more
    than rounding, seen on the model itself.

    >>> import starcli as sc
    >>> a = sc.train("mlp", "digits", epochs=1, limit=60)
    >>> shuffled = sc.permute(a, seed=1)
    >>> back = sc.align(a, shuffled)
    >>> all(bool((back.tensors[name] == tensor).all()) for name, tensor in a.tensors.items())
    True
    >>> scaled = sc.permute(a, seed=1, kinds="all")
    >>> list(scaled.symmetry.scales)
    ['unit.0']
    >>> again = sc.permute(scaled, by=scaled.symmetry.inverse())
    >>> all(bool(tensor.allclose(a.tensors[name], atol=1e-6)) for name, tensor in again.tensors.items())
    True
    """
    if bool(acting := _all_of(by)) == (seed is not None):
        raise StarcliError("permute needs one of by and seed")
    workspace, [source], watcher = open_models([model], where, data=False, uses_data=False, dtype=dtype)
    symmetry, which = chosen_symmetry(workspace, acting, seed=seed or 0, invert=invert, kinds=kinds, progress=watcher)
    tensors, _ = act_on(workspace, symmetry, source.tensors)
    plan, of_symmetry = permuted_plans(workspace, source, which, symmetry)
    own = {"symmetry": symmetry, "symmetry_plan": of_symmetry}
    return made(PermutedModel, workspace, plan, tensors, source.name, **source.facts_under(workspace.data), **own)


def _all_of(by: Acting | Sequence[Acting] | None) -> list[Path | Symmetry]:
    """All that acts, one after the other. StarcliError for what cannot."""
    each: Sequence[Any] = by if isinstance(by, list | tuple) else () if by is None else (by,)
    for what in each:
        if not isinstance(what, str | os.PathLike | Permutation | Element):
            raise StarcliError(f"by: {type_in_words(what)}, expected a permutation, an element, or a file of one")
    return [what if isinstance(what, Permutation | Element) else Path(what) for what in each]
