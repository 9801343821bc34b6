"""Merges of weights alone from Python: their keywords, and when they do without network and data."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from starcli.alignment.alignment import Alignment
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError
from starcli.fusion.merge_files import without_data
from starcli.library.inputs import ModelLike, Numbers
from starcli.library.made_models import MadeModel
from starcli.merging.merge import Merge, Override, as_numbers
from starcli.registry.merges import MERGES


class MergeKeywords(TypedDict, total=False):
    """Keywords of `fuse` for merges of weights alone.

    base: the model that the sources descend from. weights: one a source. normalise_weights: divide by their sum. t: of
    slerp, from the first source, 0, to the second, 1. density: of ties, dare, della and breadcrumbs, the share of
    changes kept, one or one a source, and of sce of places; epsilon: of della, how much less of the smallest changes is
    kept, and more of the largest; outliers: of breadcrumbs, the share of largest changes left out. scale: of what is
    added to the base. overrides: other settings of some tensors, by patterns of their names:
    `{"*.mlp.*": {"weights": (0.2, 0.8)}}`; of two that match the first wins.
    """

    base: ModelLike
    weights: Numbers
    normalise_weights: bool
    t: float
    density: float | Numbers
    epsilon: float | Numbers
    outliers: float | Numbers
    scale: float
    overrides: Mapping[str, Mapping[str, float | Numbers]]


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
