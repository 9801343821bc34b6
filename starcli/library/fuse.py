"""Fused models from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.alignment.notes import note_alignment
from starcli.averaging.sampling import PointSampling
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.data.dataset import Dataset
from starcli.errors import need_several
from starcli.evaluation.repairable_layers import note_repaired
from starcli.fusion.fusing import DomainTeacher, Fusion, fuse_sources
from starcli.fusion.merge_files import merges_of_files
from starcli.fusion.unused_settings import refuse_unused
from starcli.library.align import AUTO, as_alignment
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, as_checkpoints, listed, open_models, open_sources
from starcli.library.made_models import made
from starcli.library.merging import MergeKeywords, need_as_given, need_no_network, understood_merge
from starcli.library.notes import Watcher
from starcli.library.plans import fusion_plan
from starcli.library.star import SearchKeywords, StarModel, search_for_star, understood_search
from starcli.library.train import inherited, split_options
from starcli.library.where import DataLike, split_keywords
from starcli.merging.merge import Merge
from starcli.recipes.recipe import Recipe
from starcli.registry.alignment_methods import DEFAULT_METHOD
from starcli.registry.entry import lookup
from starcli.registry.fusions import FUSIONS, TRAINED_FUSIONS
from starcli.runtime.progress import Progress
from starcli.star.check_sources import note_doubtful_solutions
from starcli.star.settings import StarSettings
from starcli.training.class_weights import note_class_weights


class FuseKeywords(SearchKeywords, MergeKeywords, total=False):
    """Keywords of `fuse`.

    source_data: what each source was trained on, in their order and any form of `data`, where these are different data
        and models do not say so; of methods that do not train.
    held_out, eval_every: of `find_star`; of the method star.
    """

    source_data: Sequence[DataLike]
    held_out: Sequence[ModelLike]
    eval_every: int | None


@library_call
def fuse(
    sources: Sequence[ModelLike],
    *,
    method: str = "star",
    mu: float = 1.0,
    normalised: bool = False,
    seed: int = 0,
    alignment: Alignment | str | None = AUTO,
    recipe: Recipe | str | Path | None = None,
    init: ModelLike | None = None,
    grow: ModelLike | None = None,
    star: ModelLike | None = None,
    samples: int = DomainTeacher.samples,
    in_turn: bool = False,
    **options: Unpack[FuseKeywords],
) -> StarModel:
    """Fuse several models into one that costs no more than one of them.

    method: "star", a star with its own loss, times `mu`, added (normalised: divided by 1 + mu); all else is then as of
        `find_star`. Others align the sources to each other: "mean" (with alignment None the uniform soup),
        "greedy-soup", the mean of those that do not lower the accuracy on the validation split (the training split,
        where there is none), and "distil", a student that is trained on their averaged predictions from their mean, or
        from `init`; with `star` on those of its domain, the mean of `samples` points drawn anew in each step by
        `sampling` and `in_turn` (see `bma`), from the star. "fisher" and "regmean" are means weighted by what the
        training split says, of sources of different data each by that of its own.
        "linear", "slerp", "karcher", "task-arithmetic", "ties", "dare-linear", "dare-ties", "della", "della-linear",
        "sce", "breadcrumbs", "model-stock", "tsv" and "iso-c" merge weights alone, by the settings of `MergeKeywords`;
        where some model says no data, all are merged as they are, each tensor when it is asked for, so that `save`
        holds one at a time, and there is no `.comparison`.
        Settings that a method has no use for are refused.
    alignment: of `find_star`; "auto" is by activation, of the sources of a base and of models without data not at all.
    `.comparison` has the fused model beside its sources, their ensemble and their means, to whose activations is done
    what `renormalise` and `renormalise_logits` say, see `barrier`. Where the sources were trained on different data, it
    is on `data`, and without these on those of each source.

    >>> import starcli as sc
    >>> sources = [sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1)]
    >>> fused = sc.fuse(sources, epochs=2)
    >>> sorted(set(fused.comparison.column("model")))
    ['aligned_mean', 'best_source', 'ensemble', 'fused', 'joint_mean', 'mean', 'source']
    >>> sc.fuse(sources, method="mean").metadata.recipe["fused"]["fusion"]
    'mean'
    """
    settings, others = understood_search(options, mu=mu, normalised=normalised)
    lookup(FUSIONS, "method", method)
    merging, others = split_keywords(others, MergeKeywords)
    source_data, held_out = others.pop("source_data", None), others.pop("held_out", ())
    settings = replace(settings, eval_every=others.pop("eval_every", None))
    usual = None if "base" in merging else DEFAULT_METHOD
    how = as_alignment(usual if alignment == AUTO else alignment)
    given = {"recipe": recipe is not None, "init": init is not None, "grow": grow is not None}
    given |= {"star": star is not None, "samples": samples != DomainTeacher.samples, "in_turn": in_turn}
    given |= {"source_data": source_data is not None, "held_out": bool(held_out)}
    given |= dict.fromkeys((*split_options(others)[1], *merging), True)
    plain = StarSettings(mu=1.0, renormalise=settings.renormalise)
    said = [each.name for each in fields(StarSettings) if getattr(settings, each.name) != getattr(plain, each.name)]
    refuse_unused(method, [*said, *(name for name, is_said in given.items() if is_said)])
    if method == "star":
        settings = replace(settings, alignment=how)
        how_begun: dict[str, Any] = {"seed": seed, "recipe": recipe, "init": init, "grow": grow}
        return search_for_star("fused", sources, settings, others, held_out=held_out, **how_begun)
    merge = understood_merge(method, merging)
    teacher = DomainTeacher(samples, PointSampling(settings.sampling, in_turn))
    how_done: dict[str, Any] = {"renormalise": settings.renormalise, "merge": merge, "teacher": teacher}
    fusion = Fusion(method=method, alignment=how, seed=seed, **how_done)
    roles = {"init": init, "base": merging.get("base"), "star": star}
    beside = {role: model for role, model in roles.items() if model is not None}
    return _fused(fusion, sources, beside, source_data, recipe, others, said=alignment != AUTO)


def _fused(
    fusion: Fusion,
    sources: Sequence[ModelLike],
    beside: Mapping[str, ModelLike],
    source_data: Sequence[DataLike] | None,
    recipe: Recipe | str | Path | None,
    options: Mapping[str, Any],
    *,
    said: bool,
) -> StarModel:
    """Fuse by another method than star, as `fusion`, of which recipe, data and models are still missing.

    beside: models beside the sources by their names in `Fusion`. source_data: of each source, where they have data of
    their own, and these are said. said: whether the caller says how the sources are aligned.
    """
    where, changed = split_options(options)
    sources = listed(sources, "sources")
    need_several([*sources, *([beside["base"]] if "base" in beside else [])])
    given = [*sources, *beside.values()]
    named = source_data is not None or any(where.get(name) is not None for name in ("arch", "data"))
    if fusion.merge is not None and not named:
        read = as_checkpoints(given)
        if need_no_network(read):
            need_as_given(fusion.alignment if said else AS_GIVEN)
            return _merged_as_given(fusion.merge, read, len(sources), fusion.seed, where.get("progress") or Watcher())
        # a module says what network it is, what was read of it does not
        given = [one if isinstance(one, nn.Module) else model for one, model in zip(given, read, strict=True)]
    opened: tuple[Dataset, ...] = ()
    if trained := fusion.method in TRAINED_FUSIONS:
        workspace, models, watcher = open_models(given, where, distinct=len(sources))
    else:
        count = len(sources)
        workspace, models, opened, watcher = open_sources(given[:count], given[count:], where, source_data)
    own, others = models[: len(sources)], models[len(sources) :]
    note_doubtful_solutions(own, watcher)
    chosen = inherited(recipe, own, changed, watcher, workspace.dataset) if trained else None
    if chosen is not None:
        note_class_weights(chosen, workspace.dataset, watcher)
    note_repaired(workspace, fusion.renormalise, watcher)
    of_models: dict[str, Any] = dict(zip(beside, others, strict=True))
    fusion = replace(fusion, recipe=chosen, source_data=opened, **of_models)
    plan, name = fusion_plan(workspace, own, fusion), f"fused-{fusion.seed}"
    note_alignment(workspace, fusion.alignment, watcher)
    found = fuse_sources(workspace, own, fusion, progress=watcher)
    facts: dict[str, Any] = {"metrics": found.metrics, "statistics": "recalibrated", "history": found.history}
    facts |= {"sources": own, "alignment": fusion.alignment, "renormalise": fusion.renormalise, "base": fusion.base}
    facts["source_data"] = fusion.source_data
    return made(StarModel, workspace, plan, found.tensors, name, **facts)


def _merged_as_given(merge: Merge, models: Sequence[Checkpoint], count: int, seed: int, watcher: Progress) -> StarModel:
    """The merge of models of which not all say data: so many sources and, behind them, the base where there is one."""
    [found] = merges_of_files(merge, models, [seed], base=len(models) > count, progress=watcher)
    _, metadata = found.plan.finish(found.tensors, **found.facts)
    sources, directory = found.plan.parents[:count], found.plan.directory
    return StarModel(found.tensors, metadata, f"fused-{seed}", sources=sources, directory=directory)
