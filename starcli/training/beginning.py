"""The beginning of training in place of random weights: those of a model, all or but for some tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError, number_of
from starcli.models.flat_network import FlatNetwork
from starcli.models.tensor_names import with_own_values
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import Progress


@dataclass(frozen=True)
class Beginning:
    """A model to train on, so that networks of several seeds begin at one point (fine-tunings, branches of one run).

    model: its weights and buffers, as its network has them.
    reinit: patterns of names of tensors that are drawn from the seed all the same.
    start_epoch: epochs of the recipe that are behind it: rate, order of the data and draws are those of the next ones.
        A branch of a run is such a beginning (Frankle et al. 2020, "Linear Mode Connectivity and the Lottery Ticket
        Hypothesis"); the optimiser begins without momentum.
    """

    model: Checkpoint
    reinit: Sequence[str] = ()
    start_epoch: int = 0

    def check(self, recipe: Recipe, watcher: Progress) -> None:
        """Raise StarcliError where nothing of the recipe is left; a note where its schedule begins anew on the way."""
        if not 0 <= self.start_epoch < recipe.epochs:
            last = recipe.epochs - 1
            raise StarcliError(f"start epoch {self.start_epoch}: expected 0 to {last} of {recipe.epochs} epochs")
        done = ((self.model.metadata.recipe or {}).get("train") or {}).get("after_epoch")
        if done is not None and not self.start_epoch:
            behind = f"{self.model.name} has {number_of(done, 'epoch')} of its training behind it"
            watcher.note(f"{behind}, and the schedule begins anew; --start-epoch {done} goes on with it")

    def put(self, flat: FlatNetwork) -> None:
        """Put the model into a network whose weights are drawn from a seed."""
        flat.load(with_own_values(flat.network, self.model.fresh_tensors(), self.reinit))

    def settings(self) -> dict[str, Any]:
        """Settings that a plan records beside the model, which is a parent."""
        start = {"start_epoch": self.start_epoch} if self.start_epoch else {}
        return start | ({"reinit": list(self.reinit)} if self.reinit else {})
