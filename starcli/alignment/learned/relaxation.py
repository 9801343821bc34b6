"""Interface of a symmetry that a learner moves: it has a gradient."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry

Reached = TypeVar("Reached", bound=Symmetry, covariant=True)


class Moving(Protocol[Reached]):
    """Symmetry of one model that follows gradients, and so has something in it that is continuous."""

    def weights(self) -> Tensor:
        """The model's learnable parameters under what is reached, a vector (P,) of float32 (`ParameterLayout`)."""

    def follow(self, gradients: Tensor) -> None:
        """Take one step down the gradients (P,) of a loss by `weights()`."""

    def symmetry(self) -> Reached:
        """The symmetry that is nearest to what is reached."""

    def hard_weights(self) -> Tensor:
        """The model's parameters (P,) under `symmetry()`, up to rounding."""


class Relaxation(Moving[Permutation], Protocol):
    """Permutation of one model that follows gradients."""

    round_steps: ClassVar[int]
    """Steps after which it is better begun anew, at the best permutation that was met."""

    def __init__(
        self,
        spec: Resolved,
        model: Mapping[str, Tensor],
        start: Permutation,
        steps: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """Begin at `start`, on a device of its own; `steps` steps are to be taken, no more than `round_steps`."""


JUDGED_EVERY = 10
"""Steps between two judgements of permutations; one costs as much as one to three steps."""

Sought = TypeVar("Sought", bound=Symmetry)


class Mover(Protocol[Sought]):
    """Moves a symmetry of one model in rounds of steps."""

    def begin(self, start: Sought, steps: int) -> Moving[Sought]:
        """Begin the next `steps` steps at `start`."""

    @property
    def judged_every(self) -> int:
        """Steps between two judgements in the round that was begun."""

    def state(self) -> dict[str, Tensor]:
        """Copies of the state that the next round begins with."""

    def resume(self, done: int, state: Mapping[str, Tensor]) -> None:
        """Go on after `done` steps from a `state`."""
