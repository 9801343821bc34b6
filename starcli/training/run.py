"""Training loop, shared by plain and star training: batches, rate, optimiser, progress, saving and resuming.

What is optimised, and how a batch gives its gradient, is an `Objective`. Everything random is drawn by counter (see
`seeds`), so a state holds no generator: vector, optimiser, what the objective adds, and the position in the run.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch

from starcli.data.dataset import Dataset
from starcli.errors import StarcliError
from starcli.files.state import StateFile
from starcli.recipes.recipe import Recipe
from starcli.runtime import distributed
from starcli.runtime.progress import HOW_TO_GO_ON, SILENT, Interrupted, Progress
from starcli.runtime.rehearsal import few_if_rehearsed, once_if_rehearsed, present_rehearsal
from starcli.runtime.saving_times import SavingTimes
from starcli.training.epoch_batches import Batch, EpochBatches
from starcli.training.exchange import Exchange
from starcli.training.objective import Objective, Row
from starcli.training.optimizer import build_optimizer
from starcli.training.schedule import learning_rate
from starcli.training.seeds import SeededSteps, generators_restored, substream

CHECK_EVERY = 50
"""Steps between checks of the loss on a device that computes ahead; on a CPU each step is checked."""


@dataclass
class Position:
    """Position in a run: `step` of `steps` steps of epoch `epoch` are done; `figures` are of its beginning."""

    steps: int
    epoch: int = 0
    step: int = 0
    history: list[Row] = field(default_factory=list)
    figures: Row = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Plain data, without the number of steps."""
        return {"epoch": self.epoch, "step": self.step, "history": self.history, "figures": self.figures}


class TrainingRun:
    """Run of `objective` over the training split by `recipe`, from the start or from the saved state.

    Its augmentations are those of the recipe, or where it names none, the data set's own.
    """

    def __init__(
        self,
        objective: Objective,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        *,
        task: str = "training",
        state: StateFile | None = None,
        start_epoch: int = 0,
        pieces: int = 1,
        after_epoch: Callable[[int], None] | None = None,
        resumed: Callable[[int], None] | None = None,
        progress: Progress = SILENT,
    ) -> None:
        """Prepare the run; nothing is computed yet.

        seed: of order, augmentation and dropout.
        state: where the run is saved, and how often.
        start_epoch: epochs of the recipe that are left out.
        pieces: number of pieces that each batch is cut into, each with its own draws; ranks share them.
        after_epoch: called with the number of epochs that are done, before a state is saved that is beyond them; at the
            beginning, too.
        resumed: called with the number of epochs that a saved state has behind it, from which the run goes on.
        """
        if len(dataset.train) == 0:
            raise StarcliError("the training split is empty")
        self.objective, self.split, self.recipe, self.seed, self.task = objective, dataset.train, recipe, seed, task
        self.augmentation = dataset.augmentation if recipe.augmentation is None else recipe.augmentation
        self.file, self.after_epoch, self.resumed, self.progress = state, after_epoch, resumed, progress
        self.save_every = None if state is None else state.save_every
        self.device = objective.vector.device
        self.optimizer = build_optimizer(recipe, objective.parts)
        self.batches = EpochBatches(self.split, recipe, seed, self.augmentation, pieces, self.device)
        self.position = Position(len(self.batches.sizes), start_epoch)
        self.losses = torch.zeros(self.position.steps, dtype=torch.float32, device=self.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.checked = 0
        self.times = SavingTimes(self.save_every)
        self.exchange: Exchange | None = None
        self.seeding = SeededSteps(self.device)

    def run(self) -> list[Row]:
        """Train all epochs and return their rows. Raises `Interrupted`, after saving, where a stop is asked for."""
        self._resume()
        self.progress.start(self.task, self.recipe.epochs * self.position.steps)
        self.progress.step(self.position.epoch * self.position.steps + self.position.step)
        with self._exchanging(), generators_restored(self.device):  # each step seeds it for dropout
            while self.position.epoch < self.recipe.epochs:
                self._epoch()
        if present_rehearsal() is not None:
            self._save()  # tells how large a state is
        self.progress.finish()
        return self.position.history

    @contextmanager
    def _exchanging(self) -> Iterator[None]:
        """Context in which ranks, where there are several, share each step."""
        if distributed.size() == 1:
            yield
            return
        self.exchange = Exchange(self.objective.parts, self.objective.buffers())
        with self.exchange.watching(self.objective.watched()):
            yield

    def _epoch(self) -> None:
        """Train the rest of the present epoch."""
        position = self.position
        with self.saving_when_stopped():
            begun = self.objective.begin_epoch(position.epoch)
        if position.step == 0:
            position.figures = begun
        left = position.steps - position.step
        what = f"steps of {self.recipe.batch_size} examples"
        once_if_rehearsed(what, self._steps, count=left, of=self.task)
        self._check()
        self._end_epoch()

    def _steps(self) -> None:
        """Take the remaining steps of the present epoch."""
        for batch in few_if_rehearsed(self._batches(), self.position.steps - self.position.step):
            if self._step(batch):
                self._stop()
            if self.save_every is not None and self.times.due():
                self._save()

    def _batches(self) -> Iterator[Batch]:
        """Remaining batches of the epoch."""
        return self.batches.of_epoch(self.position.epoch, self.position.step)

    def _step(self, batch: Batch) -> bool:
        """Take one step of the optimiser; return whether a stop is asked for, of any rank."""
        position, objective = self.position, self.objective
        step = position.epoch * position.steps + position.step
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.recipe, step, position.steps)
        objective.clear()
        if self.exchange is not None:
            self.exchange.begin(len(batch) * objective.passes)
        losses, hits = [], []
        for inputs, labels, piece in batch:
            seed = substream(self.seed, "dropout", position.epoch, position.step, *piece.place)
            with self.seeding.seeded(seed):
                mean, found = objective.step(inputs, labels, position.epoch, position.step, piece.number, piece.weight)
            losses.append(piece.weight * mean)
            hits.append(found if piece.weight else torch.zeros_like(found))
        loss, correct = (reduce(torch.add, each) for each in (losses, hits))
        stop = bool(self.progress.stop_signal)
        if self.exchange is not None:
            share = sum(piece.weight for _, _, piece in batch)
            shared = self.exchange(objective.gradients(), loss, correct, self.progress.stop_signal, share)
            objective.take(shared.gradients)
            loss, correct, stop = shared.loss, shared.correct, shared.stop
        if self.recipe.clip > 0:
            objective.clip(self.recipe.clip)
        for part, gradient in zip(objective.parts, objective.gradients(), strict=True):
            part.grad = gradient
        self.losses[position.step] = loss
        self.correct += correct
        position.step += 1
        if self.device.type == "cpu" or position.step - self.checked >= CHECK_EVERY:
            self._check()
        self.optimizer.step()
        self.progress.step(1)
        return stop or (self.exchange is None and bool(self.progress.stop_signal))

    def _check(self) -> None:
        """Check the losses since the last check; the first that is not finite ends the run with a StarcliError."""
        position = self.position
        recent = self.losses[self.checked : position.step].tolist()
        for step, loss in enumerate(recent, self.checked):
            if not math.isfinite(loss):
                if self.file is not None and distributed.is_writer():
                    self.file.mark_diverged()
                how = self.objective.describe(position.epoch, step)
                number = position.epoch * position.steps + step + 1
                raise StarcliError(
                    f"{self.task}: the loss became {loss} in step {number} (epoch {position.epoch + 1})" + how,
                    ["a lower --lr, a --warmup or --clip 1 may help"],
                )
        self.checked = position.step

    def _end_epoch(self) -> None:
        """Log the epoch's figures and move on to the next."""
        position = self.position
        totals = torch.tensor(self.batches.totals, dtype=torch.float64)
        predictions = sum(self.batches.totals if self.split.per_token else self.batches.sizes)
        row: Row = {
            "epoch": position.epoch + 1,
            "loss": float(self.losses.cpu().double() @ totals / totals.sum()),
            **({"accuracy": int(self.correct) / predictions} if self.objective.task.counts else {}),
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        row |= position.figures | self.objective.end_epoch(position.epoch)
        position.history.append(row)
        position.epoch, position.step, position.figures = position.epoch + 1, 0, {}
        self.correct.zero_()
        self.checked = 0
        self.progress.record(row)
        if self.after_epoch is not None:
            self.after_epoch(position.epoch)
        if self.save_every is None and self.times.due():
            self._save()

    # -- stopping and going on ----------------------------------------------------------------------------------------

    @contextmanager
    def saving_when_stopped(self) -> Iterator[None]:
        """Context for work beside the steps that may be interrupted: the run so far is saved then."""
        try:
            yield
        except Interrupted as stop:
            self._save()
            raise Interrupted(stop.signal, self._how_to_go_on) from None

    def _stop(self) -> None:
        """Save and raise Interrupted."""
        self._save()
        raise Interrupted(distributed.maximum(self.progress.stop_signal), self._how_to_go_on)

    @property
    def _how_to_go_on(self) -> str:
        """What is said to who stopped the run: nothing where it has no file, or is a rehearsal."""
        return "" if self.file is None or present_rehearsal() is not None else HOW_TO_GO_ON

    def _save(self) -> None:
        """Save the state, on rank 0. StarcliError for one after a loss that is not finite."""
        self._check()
        with self.times.saving():
            if self.file is not None and distributed.is_writer():
                self.file.save(self._state())

    def _state(self) -> dict[str, Any]:
        """What a run needs to go on."""
        return {
            "vector": self.objective.vector,
            "optimizer": self.optimizer.state_dict(),
            "objective": self.objective.state(),
            "position": self.position.state(),
            "losses": self.losses[: self.position.step].tolist(),
            "correct": int(self.correct),
        }

    def _resume(self) -> None:
        """Load the saved state, if there is one."""
        state = None if self.file is None else distributed.by_writer(self.file.load)
        if state is None:
            if self.after_epoch is not None:
                self.after_epoch(self.position.epoch)
            return
        with torch.no_grad():
            self.objective.vector.copy_(state["vector"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.objective.load_state(state["objective"])
        position = state["position"]
        self.position = Position(self.position.steps, **position)
        if self.file is not None and (rehearsal := present_rehearsal()) is not None:
            here = self.position
            rehearsal.found[self.file.path] = f"goes on in epoch {here.epoch + 1}, step {here.step + 1}"
        self.checked = self.position.step
        self.losses[: self.checked] = torch.tensor(state["losses"], dtype=self.losses.dtype)
        self.correct.fill_(state["correct"])
        if self.resumed is not None:
            self.resumed(self.position.epoch)
