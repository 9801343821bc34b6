"""Merges of weights alone from Python: their keywords, and what is made without network and data."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError
from starcli.fusion.fusing import Fusion
from starcli.fusion.merge_files import (
    merge_facts,
    merge_files,
    merge_plan,
    note_before_merge,
    with_hashes,
    without_data,
)
from starcli.library.inputs import ModelLike
from starcli.library.made_models import MadeModel
from starcli.library.notes import Warnings
from starcli.merging.merge import Merge, Override, as_numbers
from starcli.registry.merges import MERGES


class MergeKeywords(TypedDict, total=False):
    """Keywords of `fuse` for merges of weights alone.

    base: the model that the sources descend from. weights: one a source. normalise_weights: divide by their sum. t: of
    slerp, from the first source, 0, to the second, 1. density: of ties and dare, the share of changes kept, one or one
    a source. scale: of what is added to the base. overrides: other settings of some tensors, by patterns of their
    names: `{"*.mlp.*": {"weights": (0.2, 0.8)}}`; of two that match the first wins.
    """

    base: ModelLike
    weights: Sequence[float]
    normalise_weights: bool
    t: float
    density: float | Sequence[float]
    scale: float
    overrides: Mapping[str, Mapping[str, float | Sequence[float]]]


def understood_merge(method: str, said: Mapping[str, Any]) -> Merge | None:
    """The merge that keywords speak of; None where `method` is no merge of weights alone."""
    if method not in MERGES:
        return None
    patterns = dict(said.get("overrides") or {}).items()
    overrides = [
        Override(pattern, {name: as_numbers(name, value) for name, value in each.items()}) for pattern, each in patterns
    ]
    return Merge.of(method, said, overrides)


def need_no_network(models: Sequence[Checkpoint]) -> bool:
    """Whether a merge for which neither is named does without network and data: some model says no data."""
    made = [model for model in models if isinstance(model, MadeModel) and model.workspace is not None]
    return not made and bool(without_data(models))


def need_as_given(alignment: Alignment) -> None:
    """Refuse to align models of which not all say network and data."""
    if alignment.active:
        raise StarcliError("alignment needs network and data, and not all models say which data")


def merged_without_data(merge: Merge, models: Sequence[Checkpoint], base: bool, seed: int) -> dict[str, Any]:
    """Fields of the model that `merge` makes of `models`, of which the last may be the base; see `merge_files`."""
    note_before_merge(models, Warnings())
    models = with_hashes(models)
    own = models[-1] if base else None
    fusion = Fusion(method=merge.method, alignment=AS_GIVEN, seed=seed, merge=merge, base=own)
    tensors = merge_files(fusion, models, progress=Warnings())
    plan = merge_plan(fusion, models)
    _, metadata = plan.finish(tensors, **merge_facts(tensors))
    sources, where = models[:-1] if base else models, plan.directory
    return {"tensors": tensors, "metadata": metadata, "name": f"fused-{seed}", "sources": sources, "directory": where}
