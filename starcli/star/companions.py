"""Companions: networks that a search for a star trains in short itself, as further sources.

Of few sources a star learns the lines to these, and not those to other solutions. So the epochs E of a search are
shared: N companions have e = floor(E / 2N) epochs each, by the recipe of the star, and the star has the E - N e epochs
that are left, with the companions among its sources. That is as many steps as without them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.errors import StarcliError, number_of
from starcli.files.state import StateFile
from starcli.recipes.recipe import Recipe
from starcli.runtime import distributed
from starcli.runtime.progress import Progress
from starcli.star.source_bank import Source
from starcli.training.seeds import substream
from starcli.training.train import train_network

if TYPE_CHECKING:
    from starcli.star.settings import StarSettings
    from starcli.workspace.workspace import Workspace


def shared_epochs(epochs: int, companions: int) -> tuple[int, int]:
    """Epochs of each companion, and of the star beside them. StarcliError where a companion would have none.

    >>> shared_epochs(100, 12), shared_epochs(25, 0)
    ((4, 52), (0, 25))
    """
    each = epochs // (2 * companions) if companions else 0
    if companions and not each:
        raise StarcliError(
            f"{companions} companions share half of the epochs: there must be {2 * companions}, found {epochs}"
        )
    return each, epochs - companions * each


class StageState(StateFile):
    """State of one stage of a run, within the state of the whole run: beside it lies what earlier stages made."""

    def __init__(self, whole: StateFile, made: list[Mapping[str, Tensor]]) -> None:
        """`made`: the companions that are trained; the stage is that of the next one, or of the star."""
        self.whole, self.made = whole, tuple(made)
        self.path, self.save_every = whole.path, whole.save_every

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state of the whole run."""
        self.whole.save({"companions": [dict(each) for each in self.made], "stage": dict(state)})

    def mark_diverged(self) -> None:
        """Mark the saved state of the whole run."""
        self.whole.mark_diverged()

    def load(self) -> dict[str, Any] | None:
        """The saved state of this stage; None where that is of another one."""
        saved = self.whole.load()
        if saved is None or len(saved["companions"]) != len(self.made):
            return None
        return dict(saved["stage"])


def train_companions(
    workspace: "Workspace",
    recipe: Recipe,
    settings: "StarSettings",
    seed: int,
    *,
    state: StateFile | None,
    progress: Progress,
) -> tuple[list[Source], StateFile | None]:
    """The companions of a star that is to be trained by `recipe`, and the state that the star goes on with.

    They are held in memory. Saving and resuming are those of `train_network`; those that were finished are not trained
    again. Their batches are cut into pieces as the star's are, so that they are the same on any number of ranks.
    """
    count = settings.companions
    if not count:
        return [], state
    epochs, left = shared_epochs(recipe.epochs, count)
    saved = None if state is None else distributed.by_writer(state.load)
    made: list[Mapping[str, Tensor]] = [] if saved is None else list(saved["companions"])
    losses = []
    for number in range(len(made), count):
        trained = train_network(
            workspace,
            recipe.lasting(epochs),
            substream(seed, "companion", number),
            state=None if state is None else StageState(state, made),
            pieces=settings.pieces(recipe),
            sync_batchnorm=settings.sync_batchnorm,
            task=f"companion {number + 1} of {count}",
            progress=_Unlogged(progress),
        )
        made.append(trained.tensors)
        losses.append(trained.metrics["train"]["loss"])
    if losses:
        long = number_of(epochs, "epoch")
        progress.note(f"companions trained for {long}: training loss up to {max(losses):.2f}; {left} left for the star")
    sources = [Source(f"companion {number + 1}", each.copy) for number, each in enumerate(map(dict, made))]
    return sources, None if state is None else StageState(state, made)


class _Unlogged(Progress):
    """Progress of a part of a run, whose rows are not those of the run's log."""

    def __init__(self, whole: Progress) -> None:
        self.whole = whole

    @property
    def stop_signal(self) -> int:  # type: ignore[override]
        """That of the whole."""
        return self.whole.stop_signal

    def start(self, task: str, total: int) -> None:
        """As of the whole."""
        self.whole.start(task, total)

    def step(self, count: int = 1, **figures: float) -> None:
        """As of the whole."""
        self.whole.step(count, **figures)

    def finish(self) -> None:
        """As of the whole."""
        self.whole.finish()

    def note(self, text: str) -> None:
        """As of the whole."""
        self.whole.note(text)
