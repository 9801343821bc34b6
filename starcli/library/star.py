"""Stars from Python, and the search that fused models share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.averaging.sampling import Sampling
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError, need_several
from starcli.evaluation.frames import ResultTable
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.library.align import as_alignment
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, Where, listed, open_models
from starcli.library.plans import star_plan
from starcli.library.train import RecipeSettings, TrainedModel, inherited, made, split_options, understood_recipe
from starcli.recipes.recipe import Recipe
from starcli.registry.alignment_methods import DEFAULT_METHOD
from starcli.runtime.progress import Progress
from starcli.star.check_sources import check_held_out, note_doubtful_solutions
from starcli.star.fusion_report import fusion_rows
from starcli.star.growing import Growth, growth_of
from starcli.star.settings import StarSettings
from starcli.star.source_bank import Source
from starcli.star.starlight import starlight


class SearchKeywords(Where, RecipeSettings, total=False):
    """Keywords of `find_star` and `fuse`."""


@dataclass(frozen=True, eq=False, repr=False)
class StarModel(TrainedModel):
    """A star or a fused model, and the sources as its training permuted them last."""

    sources: Sequence[Checkpoint] = ()
    aligned_sources: Sequence[Checkpoint] = ()
    alignment: Alignment = Alignment(DEFAULT_METHOD)  # noqa: RUF009  a frozen value
    renormalise: Renormalise = RECALIBRATE
    base: Checkpoint | None = None

    @cached_property
    def comparison(self) -> ResultTable:
        """This model beside each source, the best of them, their ensemble and their means, as of `starcli fuse`.

        Rows for each split with `accuracy` and `loss`; all BatchNorm statistics are re-estimated.
        """
        if self.workspace is None:
            raise StarcliError("there is nothing to measure: no data were given, and no model knows its own")
        how = replace(self.alignment, seed=self.metadata.seed or 0)
        aligner = Aligner(how, self.workspace)
        return ResultTable(fusion_rows(aligner, self, self.sources, base=self.base, renormalise=self.renormalise))


@library_call
def find_star(
    sources: Sequence[ModelLike],
    *,
    held_out: Sequence[ModelLike] = (),
    seed: int = 0,
    alignment: Alignment | str | None = DEFAULT_METHOD,
    recipe: Recipe | str | Path | None = None,
    sampling: str | Sampling = "uniform",
    realign_every: int | None = 1,
    realign_restarts: int = 1,
    realign_method: str | None = None,
    realign_drift: float | None = None,
    draws_per_step: int | None = None,
    noise: float = 0.0,
    companions: int = 0,
    eval_every: int | None = None,
    renormalise: str = "recalibrate",
    renormalise_logits: bool = False,
    init: ModelLike | None = None,
    grow: ModelLike | None = None,
    **options: Unpack[SearchKeywords],
) -> StarModel:
    """Find a star: a model that straight lines of low loss connect to every source, up to permutation (Algorithm 1).

    held_out: models to which barriers are logged; they select nothing. alignment: how the sources are aligned to the
    star: an `Alignment`, the name of a method, or None (as they are). init: a model to begin from. renormalise,
    renormalise_logits: of points that are measured on those lines, see `barrier`. The other settings are those of
    `StarSettings`. The recipe is that of the sources unless one is named, and settings of training win.
    grow: a finished star that is trained on for `sources`, old and new, by its own recipe in fewer epochs: their number
    times the share of sources that are new or dropped. Dropped are those that are not among `sources`.
    options: fields of `Recipe` (`epochs`, `lr`, ...), and `arch`, `data`, `device` and others, see `Where`.
    StarcliError for fewer than 2 sources, the same one twice, and models of different networks.

    >>> import starcli as sc
    >>> sources = [sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1)]
    >>> star = sc.find_star(sources, epochs=2)
    >>> star.metadata.kind, len(star.aligned_sources), len(star.history)
    ('star', 2, 2)
    >>> more = [*sources, sc.train("mlp", "digits", epochs=1, limit=60, seed=2)]
    >>> sc.find_star(more, grow=star).metadata.recipe["star"]["grown"]
    {'epochs_anew': 2, 'new': 1, 'dropped': 0}
    """
    settings = StarSettings(
        sampling=sampling,
        alignment=as_alignment(alignment),
        realign_every=realign_every,
        realign_restarts=realign_restarts,
        realign_method=realign_method,
        realign_drift=realign_drift,
        draws_per_step=draws_per_step,
        noise=noise,
        companions=companions,
        eval_every=eval_every,
        renormalise=Renormalise(renormalise, renormalise_logits),
    )
    return search_for_star("star", sources, held_out, seed, settings, recipe, (init, grow), options)


def search_for_star(
    kind: Literal["star", "fused"],
    sources: Sequence[ModelLike],
    held_out: Sequence[ModelLike],
    seed: int,
    settings: StarSettings,
    recipe: Recipe | str | Path | None,
    beginnings: tuple[ModelLike | None, ModelLike | None],
    options: Any,
) -> StarModel:
    """Find a star, which begins at a model, or at a star that grows: the two `beginnings`."""
    where, changed = split_options(options)
    sources, held_out = listed(sources, "sources"), listed(held_out, "held_out")
    need_several(sources)
    settings.check_measured(kind, held_out)
    begun, several = [each for each in beginnings if each is not None], len(sources) + len(held_out)
    if len(begun) > 1:
        raise StarcliError("init and grow both say where to begin")
    if settings.companions and beginnings[1] is not None:
        raise StarcliError("companions is not for a star that grows")
    workspace, models, watcher = open_models([*sources, *held_out, *begun], where, distinct=several)
    own, others = models[: len(sources)], models[len(sources) : several]
    beginning = models[-1] if begun else None
    check_held_out([*own, *models[several:]], others)
    note_doubtful_solutions([*own, *others], watcher)
    growth = None if beginning is None or beginnings[1] is None else _growth(beginning, own, recipe, watcher)
    chosen = inherited(recipe, own, changed) if growth is None else _grown_recipe(growth, changed)
    begins: dict[str, Any] = {"init": beginning, "growth": growth}
    plan = star_plan(workspace, kind, own, chosen, seed, settings, **begins, held_out=others)
    found = starlight(
        workspace,
        [Source.of(model) for model in own],
        chosen,
        seed,
        settings,
        init=None if beginning is None else beginning.tensors,
        turns=None if growth is None else growth.turns(),
        held_out=[Source.of(model) for model in others],
        progress=watcher,
    )
    aligned = [
        replace(source, tensors=found.aligned(number), reopen=None, path=None, stored=None)
        for number, source in enumerate(own)
    ]
    facts = {"metrics": found.metrics, "statistics": "recalibrated", "history": found.history}
    models_of = {"sources": own, "aligned_sources": aligned, "alignment": settings.alignment}
    models_of["renormalise"] = settings.renormalise
    return made(StarModel, workspace, plan, found.tensors, f"{kind}-{seed}", **facts, **models_of)  # type: ignore[no-any-return]


def _growth(
    star: Checkpoint,
    sources: Sequence[Checkpoint],
    recipe: Recipe | str | Path | None,
    watcher: Progress,
) -> Growth:
    """What is new to a star that grows; a note says what is dropped or gone, which may not be meant."""
    found = growth_of(star, sources, None if recipe is None else understood_recipe(recipe))
    if found.dropped or found.companions:
        watcher.note(found.title)
    return found


def _grown_recipe(growth: Growth, changed: RecipeSettings) -> Recipe:
    """The recipe of a star that grows, with the settings that are said."""
    return growth.recipe(changed.get("epochs")).override(**changed)
