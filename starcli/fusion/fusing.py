"""Fusing several models into one without a star: by their mean, or by those of them that help it.

Sources are aligned to each other first (`starcli.alignment.joint`); without that, the mean is the uniform soup of
Wortsman et al. 2022 (Model soups), who average models that were fine-tuned from one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.joint import tensors_jointly
from starcli.alignment.notes import note_aligned_anew
from starcli.averaging.sampling import UNIFORM_POINTS, PointSampling
from starcli.barriers.interpolation import interpolate_models
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError, need_several
from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.tasks.task import Scores
from starcli.files.state import StateFile
from starcli.merging.merge import Merge
from starcli.recipes.recipe import Recipe
from starcli.registry.entry import resolve
from starcli.registry.fusions import FUSIONS
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.rehearsal import once_if_rehearsed
from starcli.star.check_sources import check_roles, warn_of_outliers
from starcli.star.source_bank import Source
from starcli.training.batch_pieces import pieces_per_step
from starcli.training.objective import Row
from starcli.training.train import final_metrics
from starcli.workspace.data import record_of

if TYPE_CHECKING:
    from starcli.data.dataset import Dataset
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class DomainTeacher:
    """How the domain of a star teaches: by the mean of `samples` points, which are drawn anew in each step."""

    samples: int = 5
    points: PointSampling = UNIFORM_POINTS

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise StarcliError(f"samples of a star domain that teach: {self.samples}, expected at least 1")

    def record(self) -> dict[str, Any]:
        """The teacher as the recipe of a file records it."""
        return {"samples": self.samples, **self.points.settings()}


USUAL_TEACHER = DomainTeacher()


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How sources are fused into one model: a method other than star, and what it has to know.

    method: a name of `starcli.registry.fusions`. alignment: of the sources to each other. seed: of all that is drawn.
    recipe: of training, where the method trains. init: what training begins at, in the place of the sources' mean.
    star: the star whose domain teaches, in the place of the sources' ensemble: they are then aligned to it. teacher:
    how it does. renormalise: what is done to the activations of the mean. merge: of a method of
    `starcli.registry.merges`, its settings. base: the model that the sources descend from, to which they are then
    aligned, for methods that need it.
    source_data: what each source was trained on, in their order, where these are different data; else empty.

    StarcliError for a seed where nothing is drawn.

    >>> Fusion(method="mean", alignment=Alignment("weight"), seed=0).record()
    {'fusion': 'mean', 'method': 'weight', 'restarts': 1}
    """

    method: str
    alignment: Alignment
    seed: int
    recipe: Recipe | None = None
    init: Checkpoint | None = None
    star: Checkpoint | None = None
    teacher: DomainTeacher = USUAL_TEACHER
    renormalise: Renormalise = RECALIBRATE
    merge: Merge | None = None
    base: Checkpoint | None = None
    source_data: tuple["Dataset", ...] = ()

    def __post_init__(self) -> None:
        draws = FUSIONS[self.method].draws or (self.merge is not None and "seed" in self.merge.how.reads)
        if self.seed != 0 and not self.alignment.active and not draws:
            raise StarcliError(f"--seed {self.seed}: --method {self.method} of models as they are draws nothing")

    @property
    def pieces(self) -> int:
        """Pieces of each batch of training, one a rank, each with BatchNorm statistics and draws of its own; else 1."""
        return 1 if self.recipe is None else pieces_per_step(None, self.recipe.batch_size)

    def record(self) -> dict[str, Any]:
        """The fusion as the recipe of a file records it; how sources are aligned only where that matters."""
        cut = {"pieces": self.pieces} if self.pieces != 1 else {}
        begins = {"init": self.init.sha256} if self.init is not None else {}
        how = {name: value for name, value in self.alignment.settings().items() if name != "seed"}
        if self.star is not None:
            teacher = {"star": self.star.sha256, **self.teacher.record()}
            return {"fusion": self.method, **how, "teacher": teacher, **begins, **cut}
        if begins:
            return {"fusion": self.method, **begins, **cut}
        own = {"source_data": [_identity(each) for each in self.source_data]} if self.source_data else {}
        if self.merge is None:
            return {"fusion": self.method, **how, **self.renormalise.settings(), **own, **cut}
        base = {} if self.base is None else {"base": self.base.sha256}
        return {"fusion": self.method, **how, **self.merge.record(), **base, **own}


def _identity(dataset: "Dataset") -> dict[str, Any]:
    """What tells data, as a source was trained on them, from others."""
    kept = ("name", "fingerprint", "mean", "std", "limit", "val_fraction", "split_seed")
    fields = record_of(dataset).model_dump(mode="json", include=set(kept))
    return {name: value for name, value in fields.items() if value or name in kept[:4]}


@dataclass(frozen=True)
class Fusing:
    """A fusion at work: its sources, where it is done and who watches; the run of its training is saved in `state`."""

    workspace: "Workspace"
    sources: Sequence[Checkpoint]
    fusion: Fusion
    state: StateFile | None = None
    progress: Progress = SILENT

    @cached_property
    def workspaces(self) -> list["Workspace"]:
        """Where each source is looked at: on data of its own where there are any; of the same data one for all."""
        own = {id(each): self.workspace.on(each) for each in self.fusion.source_data}
        return [own[id(each)] for each in self.fusion.source_data] or [self.workspace] * len(self.sources)

    @cached_property
    def together(self) -> list[Mapping[str, Tensor]]:
        """State dicts of the sources, aligned to a star or base, or without one to each other, the first as it is."""
        aligner, base = Aligner(replace(self.fusion.alignment, seed=self.fusion.seed), self.workspace), self.fusion.base
        base = base if self.fusion.star is None else self.fusion.star
        models = [*([] if base is None else [base]), *self.sources]
        note_aligned_anew(self.workspace, self.fusion.alignment, models, self.progress)
        if base is not None:
            return list(aligner.tensors_of_all(base, self.sources, progress=self.progress))
        return tensors_jointly(aligner, self.sources, progress=self.progress)

    def mean(self, numbers: Sequence[int] | None = None) -> dict[str, Tensor]:
        """The mean of the sources of these numbers (all), aligned to each other, with statistics re-estimated."""
        chosen = self.together if numbers is None else [self.together[number] for number in numbers]
        weights, how = [1 / len(chosen)] * len(chosen), self.fusion.renormalise
        return interpolate_models(self.workspace, chosen, weights, renormalise=how, progress=self.progress)


@dataclass(frozen=True)
class Fused:
    """A fused model: its state dict, its final scores by split and what else it says, and a row for each epoch."""

    tensors: Mapping[str, Tensor]
    metrics: Mapping[str, Any]
    history: Sequence[Row] = field(default=())


def fuse_sources(
    workspace: "Workspace",
    sources: Sequence[Checkpoint],
    fusion: Fusion,
    *,
    state: StateFile | None = None,
    progress: Progress = SILENT,
) -> Fused:
    """Fuse `sources` as `fusion` says. Saving and resuming are those of `train_network`, where the method trains.

    StarcliError for fewer than 2 models, of which a base is one, and where the loss of a source is not finite.
    """
    need_several([*sources, *([] if fusion.base is None else [fusion.base])])
    if fusion.merge is not None:  # what cannot be is said before anything is measured or aligned
        fusion.merge.check(len(sources), base=fusion.base is not None)
        fusion.merge.settings_for(sorted(sources[0].tensors), len(sources))
    fusing = Fusing(workspace, sources, fusion, state, progress)
    for each in {id(each): each for each in fusing.workspaces}.values():
        of_it = [source for source, own in zip(sources, fusing.workspaces, strict=True) if own is each]
        warn_of_outliers(each, [Source.of(source) for source in of_it], progress)
    if fusion.star is not None:
        check_roles(fusion.star, sources, (), progress)
    found: Fused = resolve(FUSIONS, "method", fusion.method)(fusing)
    return found


def joint_mean(fusing: Fusing) -> Fused:
    """The mean of all sources, aligned to each other, with statistics re-estimated."""
    return scored(fusing, fusing.mean())


def greedy_soup(fusing: Fusing) -> Fused:
    """The mean of the sources that do not lower its accuracy, tried from the most accurate on; Wortsman et al. 2022.

    Accuracy (of numbers R2, of labels micro F1) on the validation split, or on the training split where there is none;
    sources that are alike in it come in the order of their losses. The names of those that are kept are among the
    metrics.
    """
    split = selection_split(fusing.workspace.dataset)
    _ = fusing.together  # by all ranks at once
    kept = distributed.by_writer(lambda: _kept(fusing, split))
    names = [fusing.sources[number].base_name for number in kept]
    return scored(fusing, fusing.mean(kept), greedy_soup={"kept": names, "selected_on": split})


def _kept(fusing: Fusing, split: str) -> list[int]:
    """Numbers of the sources of a greedy soup, in the order in which they were tried."""
    evaluator = Evaluator(fusing.workspace, splits=(split,), progress=fusing.progress)
    fusing.progress.start("choosing sources", 2 * len(fusing.sources) - 1)

    def score(numbers: Sequence[int]) -> Scores:
        def measured() -> Scores:
            evaluator.load(fusing.mean(numbers))
            fusing.progress.step()
            return evaluator.scores()[split]

        return once_if_rehearsed("evaluation of a mean", measured)

    alone = [score([number]) for number in range(len(fusing.sources))]
    first, *others = sorted(range(len(alone)), key=lambda number: (-alone[number].quality, alone[number].loss))
    kept, best = [first], alone[first].quality
    for number in others:
        quality = score([*kept, number]).quality
        if quality >= best:
            kept, best = [*kept, number], quality
    fusing.progress.finish()
    return kept


def selection_split(dataset: "Dataset") -> str:
    """The split that models are chosen on: validation, or where there is none, train."""
    return "train" if dataset.validation is None else "validation"


def scored(fusing: Fusing, tensors: Mapping[str, Tensor], **more: Any) -> Fused:
    """A fused model that no training made, with its scores."""
    flat = fusing.workspace.network()
    flat.load(tensors)
    return Fused(tensors, {**final_metrics(flat, fusing.workspace, fusing.progress), **more})
