"""Predictions for each example, of single models, of their ensemble, or of a star domain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.notes import note_aligned_anew
from starcli.averaging.bma import COPIES_AVERAGED
from starcli.averaging.members import Members, draw_members
from starcli.averaging.predict_inputs import Inputs
from starcli.averaging.sampling import UNIFORM_POINTS, PointSampling, check_renormalised
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.data.names import data_in_words, needs_path
from starcli.data.splits import Split
from starcli.errors import StarcliError, number_of
from starcli.evaluation.column_predictions import AnyPredictions
from starcli.evaluation.confidence import entropy
from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.predictions import need_room
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.evaluation.repairable_layers import note_repaired
from starcli.evaluation.rows import note_stale, note_statistics
from starcli.evaluation.tasks.task import Task, task_named
from starcli.evaluation.temperature import (
    NOT_FITTED,
    VALIDATION,
    Temperature,
    check_temperature,
    fit_temperature,
    scaled,
)
from starcli.runtime.progress import SILENT, Progress
from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class StarDomain:
    """Points of a star domain, drawn as the first repeat of `bma` draws as many from the same seed.

    renormalise: what is done to their activations. points: how these are drawn.
    """

    star: Checkpoint
    sources: Sequence[Checkpoint]
    samples: int
    seed: int
    alignment: Alignment
    renormalise: Renormalise = RECALIBRATE
    points: PointSampling = UNIFORM_POINTS

    def __post_init__(self) -> None:
        """Refuse what would not be read."""
        check_renormalised(self.points, self.renormalise)


@dataclass(frozen=True)
class Predictor:
    """Predictions of models of one network on the same inputs.

    recalibrate: re-estimate BatchNorm statistics; points of a star domain always have theirs re-estimated.
    temperature: that predictions have, or "fit": of least loss on the validation split of the data of the workspace.
    Of several models together it is that of their average. Raises StarcliError where there is none to be fitted.
    """

    workspace: Workspace
    inputs: Inputs
    recalibrate: bool = False
    temperature: Temperature | None = None
    progress: Progress = SILENT

    def __post_init__(self) -> None:
        """Refuse what cannot be, before any work."""
        check_temperature(self.temperature)
        self.task.refuse_useless(temperature=self.temperature)
        for note in self.inputs.notes:
            self.progress.note(note)
        if self.recalibrate:
            self._need_training_data("BatchNorm statistics are re-estimated from")
        if self.temperature == "fit":
            self._need_training_data("a temperature is fitted on a part of")
            self.workspace.dataset.split(VALIDATION)

    @property
    def task(self) -> Task:
        """The task that the models were trained for."""
        return task_named(self.workspace.task_name)

    def _need_training_data(self, why: str) -> None:
        record = self.workspace.data
        if self.workspace.opened is None and record is not None and needs_path(record.name):
            hint = f"they are {data_in_words(record.name)}, and no file keeps a path"
            raise StarcliError(f"--train-data is needed: {why} the data of training", [hint])

    def each(self, models: Sequence[Checkpoint]) -> AnyPredictions:
        """The predictions of each model by itself."""
        # log-probabilities, at a temperature, together, and as probabilities
        self._need_room((3 + (self.temperature is not None)) * len(models))
        return self._finished({model.name: out for model, out in zip(models, self._of(models), strict=True)})

    def ensemble(self, models: Sequence[Checkpoint]) -> AnyPredictions:
        """The mean of the models' predictions, see `Task.means`."""
        self._need_room(COPIES_AVERAGED)
        return self._average("ensemble", self._of(models))

    def star(self, domain: StarDomain) -> AnyPredictions:
        """The mean over points of a star domain."""
        if domain.samples < 1 or not domain.sources:
            sizes = number_of(domain.samples, "sample"), number_of(len(domain.sources), "source")
            raise StarcliError(f"{sizes[0]} of {sizes[1]}: nothing to average")
        self._need_room(COPIES_AVERAGED)
        if domain.renormalise.active:
            self._need_training_data("the activations of points are measured on")
            note_repaired(self.workspace, domain.renormalise, self.progress)
        evaluator = Evaluator(self.workspace, renormalise=domain.renormalise, progress=self.progress)
        note_statistics(self.workspace, self.progress)
        if evaluator.has_statistics:
            self._need_training_data("BatchNorm statistics are re-estimated from")
        if domain.alignment.reads_data:
            self._need_training_data("models are aligned by")
        aligner = Aligner(domain.alignment, self.workspace)
        note_aligned_anew(self.workspace, domain.alignment, [domain.star, *domain.sources], self.progress)
        models = aligner.tensors_of_all(domain.star, domain.sources, progress=self.progress)
        generator = torch.Generator().manual_seed(domain.seed)
        draw = draw_members(len(models), domain.samples, domain.points, generator)
        members = Members(evaluator, domain.star.tensors, models, self._outputs)
        evaluator.admit([domain.star.tensors, *models])
        self.progress.start("predicting", domain.samples)
        return self._average("star", (members.between(*point) for point in draw.points))

    def _of(self, models: Sequence[Checkpoint]) -> Iterator[Tensor]:
        """The outputs of each model."""
        evaluator = Evaluator(self.workspace, progress=self.progress)
        if self.recalibrate:
            note_statistics(self.workspace, self.progress)
        self.progress.start("predicting", len(models))
        for model in models:
            note_stale(evaluator, model, self.recalibrate)
            evaluator.load(model.tensors, own_statistics=not self.recalibrate)
            yield self._outputs(evaluator)
            self.progress.step()

    def _outputs(self, evaluator: Evaluator) -> Tensor:
        """Predictions of the inputs and, below, of the validation split where a temperature is fitted there."""
        splits: list[str | Split] = [self.inputs.split, *([VALIDATION] if self.temperature == "fit" else [])]
        return torch.cat([evaluator.all_predictions(split) for split in splits])

    def _need_room(self, copies: int) -> None:
        """Refuse predictions that do not fit in memory, where they are held `copies` times."""
        validation = [self.workspace.dataset.split(VALIDATION)] if self.temperature == "fit" else []
        classes = 1 if self.workspace.data is None else self.workspace.data.num_classes
        need_room([self.inputs.split, *validation], classes, copies)

    def _average(self, name: str, outputs: Iterator[Tensor]) -> AnyPredictions:
        """The mean of several; of classes, and at no temperature, with what its members' disagreement adds."""
        if not self.task.counts or self.temperature is not None:
            return self._finished({name: self.task.mean(outputs)})
        entropies = _Entropies()
        mean = self.task.mean(entropies.through(outputs))
        return self._finished({name: mean}, mutual_information=(entropy(mean) - entropies.mean).clamp_(min=0))

    def _finished(self, outputs: dict[str, Tensor], **known: Tensor) -> AnyPredictions:
        """At their temperatures, with what is known of the inputs."""
        self.progress.finish()
        inputs, found, temperatures = self.inputs, {}, []
        for name, both in outputs.items():
            count = len(inputs.split.targets)
            logs, on_validation = both[:count], both[count:]
            temperature = self.temperature
            if temperature == "fit":
                temperature = fit_temperature(on_validation, self.workspace.dataset.split(VALIDATION).targets.cpu())
                if temperature is None:
                    raise StarcliError(f"{name}: {NOT_FITTED}")
            found[name] = logs if temperature is None else scaled(logs, temperature)
            temperatures += [] if temperature is None else [float(temperature)]
        return self.task.predicted(
            found,
            index=inputs.index,
            position=inputs.position,
            label=inputs.label,
            file=inputs.file,
            class_names=inputs.class_names,
            temperature=temperatures,
            **known,
        )


class _Entropies:
    """The mean entropy (N,) of predictions as they go by, of which none is kept."""

    def __init__(self) -> None:
        self._total, self._count = torch.zeros(()), 0

    def through(self, predictions: Iterator[Tensor]) -> Iterator[Tensor]:
        """The predictions, each looked at before the next is asked for."""
        for found in predictions:
            self._total, self._count = self._total + entropy(found), self._count + 1
            yield found

    @property
    def mean(self) -> Tensor:
        """Over all that went by."""
        return self._total / self._count
