"""Training one network by a recipe, from a seed."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from starcli.data.splits import Split
from starcli.errors import StarcliError, number_of
from starcli.evaluation.batches import outputs_per_example, scoring_batch_size
from starcli.evaluation.batchnorm_statistics import statistics_batch_size
from starcli.evaluation.evaluator import recalibrate_
from starcli.evaluation.scores import score_network
from starcli.evaluation.tasks.task import Scores, task_named
from starcli.files.state import StateFile
from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import prediction_rows, with_gradient
from starcli.models.modes import autocast
from starcli.recipes.recipe import Recipe
from starcli.runtime import distributed, sharing
from starcli.runtime.backward import Backward
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.rehearsal import once_if_rehearsed
from starcli.training.batch_pieces import cut_batch, pieces_per_step, steps_per_epoch
from starcli.training.beginning import Beginning
from starcli.training.class_weights import class_weights_of
from starcli.training.compiling import CompiledForward
from starcli.training.objective import Row
from starcli.training.run import TrainingRun
from starcli.training.sync_batchnorm import BatchNormOverRanks
from starcli.training.trial import refuse_single_examples

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True)
class Trained:
    """Trained network: its state dict, its final scores by split, and a row for each epoch."""

    tensors: Mapping[str, Tensor]
    metrics: Mapping[str, Mapping[str, float]]
    history: Sequence[Row]


Keeping = Mapping[int, Callable[[Trained], None]]
"""What is done with a network on its way: by the number of epochs that it was trained by then."""


class PlainObjective:
    """Ordinary objective: the mean loss of a batch, of classes the cross-entropy, perhaps weighted by class."""

    passes = 1

    def __init__(
        self,
        workspace: "Workspace",
        flat: FlatNetwork,
        recipe: Recipe,
        progress: Progress = SILENT,
        *,
        sync_batchnorm: bool = False,
        log_test: bool = False,
    ) -> None:
        """Minimise over the parameters of `flat`; compiled where the recipe says so.

        sync_batchnorm: take BatchNorm's statistics over all ranks, within the context `batchnorm`.
        log_test: measure the test split after each epoch, too.
        """
        self.log_test = log_test
        flat.check_trainable()
        refuse_single_examples(flat, workspace.dataset.train, recipe.batch_size)
        self.flat, self.workspace, self.progress = flat, workspace, progress
        self.vector = flat.parameters
        self.parts: Sequence[Tensor] = list(flat.views(self.vector).values())
        parameters = dict(flat.network.named_parameters())
        self.parameters = [parameters[slot.name] for slot in flat.layout]
        self.task = task_named(workspace.dataset.task)
        self.task.refuse_useless(label_smoothing=recipe.label_smoothing)
        self.label_smoothing = recipe.label_smoothing
        weights = class_weights_of(recipe, workspace.dataset)
        self.class_weights = None if weights is None else weights.float().to(flat.parameters.device)
        self.batchnorm = BatchNormOverRanks(flat.network, progress, sync=sync_batchnorm)
        self.backward = Backward(progress, compiled=recipe.compile)
        self.forward: Callable[[Tensor], Tensor] = flat.network
        if recipe.compile and self.batchnorm.sync:
            raise StarcliError("--compile: steps with --sync-batchnorm among ranks cannot be compiled")
        if recipe.compile:
            steps = recipe.epochs * steps_per_epoch(len(workspace.dataset.train), recipe.batch_size)
            self.forward = CompiledForward(flat.network, steps, progress)

    def begin_epoch(self, epoch: int) -> Row:
        """Set train mode."""
        self.flat.network.train()
        return {}

    def step(
        self, inputs: Tensor, labels: Tensor, epoch: int, step: int, number: int = 0, weight: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Forward and backward at the parameters themselves."""
        self.batchnorm.counted = weight > 0
        return self.accumulate(inputs, labels, weight)

    def buffers(self) -> Sequence[Tensor]:
        """Buffers of the network."""
        return list(self.flat.buffers.values())

    def clear(self) -> None:
        """Forget the gradients; the next backward pass makes new ones instead of adding to zeros."""
        for parameter in self.parameters:
            parameter.grad = None

    def gradients(self) -> Sequence[Tensor | None]:
        """Gradients as the backward pass left them."""
        return [parameter.grad for parameter in self.parameters]

    def watched(self) -> Sequence[Tensor]:
        """Parameters of the network; none where BatchNorm itself exchanges in the backward pass."""
        return [] if self.batchnorm.sync else self.parameters

    def take(self, gradients: Sequence[Tensor | None]) -> None:
        """Replace what the backward pass left."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def accumulate(self, inputs: Tensor, labels: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        """Add `factor` times the gradient at the network's weights; return mean loss and correct predictions (or 0)."""
        with autocast(self.workspace.device, self.workspace.precision):
            outputs = self.forward(inputs)
        rows, targets = prediction_rows(outputs, labels, self.workspace.dataset.num_classes, "training")
        logits = with_gradient(rows).float()
        loss = self.loss(logits, targets, inputs, labels)
        self.backward(factor * loss, self.clear)
        hits = (logits.detach().argmax(1) == targets).sum() if self.task.counts else torch.zeros_like(loss).long()
        return loss.detach(), hits

    def loss(self, logits: Tensor, targets: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch: the mean over its predictions `logits`, `targets` of `prediction_rows`."""
        how: dict[str, Any] = {"label_smoothing": self.label_smoothing, "class_weights": self.class_weights}
        return self.task.loss(logits, targets, **how)

    def clip(self, largest: float) -> None:
        """Scale by the norm of the whole gradient."""
        torch.nn.utils.clip_grad_norm_(self.parameters, largest)

    def end_epoch(self, epoch: int) -> Row:
        """Loss and metrics on the validation split, where there is one, and on the test split where that is asked."""
        row: Row = {}
        for name in ("validation", "test") if self.log_test else ("validation",):
            split = getattr(self.workspace.dataset, name)
            if split is not None:
                found = scores_of(self.flat, self.workspace, split)
                row |= {f"{name}_{metric}": value for metric, value in found.items()}
        return row

    def describe(self, epoch: int, step: int) -> str:
        """Nothing: a plain step has no circumstances."""
        return ""

    def state(self) -> dict[str, Any]:
        """Buffers of the network, and what its modules keep of themselves."""
        return {"buffers": self.flat.buffers | self.flat.extra_state}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        with torch.no_grad():
            for name, buffer in self.flat.buffers.items():
                buffer.copy_(state["buffers"][name])
        self.flat.set_extra_state(state["buffers"])


def train_network(
    workspace: "Workspace",
    recipe: Recipe,
    seed: int,
    *,
    beginning: Beginning | None = None,
    state: StateFile | None = None,
    pieces: int | None = None,
    sync_batchnorm: bool = False,
    log_test: bool = False,
    keep: Keeping = MappingProxyType({}),
    passed: Callable[[int], None] = lambda _: None,
    task: str | None = None,
    progress: Progress = SILENT,
) -> Trained:
    """Train the workspace's network from the initial weights of `seed`, in the data order of `seed`.

    beginning: what training begins at in place of random weights.
    state: where the run is saved as it goes, and continued from if it was: the result is the same to the bit. The
        caller removes the state once the result is safe.
    pieces: number of pieces that a batch is cut into, by default one for each rank; BatchNorm takes its statistics from
        each by itself, and keeps the running statistics of training.
    sync_batchnorm: take them over the pieces of all ranks instead, as one process does.
    log_test: log loss and accuracy on the test split, too, after each epoch; nothing is chosen by them.
    keep: what is done with the network after some of the epochs; the training after them is the same to the bit.
    passed: called with each of these epochs that a saved state is beyond, from which the run goes on.
    task: what people are told that this is.

    Raises StarcliError where the loss stops being finite, `Interrupted` after saving where a stop was asked for.
    """
    flat = workspace.network(seed)
    if beginning is not None:
        beginning.put(flat)
    objective = PlainObjective(workspace, flat, recipe, progress, sync_batchnorm=sync_batchnorm, log_test=log_test)

    def kept(epoch: int) -> None:
        if epoch in keep:  # not to be stopped: no state tells that this is still to be done
            keep[epoch](Trained(flat.state(), final_metrics(flat, workspace), tuple(run.position.history)))

    def resumed(done: int) -> None:
        for epoch in (each for each in keep if each <= done):
            passed(epoch)

    run = TrainingRun(
        objective,
        workspace.dataset,
        recipe,
        seed,
        task=task or f"training seed {seed}",
        state=state,
        start_epoch=beginning.start_epoch if beginning else 0,
        pieces=pieces_per_step(pieces, recipe.batch_size),
        after_epoch=kept,
        resumed=resumed,
        progress=progress,
    )
    with objective.batchnorm:
        history = run.run()
    with run.saving_when_stopped():
        metrics = final_metrics(flat, workspace, progress)
    return Trained(flat.state(), metrics, history)


def kept_epochs(epochs: Iterable[int], recipe: Recipe, start_epoch: int = 0) -> list[int]:
    """Epochs in order, in any form of whole numbers. StarcliError for those after which no network can be kept."""
    try:
        found = sorted({operator.index(epoch) for epoch in epochs})
    except TypeError:
        raise StarcliError(f"keep: expected epochs, such as [5, 10], found {epochs!r}") from None
    if wrong := [epoch for epoch in found if not start_epoch <= epoch < recipe.epochs]:
        raise StarcliError(
            f"keep: after epoch {wrong[0]} of {recipe.epochs}: expected {start_epoch} to {recipe.epochs - 1}",
            ["the network after the last epoch is the one that is written anyway"],
        )
    return found


def scores_of(flat: FlatNetwork, workspace: "Workspace", split: Split, progress: Progress = SILENT) -> dict[str, float]:
    """Loss and metrics over a split, in eval mode, as JSON-able numbers; the network's mode is as before.

    The ranks share the examples where metrics are means over these.
    """
    dataset, task = workspace.dataset, task_named(workspace.dataset.task)
    outputs = outputs_per_example(split, dataset.num_classes)
    batch_size = scoring_batch_size(dataset.extent, len(split), workspace.device, outputs)

    def score(part: Split) -> Scores:
        how: dict[str, Any] = {"device": workspace.device, "precision": workspace.precision, "progress": progress}
        return score_network(flat.network, part, task=task, batch_size=batch_size, **how)

    if distributed.size() == 1 or not task.counts:
        what = f"evaluation on {number_of(len(split), 'example')}"
        return once_if_rehearsed(what, lambda: distributed.by_writer(lambda: score(split))).to_dict()
    pieces = cut_batch(len(split), distributed.size())
    found = sharing.share_out(pieces, lambda own: score(split.subset(torch.arange(own.start, own.stop))))
    correct, count = sum(round(each.accuracy * each.count) for each in found), sum(each.count for each in found)
    return {"loss": math.fsum(each.loss * each.count for each in found) / count, "accuracy": correct / count}


def final_statistics_(flat: FlatNetwork, workspace: "Workspace", progress: Progress = SILENT) -> None:
    """Re-estimate what weights and data decide of a network, over the training split; see `recalibrate_`."""
    split = workspace.dataset.train
    batch_size = statistics_batch_size(workspace.dataset.extent, len(split))
    how: dict[str, Any] = {"device": workspace.device, "precision": workspace.precision, "progress": progress}
    once_if_rehearsed("statistics", lambda: recalibrate_(flat.network, split, batch_size=batch_size, **how))


def final_metrics(
    flat: FlatNetwork, workspace: "Workspace", progress: Progress = SILENT
) -> dict[str, dict[str, float]]:
    """Loss and metrics on train (without augmentation), validation where there is one, and test."""
    found = {name: scores_of(flat, workspace, split, progress) for name, split in workspace.dataset.splits.items()}
    if not math.isfinite(found["train"]["loss"]):
        progress.note("the loss on the training examples is not finite")
    return found
