"""A symmetry that learns on the loss between two models, on the training split.

    minimise over pi   L((A + pi(B)) / 2)

by gradients on mini-batches, with BatchNorm on the statistics of the batch; an element of all kinds of symmetries
learns on L((1 - t) A + t pi(B)), t anywhere between in every other step. What steps come by is judged by the same
loss half way on examples that no step sees. At last the best and the start are measured as midpoints are
(`MidpointJudge`): learning never ends worse than it began, by that measure.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic

import torch
from torch import Tensor

from starcli.alignment.learned.lesson import Lesson
from starcli.alignment.learned.line_network import LineNetwork
from starcli.alignment.learned.moving_element import MovingElement
from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.alignment.learned.relaxation import JUDGED_EVERY, Mover, Relaxation, Sought
from starcli.alignment.matching.problem import costs_device
from starcli.alignment.midpoint import JUDGED, MidpointJudge
from starcli.errors import StarcliError
from starcli.runtime.backward import Backward
from starcli.runtime.progress import Interrupted
from starcli.runtime.rehearsal import few_if_rehearsed
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry, read_like, units_of

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

BATCH = 256
"""Training examples in a step."""
STEP_TOKENS = 4096
"""Tokens in a step, where examples are texts; of these there are fewer to judge on, too."""


@dataclass(frozen=True)
class Learned(Generic[Sought]):
    """Symmetry that was learned, and the loss half way to the reference on examples that no step sees."""

    symmetry: Sought
    midpoint_loss: float


class Learner:
    """Learns symmetries of models of one workspace, their permutations by one relaxation of permutations."""

    def __init__(self, workspace: "Workspace", relax: type[Relaxation]) -> None:
        """Set examples apart to judge on: `JUDGED` of the training split, at most half. StarcliError for fewer than 4.

        Steps take all the others.
        """
        count = len(workspace.dataset.train)
        if count < 4:
            raise StarcliError(f"an alignment learns on 4 training examples or more, found {count}")
        self.workspace, self.relax = workspace, relax
        self._batch = _batch(workspace)
        self.judge = MidpointJudge(workspace, examples=min(JUDGED * self._batch // BATCH, count // 2))
        unseen = torch.ones(count, dtype=torch.bool)
        unseen[self.judge.rows] = False
        self._rows = unseen.nonzero().squeeze(1)
        self._flat = workspace.network()
        self._backward: Backward | None = None

    def learn(self, lesson: Lesson, start: Permutation) -> Learned[Permutation]:
        """The best permutation that steps from `start` come by, each round of them from the best so far.

        That is `start` where there are no units to rename. StarcliError where the models differ in buffers of which
        there is none between them, Interrupted where a stop is asked for: what was reached at the beginning of the last
        round is kept.
        """
        renaming = _Renaming(self.relax, start.spec, lesson, self._costs_device(start.spec))
        return self._best(lesson, start, renaming, line=False)

    def learn_element(self, lesson: Lesson, kinds: Kinds) -> Learned[Element]:
        """The best element of `kinds`, from the one that does nothing on; both models are in their normal forms.

        Steps are taken half way and anywhere between the models in turns. Otherwise as `learn`.
        """
        moving = MovingElement(kinds, lesson, self.relax, self.workspace.device, self._costs_device(kinds.spec))
        return self._best(lesson, Element.identity(kinds), moving, line=True)

    def _best(self, lesson: Lesson, start: Sought, mover: Mover[Sought], *, line: bool) -> Learned[Sought]:
        """The best that is met in rounds of steps, half way (`line`: and elsewhere) between the models."""
        steps, progress = lesson.steps, lesson.progress
        if not units_of(start).spec.groups:
            progress.step(steps)
            return self._measured(lesson, start)
        layout = ParameterLayout(units_of(start).spec)
        begun = start.apply(lesson.model)
        self._backward = self._backward or Backward(lesson.progress)  # what cannot be the same twice is said once
        between = LineNetwork(self.workspace, self._flat, lesson.reference, begun, layout, self._backward)
        places = _places(steps, lesson.seed) if line else [0.5] * steps
        most = self.relax.round_steps

        def judged(found: Sought, weights: Tensor) -> Learned[Sought]:
            return Learned(found, between.loss(weights, self.judge.batches, progress=progress))

        with between.learning(), _kept_when_stopped(lesson):
            best, done = _resumed(lesson, start, mover) or (judged(start, layout.vector(begun)), 0)
            progress.step(done, midpoint=best.midpoint_loss)
            examples = iter(zip(self._batches(steps, lesson.seed, done), places[done:], strict=True))
            rounds = [min(most, steps - first) for first in range(done, steps, most)]
            for count in few_if_rehearsed(rounds, len(rounds)):
                lesson.keeper.reached(_state(best, mover, done))
                moving, last = mover.begin(best.symmetry, count), best.symmetry
                for step, ((inputs, labels), t) in enumerate(islice(examples, count), 1):
                    progress.stop_if_asked()
                    moving.follow(between.gradients(moving.weights(), inputs, labels, t))
                    judges = step % mover.judged_every == 0 or step == count
                    if judges and _moved(found := moving.symmetry(), last):
                        last, best = found, min(best, judged(found, moving.hard_weights()), key=_loss)
                    progress.step(1, midpoint=best.midpoint_loss)
                done += count
        ends = [start] if best.symmetry is start else [start, best.symmetry]
        return min((self._measured(lesson, each) for each in ends), key=_loss)

    def _measured(self, lesson: Lesson, symmetry: Sought) -> Learned[Sought]:
        """A symmetry and the loss half way under it."""
        loss = self.judge.loss(lesson.reference, symmetry.apply(lesson.model), progress=lesson.progress)
        return Learned(symmetry, loss)

    def _costs_device(self, spec: Resolved) -> torch.device:
        """Where permutations move."""
        return costs_device(spec, self.workspace.device, self.workspace.precision)

    def _batches(self, steps: int, seed: int, done: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of as many steps but for those `done`, every pass in an order of its own, all of one size."""
        generator = torch.Generator().manual_seed(seed)
        size = min(self._batch, len(self._rows))
        each = len(self._rows) // size * size
        passes = -(-steps * size // each)
        rows = torch.cat([torch.randperm(len(self._rows), generator=generator)[:each] for _ in range(passes)])
        return self.workspace.dataset.train.batches(
            size, order=self._rows[rows[done * size : steps * size]], device=self.workspace.device, channels_last=True
        )


def _batch(workspace: "Workspace") -> int:
    """Training examples in a step."""
    if workspace.dataset.vocab_size is None:
        return BATCH
    return max(1, min(BATCH, STEP_TOKENS // math.prod(workspace.architecture.input_shape)))


def _loss(learned: Learned[Any]) -> float:
    return learned.midpoint_loss


def _resumed(lesson: Lesson, start: Sought, mover: Mover[Sought]) -> tuple[Learned[Sought], int] | None:
    """The best that was kept of a stopped lesson and the number of steps that led to it, or None."""
    state = lesson.keeper.load()
    if state is None:
        return None
    done = int(state["done"])
    mover.resume(done, _part(state, "moving"))
    return Learned(read_like(start, _part(state, "best")), float(state["loss"])), done


def _places(steps: int, seed: int) -> list[float]:
    """Places between the models, one for each step: anywhere and half way, in turns."""
    anywhere = torch.rand(steps, generator=torch.Generator().manual_seed(seed)).tolist()
    return [0.5 if step % 2 else t for step, t in enumerate(anywhere)]


def _moved(found: Symmetry, last: Symmetry) -> bool:
    """Whether there is something new to judge; what is continuous always moves."""
    return isinstance(found, Element) or bool(found.moved(units_of(last)))


@dataclass(frozen=True)
class _Renaming:
    """Permutations, of which each round is a relaxation of its own."""

    relax: type[Relaxation]
    spec: Resolved
    lesson: Lesson
    device: torch.device
    judged_every: int = JUDGED_EVERY

    def begin(self, start: Permutation, steps: int) -> Relaxation:
        return self.relax(self.spec, self.lesson.model, start, steps, self.lesson.seed, self.device)

    def state(self) -> dict[str, Tensor]:
        return {}

    def resume(self, done: int, state: Mapping[str, Tensor]) -> None:
        pass


def _state(best: Learned[Any], mover: Mover[Any], done: int) -> dict[str, Tensor]:
    """What the rest of a lesson depends on, at the beginning of a round."""
    parts = {"best": best.symmetry.to_tensors(), "moving": mover.state()}
    named = {f"{part}.{name}": tensor for part, each in parts.items() for name, tensor in each.items()}
    return named | {"done": torch.tensor(done), "loss": torch.tensor(best.midpoint_loss, dtype=torch.float64)}


def _part(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """One part of a state, by the names that it has there."""
    return {name.removeprefix(f"{part}."): each for name, each in state.items() if name.startswith(f"{part}.")}


@contextmanager
def _kept_when_stopped(lesson: Lesson) -> Iterator[None]:
    """Context in which what was reached is kept where a stop is asked for."""
    try:
        yield
    except Interrupted:
        lesson.keeper.save()
        raise
