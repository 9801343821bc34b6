"""Distillation: a student trained on averaged predictions, of the sources or of points of a star domain.

    minimise over theta   E_x [ - sum_c p_c(x) log q_c(x; theta) ],     p = mean of the teachers' softmax outputs

Hinton et al. 2015, at temperature 1, without labels, on the training split with the recipe's augmentation. A star
domain is an ensemble without end: its points are drawn anew in each step.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from starcli.evaluation.batchnorm_statistics import batch_statistics
from starcli.fusion.fusing import Fused, Fusing
from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast, set_eval_
from starcli.recipes.recipe import Recipe
from starcli.runtime import distributed
from starcli.runtime.progress import Progress
from starcli.star.source_bank import Source, SourceBank
from starcli.training.fixed_tensors import fixed_in_training
from starcli.training.run import TrainingRun
from starcli.training.seeds import generator, substream
from starcli.training.train import PlainObjective, final_metrics, final_statistics_

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


def distil(fusing: Fusing) -> Fused:
    """A student of all sources, which begins at their joint mean, or of a star domain, beginning at the star.

    Or it begins at the fusion's `init`. Every step costs a forward pass of each source, or of each point, more; all
    sources are held in memory. They have their BatchNorm statistics re-estimated, as in the ensemble, and so has the
    student at the end; points of a star domain have those of the batch, as in the search for a star.
    """
    workspace, recipe = fusing.workspace, fusing.fusion.recipe
    assert recipe is not None
    seed = substream(fusing.fusion.seed, "distil")
    flat = workspace.network(seed)
    flat.load(_start(fusing))
    teachers: Teachers = Ensemble.of(fusing) if fusing.fusion.star is None else DrawnPoints(fusing, seed)
    objective = OfTeachers(workspace, flat, recipe, teachers, fusing.progress)
    run = TrainingRun(
        objective,
        workspace.dataset,
        recipe,
        seed,
        task=f"distilling seed {fusing.fusion.seed}",
        state=fusing.state,
        pieces=fusing.fusion.pieces,
        progress=fusing.progress,
    )
    with objective.batchnorm, contextlib.closing(teachers):
        history = run.run()
    with run.saving_when_stopped():
        final_statistics_(flat, workspace, fusing.progress)
        metrics = final_metrics(flat, workspace, fusing.progress)
    return Fused(flat.state(), metrics, history)


RunPlace = tuple[int, int, int]
"""Epoch, step, and the number of a piece of its batch."""


class Teachers(Protocol):
    """Networks whose averaged predictions a student learns."""

    def outputs(self, inputs: Tensor, place: RunPlace) -> Iterable[Tensor]:
        """The outputs of each for a batch at a place of the run."""

    def close(self) -> None:
        """End what runs in the background."""


class Ensemble:
    """The sources themselves, as they are in their ensemble: the same networks at every place."""

    def __init__(self, networks: list[FlatNetwork]) -> None:
        self.networks = networks

    @classmethod
    def of(cls, fusing: Fusing) -> "Ensemble":
        """A network for each source of a fusion."""
        networks = []
        for source in fusing.sources:
            flat = fusing.workspace.network()
            flat.load(source.fresh_tensors())
            final_statistics_(flat, fusing.workspace, fusing.progress)
            set_eval_(flat.network)
            networks.append(flat)
        return cls(networks)

    def outputs(self, inputs: Tensor, place: RunPlace) -> Iterator[Tensor]:
        """See `Teachers.outputs`."""
        return (each.network(inputs) for each in self.networks)

    def close(self) -> None:
        """See `Teachers.close`; here no thread runs."""


class DrawnPoints:
    """Points of a star domain, drawn by `seed` and the place of a run; in eval mode, but for BatchNorm's statistics."""

    def __init__(self, fusing: Fusing, seed: int) -> None:
        star = fusing.fusion.star
        assert star is not None
        self.teacher, self.seed = fusing.fusion.teacher, seed
        flat = fusing.workspace.network()
        flat.load(star.tensors)
        aligned = zip(fusing.sources, fusing.together, strict=True)
        self.bank = SourceBank([_held(source.name, tensors) for source, tensors in aligned], flat)
        self.star = flat.parameters.clone()
        self.fixed = {name: t.clone() for name, t in fixed_in_training(flat, fusing.workspace.dataset.train).items()}

    def draw(self, place: RunPlace) -> list[tuple[int, float]]:
        """The points (source, t) of a place."""
        draws = generator(self.seed, "points", *place)
        return self.teacher.points.points(len(self.bank.sources), self.teacher.samples, draws)

    def outputs(self, inputs: Tensor, place: RunPlace) -> Iterator[Tensor]:
        """See `Teachers.outputs`."""
        network, points = self.bank.flat.network, self.draw(place)
        epoch, step, number = place  # a process has the same piece in each step
        following = [source for source, _ in [*points[1:], self.draw((epoch, step + 1, number))[0]]]
        for (source, t), soon in zip(points, following, strict=True):
            network.train()
            self.bank.put_between_(self.star, self.fixed, source, t, soon)
            with batch_statistics(set_eval_(network)):
                yield network(inputs)

    def close(self) -> None:
        """End the thread that reads sources ahead."""
        self.bank.close()


def _held(name: str, tensors: Mapping[str, Tensor]) -> Source:
    return Source(name, lambda: tensors)


class OfTeachers(PlainObjective):
    """Loss of a batch with the averaged predictions of `teachers` as targets.

    Of classes this is the mean cross-entropy with their averaged softmax outputs: see `Task.loss_to`.
    """

    def __init__(
        self,
        workspace: "Workspace",
        flat: FlatNetwork,
        recipe: Recipe,
        teachers: Teachers,
        progress: Progress,
    ) -> None:
        super().__init__(workspace, flat, recipe, progress)
        self.teachers = teachers
        self.place: RunPlace = (0, 0, 0)

    def step(
        self, inputs: Tensor, labels: Tensor, epoch: int, step: int, number: int = 0, weight: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """A step of which the teachers know the place."""
        self.place = (epoch, step, number)
        return super().step(inputs, labels, epoch, step, number, weight)

    def loss(self, logits: Tensor, targets: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Loss to the teachers' mean; labels say only where there is something to predict, and by class weights what.

        The weight of an example is that of its label's class.
        """
        with torch.no_grad(), autocast(self.workspace.device, self.workspace.precision):
            outputs = [
                prediction_rows(each, labels, logits.shape[1], "distillation")[0]
                for each in self.teachers.outputs(inputs, self.place)
            ]
        weights = None if self.class_weights is None else self.class_weights[labels]
        how: dict[str, Any] = {"label_smoothing": self.label_smoothing, "weights": weights}
        return self.task.loss_to(logits, [each.float() for each in outputs], **how)


def _start(fusing: Fusing) -> Mapping[str, Tensor]:
    """The state dict that the student begins at, the same on all ranks."""
    if fusing.fusion.init is not None:
        return fusing.fusion.init.tensors
    if fusing.fusion.star is not None:
        return fusing.fusion.star.tensors
    _ = fusing.together  # by all ranks at once
    return distributed.by_writer(fusing.mean)  # processors may round differently
