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
from starcli.data.names import JOINED
from starcli.errors import few, number_of
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
    source_data: Sequence["Dataset"] = (),
    renormalise: Renormalise = RECALIBRATE,
    split: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[dict[str, Any]]:
    """Loss and metrics of the fused model, of each source, the best, their ensemble, and of means of the sources.

    With a base, also of that. Where the data are those of all sources joined, there are all of these rows for each of
    these data (`source_data`, those of each source), whose rows say under `data_of` which sources were trained on them.

    Means are of the sources as they are (`mean`), each aligned to the fused model (`aligned_mean`), and all aligned to
    each other (`joint_mean`); where nothing is to be aligned the first two are one, and the third is left out.
    The best source is chosen on the validation split, or on the training split where there is none, which its row says.
    The ensemble averages predictions, of classes softmax outputs. Every model has its BatchNorm statistics
    re-estimated, on the data of its row.
    renormalise: what else is done to the activations of the means. split: the one that is shown; None shows all.
    """
    need_room_to_compare(aligner.workspace, source_data, split, len(sources))
    fused, *sources = labelled([fused, *sources])
    comparisons = [
        _Comparison(workspace, [sources[number].name for number in numbers], split, progress, fused.metadata.seed)
        for numbers, workspace in _measured_on(aligner.workspace, source_data)
    ]
    comparisons[0].evaluator.admit([source.tensors for source in sources])
    means = _means(aligner, fused, sources, progress)
    bases = [] if base is None else [base]
    progress.start("comparing", len(comparisons) * (1 + len(bases) + len(sources) + len(means)))
    made = _made(fused, sources, aligner.alignment)
    for comparison in comparisons:
        yield from comparison.rows_of_models(fused, made, bases, sources)
        yield from comparison.rows_of_means(means, sources, renormalise)
    progress.finish()


def _measured_on(workspace: "Workspace", source_data: Sequence["Dataset"]) -> list[tuple[Sequence[int], "Workspace"]]:
    """What is measured on, each after the numbers of the sources whose own data these are."""
    if workspace.dataset.name != JOINED:
        return [((), workspace)]
    numbers: dict[int, list[int]] = {}
    for number, dataset in enumerate(source_data):
        numbers.setdefault(id(dataset), []).append(number)
    return [(each, workspace.on(source_data[each[0]])) for each in numbers.values()]


def need_room_to_compare(
    workspace: "Workspace", source_data: Sequence["Dataset"], split: str | None, sources: int
) -> None:
    """Refuse a comparison whose predictions, those of all sources together, do not fit in memory.

    Also one on a split that some data lack. source_data: as of `fusion_rows`.
    """
    for dataset in (each.dataset for _, each in _measured_on(workspace, source_data)):
        if split is not None:
            dataset.split(split)
        splits = [dataset.split(name) for name in _measured(dataset, split)]
        need_room(splits, dataset.num_classes, sources + COPIES_AVERAGED)


def _measured(dataset: "Dataset", split: str | None) -> list[str]:
    """The splits that are shown (None: all), and the one that is chosen on."""
    return [name for name in dataset.splits if split in (None, name) or name == selection_split(dataset)]


_Mean = tuple[list[str], Sequence[Model], str]
"""What a mean is called in rows, the models that it is of, and their alignment."""


def _means(aligner: Aligner, fused: Checkpoint, sources: Sequence[Checkpoint], progress: Progress) -> list[_Mean]:
    """The means that are compared."""
    title, as_given = aligner.alignment.title, _together(AS_GIVEN, sources)
    given = [source.tensors for source in sources]
    if not aligner.active:
        return [(["mean", "aligned_mean"], given, as_given)]
    aligned = aligner.tensors_of_all(fused, sources, progress=progress)
    found: list[_Mean] = [
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
    """Measures models on the splits that are shown and on the one that is chosen on, and lays out rows.

    data_of: names of the sources whose own data these are, where rows are to say so.
    """

    def __init__(
        self, workspace: "Workspace", data_of: Sequence[str], split: str | None, progress: Progress, seed: int | None
    ) -> None:
        dataset, self.workspace = workspace.dataset, workspace
        self.shown = [*dataset.splits] if split is None else [split]
        note_repeats(workspace, self.shown, progress)
        self.selection = selection_split(dataset)
        self.labels = {name: dataset.split(name).targets.cpu() for name in _measured(dataset, split)}
        self.task = task_named(dataset.task)
        self.made = {"seed": seed, "statistics": "recalibrate", **({"data_of": list(data_of)} if data_of else {})}
        self.step = "comparison of a model" + (f" on the data of {few(data_of, 2)}" if data_of else "")
        self.evaluator, self.stamp = Evaluator(workspace, progress=progress), stamps(workspace)

    def outputs(self, model: Model) -> dict[str, Tensor]:
        """Predictions of a model by split, with statistics re-estimated."""
        return once_if_rehearsed(self.step, lambda: self._outputs(model))

    def _outputs(self, model: Model) -> dict[str, Tensor]:
        self.evaluator.load(model)
        self.evaluator.progress.step()
        return {name: self.evaluator.all_predictions(name) for name in self.labels}

    def rows_of_models(
        self,
        fused: Checkpoint,
        made: Mapping[str, Any],
        bases: Sequence[Checkpoint],
        sources: Sequence[Checkpoint],
    ) -> Iterator[dict[str, Any]]:
        """Rows of the fused model, which was `made` so, of bases, of the sources, the best of these, their ensemble."""
        yield from self.rows("fused", fused.name, [fused], self.outputs(fused.tensors), **made)
        for each in bases:
            yield from self.rows("base", each.name, [each], self.outputs(each.tensors))
        of_sources = [self.outputs(source.tensors) for source in sources]
        for source, found in zip(sources, of_sources, strict=True):
            yield from self.rows("source", source.name, [source], found)
        best, chosen = self.best(of_sources), {"selected_on": self.selection}
        yield from self.rows("best_source", sources[best].name, [sources[best]], of_sources[best], **chosen)
        ensemble = {name: self.task.mean(found[name] for found in of_sources) for name in self.shown}
        yield from self.rows("ensemble", number_of(len(sources), "source"), sources, ensemble)

    def rows_of_means(
        self, means: Sequence[_Mean], sources: Sequence[Checkpoint], renormalise: Renormalise
    ) -> Iterator[dict[str, Any]]:
        """Rows of `means` of the sources, as of `_means`."""
        weights = [1 / len(sources)] * len(sources)
        for kinds, models, alignment in means:
            how = {"alignment": alignment, "renormalise": renormalise.title}
            found = self.outputs(interpolate_models(self.workspace, models, weights, renormalise=renormalise))
            for kind in kinds:
                yield from self.rows(kind, number_of(len(sources), "source"), sources, found, **how)

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
