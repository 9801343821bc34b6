"""What a learner moves: a symmetry of a model that has a gradient."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, TypeVar

from torch import Tensor

from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.element import Symmetry
from starcli.symmetry.permutation import Permutation

Reached = TypeVar("Reached", bound=Symmetry, covariant=True)


class Moving(Protocol[Reached]):
    """Symmetry of one model that follows gradients, and so has something in it that is continuous."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Learnable parameters of the model (`spec.learnable()`) under what is reached, float32."""

    def follow(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step down the gradients of a loss by each of `tensors()`."""

    def symmetry(self) -> Reached:
        """The symmetry that is nearest to what is reached."""


class Relaxation(Moving[Permutation], Protocol):
    """Permutation of one model that follows gradients."""

    round_steps: ClassVar[int]
    """Steps after which it is better begun anew, at the best permutation that was met."""

    def __init__(self, spec: Resolved, model: Mapping[str, Tensor], start: Permutation, steps: int, seed: int) -> None:
        """Begin at `start`; `steps` steps are to be taken, no more than `round_steps`."""
