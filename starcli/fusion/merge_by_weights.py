"""Merging models whose network and data are known: aligned where that is asked for, and measured."""

from starcli.barriers.interpolation import complete_state
from starcli.fusion.fusing import Fused, Fusing, scored
from starcli.fusion.merged_tensors import SlicedModel, merged_tensors


def merge_sources(fusing: Fusing) -> Fused:
    """The merge of the sources, aligned to the base or to each other, with statistics re-estimated.

    Learnable parameters are merged; other tensors are the sources' mean, and what follows from weights and data is
    computed anew.
    """
    fusion, together = fusing.fusion, fusing.together
    assert fusion.merge is not None
    sources = [SlicedModel.of(each.name, tensors) for each, tensors in zip(fusing.sources, together, strict=True)]
    bases = [] if fusion.base is None else [fusion.base]
    base = next((SlicedModel.of(each.name, each.tensors) for each in bases), None)
    merged = merged_tensors(fusion.merge, sources, base, seed=fusion.seed, progress=fusing.progress)
    own = [each.tensors for each in bases]
    state = complete_state(fusing.workspace, dict(merged), together, base=own, progress=fusing.progress)
    return scored(fusing, state)
