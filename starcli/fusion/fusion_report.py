"""A fused model beside what it was made from: sources, the best of them, their ensemble, their means."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.alignment.joint import tensors_jointly
from starcli.averaging.bma import COPIES_AVERAGED
from starcli.barriers.interpolation import interpolate_models
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.several import labelled
from starcli.evaluation.evaluator import Evaluator, Model
from starcli.evaluation.predictions import need_room
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.rows import note_repeats
from starcli.evaluation.tasks.task import task_named
from starcli.fusion.fusing import selection_split
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.rehearsal import once_if_rehearsed
from starcli.star.settings import StarSettings
from starcli.workspace.stamp import stamps

if TYPE_CHECKING:
    from starcli.data.dataset import Dataset
    from starcli.workspace.workspace import Workspace


def fusion_rows(
    aligner: Aligner,
    fused: Checkpoint,
    sources: Sequence[Checkpoint],
    *,
    base: Checkpoint | None = None,
    renormalise: Renormalise = RECALIBRATE,
    split: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[dict[str, Any]]:
    """Loss and metrics of the fused model, of each source, the best, their ensemble, and of means of the sources.

    With a base, also of that.

    Means are of the sources as they are (`mean`), each aligned to the fused model (`aligned_mean`), and all aligned to
    each other (`joint_mean`); where nothing is to be aligned the first two are one, and the third is left out.
    The best source is chosen on the validation split, or on the training split where there is none, which its row says.
    The ensemble averages predictions, of classes softmax outputs. Every model has its BatchNorm statistics
    re-estimated.
    renormalise: what else is done to the activations of the means. split: the one that is shown; None shows all.
    """
    need_room_to_compare(aligner.workspace.dataset, split, len(sources))
    fused, *sources = labelled([fused, *sources])
    comparison = _Comparison(aligner.workspace, split, progress, fused.metadata.seed)
    comparison.evaluator.admit([source.tensors for source in sources])
    means = _means(aligner, fused, sources, progress)
    bases = [] if base is None else [base]
    progress.start("comparing", 1 + len(bases) + len(sources) + len(means))

    found, made = comparison.outputs(fused.tensors), _made(fused, sources, aligner.alignment)
    yield from comparison.rows("fused", fused.name, [fused], found, **made)
    for each in bases:
        yield from comparison.rows("base", each.name, [each], comparison.outputs(each.tensors))
    of_sources = [comparison.outputs(source.tensors) for source in sources]
    for source, found in zip(sources, of_sources, strict=True):
        yield from comparison.rows("source", source.name, [source], found)
    best, selection = comparison.best(of_sources), comparison.selection
    yield from comparison.rows(
        "best_source", sources[best].name, [sources[best]], of_sources[best], selected_on=selection
    )
    together = f"{len(sources)} sources"
    ensemble = {name: comparison.task.mean(found[name] for found in of_sources) for name in comparison.shown}
    yield from comparison.rows("ensemble", together, sources, ensemble)
    weights = [1 / len(sources)] * len(sources)
    for kinds, models, alignment in means:
        how = {"alignment": alignment, "renormalise": renormalise.title}
        found = comparison.outputs(interpolate_models(aligner.workspace, models, weights, renormalise=renormalise))
        for kind in kinds:
            yield from comparison.rows(kind, together, sources, found, **how)
    progress.finish()


def need_room_to_compare(dataset: "Dataset", split: str | None, sources: int) -> None:
    """Refuse a comparison whose predictions, those of all sources together, do not fit in memory."""
    splits = [dataset.split(name) for name in _measured(dataset, split)]
    need_room(splits, dataset.num_classes, sources + COPIES_AVERAGED)


def _measured(dataset: "Dataset", split: str | None) -> list[str]:
    """The splits that are shown (None: all), and the one that is chosen on."""
    return [name for name in dataset.splits if split in (None, name) or name == selection_split(dataset)]


def _means(
    aligner: Aligner, fused: Checkpoint, sources: Sequence[Checkpoint], progress: Progress
) -> list[tuple[list[str], Sequence[Model], str]]:
    """What the means are of, each after what rows call it, and their alignment."""
    title, as_given = aligner.alignment.title, _together(AS_GIVEN, sources)
    given = [source.tensors for source in sources]
    if not aligner.active:
        return [(["mean", "aligned_mean"], given, as_given)]
    aligned = aligner.tensors_of_all(fused, sources, progress=progress)
    found: list[tuple[list[str], Sequence[Model], str]] = [
        (["mean"], given, as_given),
        (["aligned_mean"], aligned, title),
    ]
    if not (aligner.alignment.uses_kinds and aligner.alignment.learns):
        found.append((["joint_mean"], tensors_jointly(aligner, sources, progress=progress), title))
    return found


def _together(alignment: Alignment, sources: Sequence[Checkpoint]) -> str:
    """What a mean of the sources rests on."""
    return alignment.labels((sources[0], other) for other in sources[1:])


def _made(fused: Checkpoint, sources: Sequence[Checkpoint], alignment: Alignment) -> dict[str, Any]:
    """How the fused model came from the sources, as its file says: those of a star are aligned each epoch."""
    recorded = (fused.metadata.recipe or {}).get(fused.metadata.kind, {})
    if "fusion" not in recorded:
        kept = ("realign_every", "realign_restarts", "realign_method", "realign_drift", "realign_noise")
        later = {name: recorded[name] for name in kept if name in recorded}
        return {"alignment": StarSettings(alignment=alignment, **later).alignment_title}
    soup = (fused.metadata.metrics or {}).get("greedy_soup", {})
    alone = len(soup.get("kept", sources)) == 1  # nothing is renormalised, for it lies between no models
    between = RECALIBRATE.title if alone else recorded.get("renormalise", RECALIBRATE.title)
    aligned = _together(alignment if "method" in recorded else AS_GIVEN, sources)
    return {"alignment": aligned, "renormalise": between, **soup}


class _Comparison:
    """Measures models on the splits that are shown and on the one that is chosen on, and lays out rows."""

    def __init__(self, workspace: "Workspace", split: str | None, progress: Progress, seed: int | None) -> None:
        dataset = workspace.dataset
        self.shown = [*dataset.splits] if split is None else [split]
        note_repeats(workspace, self.shown, progress)
        self.selection = selection_split(dataset)
        self.labels = {name: dataset.split(name).targets.cpu() for name in _measured(dataset, split)}
        self.task = task_named(dataset.task)
        self.made = {"seed": seed, "statistics": "recalibrate"}
        self.evaluator, self.stamp = Evaluator(workspace, progress=progress), stamps(workspace)

    def outputs(self, model: Model) -> dict[str, Tensor]:
        """Predictions of a model by split, with statistics re-estimated."""
        return once_if_rehearsed("comparison of a model", lambda: self._outputs(model))

    def _outputs(self, model: Model) -> dict[str, Tensor]:
        self.evaluator.load(model)
        self.evaluator.progress.step()
        return {name: self.evaluator.all_predictions(name) for name in self.labels}

    def best(self, outputs: Sequence[Mapping[str, Tensor]]) -> int:
        """Number of the outputs of lowest loss on the split that is chosen on."""
        chosen = self.selection
        losses = [self.task.measures(found[chosen], self.labels[chosen]).loss for found in outputs]
        return min(range(len(losses)), key=lambda number: (math.isnan(losses[number]), losses[number]))

    def rows(
        self, kind: str, name: str, models: Sequence[Checkpoint], found: Mapping[str, Tensor], **more: Any
    ) -> Iterator[dict[str, Any]]:
        """A row for each split that is shown, of what was `found` of `models`."""
        origin = self.stamp(models)
        for split in self.shown:
            scores = self.task.measures(found[split], self.labels[split])
            figures = {**{name: scores.values[name] for name in self.task.metrics}, "loss": scores.loss}
            how = {"alignment": "none", "renormalise": RECALIBRATE.title}
            yield {"model": kind, "name": name, "split": split, **figures, **how, **more, **origin, **self.made}
