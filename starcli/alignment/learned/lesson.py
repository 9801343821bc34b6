"""A learner's task: a pair of models, a number of steps, and the place where its state is kept."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from starcli.runtime.progress import SILENT, Progress


class LessonKeeper:
    """Keeps what a lesson has reached, so that a stopped one goes on from there; this one keeps nothing."""

    def load(self) -> Mapping[str, Tensor] | None:
        """The state that was kept before, or None."""
        return None

    def reached(self, state: Mapping[str, Tensor]) -> None:
        """Take over what is reached, and keep it where the last time was long ago."""

    def save(self) -> None:
        """Keep what was reached last: the lesson is stopped."""


NOTHING_KEPT = LessonKeeper()


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A pair of models to learn on: a symmetry of `model` that lowers the loss between it and `reference`, state dicts.

    steps: how many are taken. rate: of learning, of what is continuous. seed: of all that is drawn: the same one gives
    the same symmetry. progress: counts the steps, and asks to stop.
    """

    reference: Mapping[str, Tensor]
    model: Mapping[str, Tensor]
    steps: int
    rate: float = 0.0
    seed: int = 0
    progress: Progress = SILENT
    keeper: LessonKeeper = NOTHING_KEPT
