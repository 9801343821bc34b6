"""An element of the whole symmetry group that follows gradients: a permutation P of units, then continuous factors F.

The factors move by their own gradients (`continuous_motion`) in all steps. The permutation follows latent weights
(`straight_through`), which take the gradients by P(B), in rounds of the first half of the steps; each round begins at
the best element so far. Then P stays, and only F moves. Units that rotate or are acted on by matrices have no
permutation of their own to follow: their matrices hold it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from starcli.alignment.learned.continuous_motion import ContinuousMotion
from starcli.alignment.learned.lesson import Lesson
from starcli.alignment.learned.parameter_layout import learnable_floats
from starcli.alignment.learned.relaxation import JUDGED_EVERY, Relaxation
from starcli.symmetry.archspec.held import held
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.permutation import Permutation

MOVING_UNITS = 0.5
"""Share of the steps in which units change places: what is continuous needs time to follow the last one that does."""


class MovingElement:
    """Element that moves a model, in its normal form, towards another: from where `begin` last put it."""

    def __init__(
        self, kinds: Kinds, lesson: Lesson, relax: type[Relaxation], device: torch.device, costs_device: torch.device
    ) -> None:
        """An element of `kinds` that takes the steps of `lesson` on `device`; `relax` moves its permutation."""
        self._kinds, self._lesson, self._relax = kinds, lesson, relax
        self._device, self._costs_device = device, costs_device
        rotating = {name for name, kind in kinds.groups.items() if kind.by_matrix}
        self._spec = held(kinds.spec, rotating)
        self._model = learnable_floats(self._spec, lesson.model, device)
        self._motion = ContinuousMotion(kinds, steps=lesson.steps, rate=lesson.rate, device=device)
        self._left, self._last = lesson.steps, round((1 - MOVING_UNITS) * lesson.steps)
        self._units: Relaxation | None = None

    @property
    def judged_every(self) -> int:
        """Steps between two judgements: fewer where units change places."""
        return self._relax.round_steps if self._units is None else 2 * JUDGED_EVERY

    def state(self) -> dict[str, Tensor]:
        """Copies of the state that the next round begins with."""
        return self._motion.state()

    def resume(self, done: int, state: Mapping[str, Tensor]) -> None:
        """Go on after `done` steps from a `state`."""
        self._left -= done
        self._motion.resume(done, state)

    def begin(self, start: Element, steps: int) -> "MovingElement":
        """Begin the next `steps` steps at `start`."""
        self._motion.place(start)
        self._start = Permutation(self._spec, {name: start.permutation.index[name] for name in self._spec.groups})
        moves = self._left > self._last and bool(self._spec.groups)
        how = (steps, self._lesson.seed, self._costs_device)
        self._units = self._relax(self._spec, self._model, self._start, *how) if moves else None
        self._left -= steps
        self._permuted = self._motion.layout.vector(self._start.apply(self._model))
        self._weights = self._motion.act(self._permuted)
        return self

    def weights(self) -> Tensor:
        """The model's parameters (P,) after the element has acted, on the device."""
        return self._weights

    hard_weights = weights

    def follow(self, gradients: Tensor) -> None:
        """Move the factors, and in the first half of all steps the units."""
        if self._units is not None:
            self._units.follow(self._motion.act(gradients, adjoint=True))
            self._permuted = self._units.weights().to(self._device)
        self._motion.follow(self._weights, gradients)
        self._weights = self._motion.act(self._permuted)

    def symmetry(self) -> Element:
        """The element that is reached."""
        permutation = self._start if self._units is None else self._units.symmetry()
        still = Permutation.identity(self._kinds.spec).index
        return self._motion.element(Permutation(self._kinds.spec, {**still, **permutation.index}))
