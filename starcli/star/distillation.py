"""Distillation: a student trained on the averaged predictions of the sources, as their ensemble makes them.

    minimise over theta   E_x [ - sum_c p_c(x) log q_c(x; theta) ],     p = mean of the sources' softmax outputs

Hinton et al. 2015, at temperature 1, without labels, on the training split with the recipe's augmentation.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast
from starcli.recipes.recipe import Recipe
from starcli.runtime import distributed
from starcli.runtime.progress import Progress
from starcli.star.fusing import Fused, Fusing
from starcli.training.run import TrainingRun
from starcli.training.seeds import substream
from starcli.training.train import PlainObjective, augmentation_of, final_metrics, final_statistics_

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


def distil(fusing: Fusing) -> Fused:
    """A student of all sources, which begins at their joint mean or at the fusion's `init`.

    Every step costs a forward pass of each source more; all of them are held in memory. The sources have their
    BatchNorm statistics re-estimated, as in the ensemble, and so has the student at the end.
    """
    workspace, recipe = fusing.workspace, fusing.fusion.recipe
    assert recipe is not None
    seed = substream(fusing.fusion.seed, "distil")
    flat = workspace.network(seed)
    flat.load(_start(fusing))
    objective = OfTeachers(workspace, flat, recipe, _teachers(fusing), fusing.progress)
    run = TrainingRun(
        objective,
        workspace.dataset.train,
        recipe,
        seed,
        augmentation=augmentation_of(recipe, workspace.dataset),
        task=f"distilling seed {fusing.fusion.seed}",
        state=fusing.state,
        checkpoint_every=fusing.checkpoint_every,
        pieces=fusing.fusion.pieces,
        progress=fusing.progress,
    )
    with objective.batchnorm:
        history = run.run()
    with run.saving_when_stopped():
        final_statistics_(flat, workspace, fusing.progress)
        metrics = final_metrics(flat, workspace, fusing.progress)
    return Fused(flat.state(), metrics, history)


class OfTeachers(PlainObjective):
    """Loss of a batch with the averaged predictions of `teachers` as targets, networks in eval mode.

    Of classes this is the mean cross-entropy with their averaged softmax outputs: see `Task.loss_to`.
    """

    def __init__(
        self,
        workspace: "Workspace",
        flat: FlatNetwork,
        recipe: Recipe,
        teachers: list[FlatNetwork],
        progress: Progress,
    ) -> None:
        super().__init__(workspace, flat, recipe, progress)
        self.teachers = teachers

    def loss(self, logits: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Loss to the teachers' mean; labels say only where there is something to predict, and by class weights what.

        The weight of an example is that of its label's class.
        """
        with torch.no_grad(), autocast(self.workspace.device, self.workspace.precision):
            outputs = [
                prediction_rows(each.network(inputs), labels, logits.shape[1], "distillation")[0]
                for each in self.teachers
            ]
        weights = None if self.class_weights is None else self.class_weights[labels]
        how: dict[str, Any] = {"label_smoothing": self.label_smoothing, "weights": weights}
        return self.task.loss_to(logits, [each.float() for each in outputs], **how)


def _start(fusing: Fusing) -> Mapping[str, Tensor]:
    """The state dict that the student begins at, the same on all ranks."""
    if fusing.fusion.init is not None:
        return fusing.fusion.init.tensors
    _ = fusing.together  # by all ranks at once
    return distributed.by_writer(fusing.mean)  # processors may round differently


def _teachers(fusing: Fusing) -> list[FlatNetwork]:
    """A network for each source, as it is in the ensemble."""
    teachers = []
    for source in fusing.sources:
        flat = fusing.workspace.network()
        flat.load(source.fresh_tensors())
        final_statistics_(flat, fusing.workspace, fusing.progress)
        flat.network.eval()
        teachers.append(flat)
    return teachers
