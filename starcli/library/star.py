"""Stars from Python, and the search that fused models share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.notes import note_alignment
from starcli.averaging.sampling import Sampling
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.data.dataset import Dataset
from starcli.errors import StarcliError, need_several
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.repairable_layers import note_repaired
from starcli.evaluation.result_table import ResultTable
from starcli.evaluation.rows import note_repeats
from starcli.fusion.fusion_report import fusion_rows
from starcli.library.align import as_alignment
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, listed, open_models
from starcli.library.made_models import made
from starcli.library.plans import star_plan
from starcli.library.train import RecipeSettings, TrainedModel, inherited, split_options, understood_recipe
from starcli.library.where import Where, split_keywords
from starcli.recipes.recipe import Recipe
from starcli.registry.alignment_methods import DEFAULT_METHOD
from starcli.runtime.progress import Progress
from starcli.star.check_sources import check_held_out, note_doubtful_solutions
from starcli.star.growing import Growth, growth_of
from starcli.star.settings import StarSettings
from starcli.star.star_search import StarSearch
from starcli.star.starlight import starlight
from starcli.training.class_weights import note_class_weights
from starcli.workspace.training_notes import test_notes


class SearchSettings(TypedDict, total=False):
    """Settings of a search for a star, as the options of `starcli star`; what is left out is as `StarSettings` has it.

    realign_every: None is never; "drawn": in each epoch the sources that its steps draw.
    renormalise, renormalise_logits: of points that are measured on the lines to sources, see `barrier`.
    """

    sampling: str | Sampling
    realign_every: int | Literal["drawn"] | None
    realign_restarts: int
    realign_method: str | None
    realign_drift: float | None
    realign_noise: float
    draws_per_step: int | None
    noise: float
    pull: float
    companions: int
    renormalise: str
    renormalise_logits: bool


class SearchKeywords(Where, RecipeSettings, SearchSettings, total=False):
    """Keywords of `find_star` and `fuse`: network and data, training, and the search."""


@dataclass(frozen=True, eq=False, repr=False)
class StarModel(TrainedModel):
    """A star or a fused model, and the sources as its training permuted them last."""

    sources: Sequence[Checkpoint] = ()
    aligned_sources: Sequence[Checkpoint] = ()
    alignment: Alignment = Alignment(DEFAULT_METHOD)  # noqa: RUF009  a frozen value
    renormalise: Renormalise = RECALIBRATE
    base: Checkpoint | None = None
    source_data: Sequence[Dataset] = ()

    @cached_property
    def comparison(self) -> ResultTable:
        """This model beside each source, the best of them, their ensemble and their means, as of `starcli fuse`.

        Rows for each split with `accuracy` and `loss`; all BatchNorm statistics are re-estimated. Where sources were
        trained on different data, and none are named that all are measured on, for each of theirs (`data_of`).
        """
        if self.workspace is None:
            raise StarcliError("there is nothing to measure: no data were given, and no model knows its own")
        how = replace(self.alignment, seed=self.metadata.seed or 0)
        aligner = Aligner(how, self.workspace)
        beside: dict[str, Any] = {"base": self.base, "source_data": self.source_data}
        return ResultTable(fusion_rows(aligner, self, self.sources, **beside, renormalise=self.renormalise))


@library_call
def find_star(
    sources: Sequence[ModelLike],
    *,
    held_out: Sequence[ModelLike] = (),
    seed: int = 0,
    alignment: Alignment | str | None = DEFAULT_METHOD,
    recipe: Recipe | str | Path | None = None,
    eval_every: int | None = None,
    init: ModelLike | None = None,
    grow: ModelLike | None = None,
    **options: Unpack[SearchKeywords],
) -> StarModel:
    """Find a star: a model that straight lines of low loss connect to every source, up to permutation (Algorithm 1).

    held_out: models to which barriers are logged, every `eval_every` epochs; they select nothing.
    alignment: how the sources are aligned to the star: an `Alignment`, the name of a method, or None (as they are).
    recipe: of training; by default that of the sources. Settings of training win over it.
    init: a model to begin from.
    grow: a finished star that is trained on for `sources`, old and new, by its own recipe in fewer epochs: their number
        times the share of sources that are new or dropped. Dropped are those that are not among `sources`.
    options: settings of the search (`sampling`, `realign_every`, `noise`, ...), see `StarSettings`; settings of
        training (`epochs`, `lr`, ...), fields of `Recipe`; and `arch`, `data`, `device` and others, see `Where`.

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
    settings, others = understood_search(options, alignment=as_alignment(alignment), eval_every=eval_every)
    return search_for_star(
        "star", sources, settings, others, held_out=held_out, seed=seed, recipe=recipe, init=init, grow=grow
    )


def understood_search(options: Mapping[str, Any], **more: Any) -> tuple[StarSettings, dict[str, Any]]:
    """The settings of a search among `options`, and all others of these; `more` are fields of `StarSettings`."""
    mine, others = split_keywords(options, SearchSettings)
    said = {name: value for name, value in mine.items() if value is not None or name == "realign_every"}
    method = said.pop("renormalise", RECALIBRATE.method)
    renormalise = Renormalise(method, said.pop("renormalise_logits", RECALIBRATE.logits))
    return StarSettings(renormalise=renormalise, **said, **more), others


def search_for_star(
    kind: Literal["star", "fused"],
    sources: Sequence[ModelLike],
    settings: StarSettings,
    options: Mapping[str, Any],
    *,
    held_out: Sequence[ModelLike] = (),
    seed: int,
    recipe: Recipe | str | Path | None,
    init: ModelLike | None,
    grow: ModelLike | None,
) -> StarModel:
    """Find a star or a fused model, arguments as of `find_star`; options: of training, and of network and data."""
    where, changed = split_options(options)
    sources, held_out = listed(sources, "sources"), listed(held_out, "held_out")
    need_several(sources)
    settings.check_measured(kind, held_out)
    if init is not None and grow is not None:
        raise StarcliError("init and grow both say where to begin")
    if settings.companions and grow is not None:
        raise StarcliError("companions is not for a star that grows")
    begun = [each for each in (init, grow) if each is not None]
    several = len(sources) + len(held_out)
    workspace, models, watcher = open_models([*sources, *held_out, *begun], where, distinct=several)
    own, others = models[: len(sources)], models[len(sources) : several]
    beginning = models[-1] if begun else None
    check_held_out([*own, *models[several:]], others)
    note_doubtful_solutions([*own, *others], watcher)
    for note in test_notes(workspace.dataset):
        watcher.note(note)
    if kind == "star":  # the table of what is fused says so itself
        note_repeats(workspace, workspace.dataset.measured, watcher)
    growth = None if beginning is None or grow is None else _growth(beginning, own, recipe, watcher)
    if growth is None:
        chosen = inherited(recipe, own, changed, watcher, workspace.dataset)
    else:
        chosen = growth.recipe(changed.get("epochs")).override(**changed)
    note_class_weights(chosen, workspace.dataset, watcher)
    note_repaired(workspace, settings.renormalise, watcher)
    search = StarSearch(
        recipe=chosen, settings=settings, seed=seed, sources=own, init=beginning, growth=growth, held_out=others
    )
    plan = star_plan(workspace, kind, search)
    note_alignment(workspace, settings.alignment, watcher)
    found = starlight(workspace, search, progress=watcher)
    aligned = [
        replace(source, tensors=found.aligned(number), reopen=None, path=None, stored=None)
        for number, source in enumerate(own)
    ]
    facts = {"metrics": found.metrics, "statistics": "recalibrated", "history": found.history}
    how = {"alignment": settings.alignment, "renormalise": settings.renormalise}
    of_sources = {"sources": own, "aligned_sources": aligned, **how}
    return made(StarModel, workspace, plan, found.tensors, f"{kind}-{seed}", **facts, **of_sources)


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
