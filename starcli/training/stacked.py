"""Stacked training: many small networks at once, each operator working on all of their weights in one call.

A step of a small MLP is mostly the price of calling operators; stacked, 100 networks share it. Each network has the
first weights, the order of the data and the augmentation that it has alone; sums are taken in another order than alone,
so that the results agree up to rounding and not to the bit. Stacking is therefore asked for, and recorded.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from starcli.errors import StarcliError
from starcli.files.state import StateFile
from starcli.recipes.recipe import Recipe
from starcli.registry.tasks import CLASSES
from starcli.runtime.progress import SILENT, Progress
from starcli.training.batch_pieces import cut_batch
from starcli.training.beginning import Beginning
from starcli.training.epoch_batches import Batch
from starcli.training.objective import Row
from starcli.training.run import TrainingRun
from starcli.training.seeds import generator, substream
from starcli.training.stacked_objective import StackedObjective
from starcli.training.train import Trained, final_metrics

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


class StackedRun(TrainingRun):
    """Training run whose batches are those of all seeds: inputs (K, B, ...)."""

    seeds: Sequence[int] = ()

    def _batches(self) -> Iterator[Batch]:
        """Batches of all networks, each as one piece."""
        [whole] = cut_batch(self.recipe.batch_size, 1)
        for inputs, labels in self._inputs():
            yield [(inputs, labels, whole)]

    def _inputs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs (K, B, ...) and labels (K, B) of the epoch's remaining steps."""
        position, size, count = self.position, self.recipe.batch_size, len(self.seeds)
        length = min(position.steps * size, len(self.split))
        orders = torch.stack(
            [torch.randperm(len(self.split), generator=generator(seed, "order", position.epoch)) for seed in self.seeds]
        )[:, position.step * size : length]
        if not self.augmentation:
            # one gather for all networks: a step's examples of all seeds one after the other
            blocks = [orders[:, start : start + size].flatten() for start in range(0, orders.shape[1], size)]
            order = torch.cat(blocks) if blocks else orders.flatten()
            for inputs, labels in self.split.batches(count * size, order=order, device=self.device):
                yield inputs.view(count, -1, *inputs.shape[1:]), labels.view(count, -1)
            return
        generators = [torch.Generator() for _ in self.seeds]
        iterators = [
            self.split.batches(
                size, order=order, augmentation=self.augmentation, generator=augmenting, device=self.device
            )
            for order, augmenting in zip(orders, generators, strict=True)
        ]
        for _ in range(position.step, position.steps):
            for seed, augmenting in zip(self.seeds, generators, strict=True):
                augmenting.manual_seed(substream(seed, "augment", position.epoch, position.step))
            batches = [next(iterator) for iterator in iterators]
            yield torch.stack([inputs for inputs, _ in batches]), torch.stack([labels for _, labels in batches])


def train_stacked(
    workspace: "Workspace",
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    beginning: Beginning | None = None,
    state: StateFile | None = None,
    progress: Progress = SILENT,
) -> list[Trained]:
    """`train_network` for several seeds at once, equal up to rounding; one state for all of them.

    Raises StarcliError for a network with dropout, whose draws could not be those of each seed alone, and where the
    recipe compiles.
    """
    if recipe.compile:
        raise StarcliError("--compile and --stacked do not go together: stacked steps are not compiled")
    if workspace.dataset.task != CLASSES:
        task = workspace.dataset.task
        raise StarcliError(f"only networks that predict classes are trained stacked, not {task}: leave out --stacked")
    flat = workspace.network()
    if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in flat.network.modules()):
        raise StarcliError("networks with dropout are not trained stacked: each seed has to draw its own")
    stack = StackedObjective(workspace, flat, recipe, seeds, progress, beginning=beginning)
    run = StackedRun(
        stack,
        workspace.dataset,
        recipe,
        seeds[0],
        task=f"training {len(seeds)} seeds",
        state=state,
        start_epoch=beginning.start_epoch if beginning else 0,
        progress=progress,
    )
    run.seeds = tuple(seeds)
    rows = run.run()
    trained = []
    with run.saving_when_stopped():
        for number in range(len(seeds)):
            stack.load(number)
            metrics = final_metrics(flat, workspace, progress)
            trained.append(Trained(flat.state(), metrics, [_row_of(row, number) for row in rows]))
    return trained


LISTS = {
    "losses": "loss",
    "accuracies": "accuracy",
    "validation_loss": "validation_loss",
    "validation_accuracy": "validation_accuracy",
}
"""Lists in a stack's row, one value a network, and the name of each value in the network's own row."""


def _row_of(row: Row, number: int) -> Row:
    """Row of one network, as `train_network` would have logged it."""
    own = {key: value for key, value in row.items() if key not in LISTS}
    return own | {name: row[key][number] for key, name in LISTS.items() if key in row}
