"""Merging models whose network and data are known: aligned where that is asked for, and measured."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from starcli.barriers.interpolation import complete_state
from starcli.files.slices import HeldTensor
from starcli.fusion.fusing import Fused, Fusing, scored
from starcli.fusion.merged_tensors import SlicedModel, merged_tensors


def merge_sources(fusing: Fusing) -> Fused:
    """The merge of the sources, aligned to the base or to each other, with statistics re-estimated.

    Learnable parameters are merged; other tensors are the sources' mean, and what follows from weights and data is
    computed anew.
    """
    fusion, together = fusing.fusion, fusing.together
    assert fusion.merge is not None
    names = [source.name for source in fusing.sources]
    sources = [_sliced(name, tensors) for name, tensors in zip(names, together, strict=True)]
    bases = [] if fusion.base is None else [fusion.base]
    base = next((_sliced(each.name, each.tensors) for each in bases), None)
    merged = merged_tensors(fusion.merge, sources, base, seed=fusion.seed, progress=fusing.progress)
    how: dict[str, Any] = {"base": [each.tensors for each in bases], "progress": fusing.progress}
    return scored(fusing, complete_state(fusing.workspace, dict(merged), together, **how))


def _sliced(name: str, tensors: Mapping[str, Tensor]) -> SlicedModel:
    return SlicedModel(name, {key: HeldTensor(tensor) for key, tensor in tensors.items()})
