"""Stars and fused models from Python."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

from starcli.alignment.align import Alignment
from starcli.alignment.aligner import Aligner
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import need_several
from starcli.evaluation.frames import ResultTable
from starcli.library.align import as_alignment
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, Where, listed, open_models
from starcli.library.plans import star_plan
from starcli.library.train import RecipeSettings, TrainedModel, made, split_options, understood_recipe
from starcli.recipes.recipe import Recipe
from starcli.star.fusion_report import fusion_rows
from starcli.star.sampling import Sampling
from starcli.star.settings import StarSettings
from starcli.star.source_bank import Source
from starcli.star.starlight import starlight
from starcli.workspace.plan import inherited_recipe


class SearchKeywords(Where, RecipeSettings, total=False):
    """Keywords of `find_star` and `fuse`."""


@dataclass(frozen=True, eq=False, repr=False)
class StarModel(TrainedModel):
    """A star or a fused model, and the sources as its training permuted them last."""

    sources: Sequence[Checkpoint] = ()
    aligned_sources: Sequence[Checkpoint] = ()
    alignment: Alignment = Alignment()  # noqa: RUF009  a frozen value

    @cached_property
    def comparison(self) -> ResultTable:
        """This model beside each source, the best of them, their ensemble and their means, as of `starcli fuse`.

        Rows for each split with `accuracy` and `loss`; all BatchNorm statistics are re-estimated.
        """
        assert self.workspace is not None
        how = replace(self.alignment, seed=self.metadata.seed or 0)
        return ResultTable(fusion_rows(Aligner(how, self.workspace), self, self.sources))


@library_call
def find_star(
    sources: Sequence[ModelLike],
    *,
    held_out: Sequence[ModelLike] = (),
    seed: int = 0,
    alignment: Alignment | str | None = "weight",
    recipe: Recipe | str | Path | None = None,
    sampling: str | Sampling = "uniform",
    realign_every: int | None = 1,
    realign_restarts: int = 1,
    draws_per_step: int | None = None,
    eval_every: int | None = None,
    init: ModelLike | None = None,
    **options: Unpack[SearchKeywords],
) -> StarModel:
    """Find a star: a model that straight lines of low loss connect to every source, up to permutation (Algorithm 1).

    held_out: models to which barriers are logged; they select nothing. init: a model to begin from. The other settings
    are those of `StarSettings`. The recipe is that of the sources unless one is named, and settings of training win.
    options: fields of `Recipe` (`epochs`, `lr`, ...), and `arch`, `data`, `device` and others, see `Where`.
    StarcliError for fewer than 2 sources, the same one twice, and models of different networks.

    >>> import starcli as sc
    >>> sources = [sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1)]
    >>> star = sc.find_star(sources, epochs=2)
    >>> star.metadata.kind, len(star.aligned_sources), len(star.history)
    ('star', 2, 2)
    """
    settings = StarSettings(
        sampling=sampling,
        alignment=as_alignment(alignment),
        realign_every=realign_every,
        realign_restarts=realign_restarts,
        draws_per_step=draws_per_step,
        eval_every=eval_every,
    )
    return _search("star", sources, held_out, seed, settings, recipe, init, options)


@library_call
def fuse(
    sources: Sequence[ModelLike],
    *,
    mu: float = 1.0,
    normalised: bool = False,
    seed: int = 0,
    alignment: Alignment | str | None = "weight",
    recipe: Recipe | str | Path | None = None,
    sampling: str | Sampling = "uniform",
    realign_every: int | None = 1,
    realign_restarts: int = 1,
    draws_per_step: int | None = None,
    init: ModelLike | None = None,
    **options: Unpack[SearchKeywords],
) -> StarModel:
    """Fuse several models into one that costs no more than one of them: a star with its own loss, times `mu`, added.

    normalised: divide the objective by 1 + mu. All else as of `find_star`; `.comparison` has the fused model beside its
    sources and their ensemble.

    >>> import starcli as sc
    >>> sources = [sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1)]
    >>> fused = sc.fuse(sources, epochs=2)
    >>> sorted(set(fused.comparison.column("model")))
    ['aligned_mean', 'best_source', 'ensemble', 'fused', 'joint_mean', 'mean', 'source']
    """
    settings = StarSettings(
        mu=mu,
        normalised=normalised,
        sampling=sampling,
        alignment=as_alignment(alignment),
        realign_every=realign_every,
        realign_restarts=realign_restarts,
        draws_per_step=draws_per_step,
    )
    return _search("fused", sources, (), seed, settings, recipe, init, options)


def _search(
    kind: Literal["star", "fused"],
    sources: Sequence[ModelLike],
    held_out: Sequence[ModelLike],
    seed: int,
    settings: StarSettings,
    recipe: Recipe | str | Path | None,
    init: ModelLike | None,
    options: Any,
) -> StarModel:
    where, changed = split_options(options)
    sources, held_out = listed(sources, "sources"), listed(held_out, "held_out")
    need_several(sources)
    beginnings, several = [] if init is None else [init], len(sources) + len(held_out)
    workspace, models, watcher = open_models([*sources, *held_out, *beginnings], where, distinct=several)
    own, others = models[: len(sources)], models[len(sources) : several]
    beginning = None if init is None else models[-1]
    base = inherited_recipe(own) if recipe is None else None
    chosen = (base or understood_recipe(recipe)).override(**changed)
    found = starlight(
        workspace,
        [Source.of(model) for model in own],
        chosen,
        seed,
        settings,
        init=None if beginning is None else beginning.tensors,
        held_out=[Source.of(model) for model in others],
        progress=watcher,
    )
    plan = star_plan(workspace, kind, own, chosen, seed, settings, init=beginning, held_out=others)
    aligned = [
        replace(source, tensors=found.aligned(number), reopen=None, path=None, stored=None)
        for number, source in enumerate(own)
    ]
    facts = {"metrics": found.metrics, "statistics": "recalibrated", "history": found.history}
    models_of = {"sources": own, "aligned_sources": aligned, "alignment": settings.alignment}
    return made(StarModel, workspace, plan, found.tensors, f"{kind}-{seed}", **facts, **models_of)  # type: ignore[no-any-return]
