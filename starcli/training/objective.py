"""Interface between the training loop and what it minimises."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from starcli.evaluation.tasks.task import Task

Row = dict[str, Any]
"""Line of the log: an epoch's figures."""


class Objective(Protocol):
    """Function of `vector` (P,) that a run minimises; `step` adds to its gradient by each of `parts`.

    `parts` are views of the vector, in the shapes of the network's parameters. Gradients are taken by reference, as
    backward made them: gathering them into one vector costs an MLP's step 13% more (measured).
    """

    task: Task
    vector: Tensor
    parts: Sequence[Tensor]
    passes: int
    """Backward passes of a `step`."""

    def watched(self) -> Sequence[Tensor]:
        """Tensors where backward passes leave `gradients()`; none where these must not be sent before all is done."""

    def buffers(self) -> Sequence[Tensor]:
        """Tensors that training changes beside the vector: running statistics."""

    def clear(self) -> None:
        """Forget the gradients of the step before."""

    def gradients(self) -> Sequence[Tensor | None]:
        """Gradient by each part; None for one that the loss does not depend on."""

    def take(self, gradients: Sequence[Tensor | None]) -> None:
        """Replace the step's gradients by those summed over the ranks."""

    def begin_epoch(self, epoch: int) -> Row:
        """Prepare an epoch (a resumed one included) and return figures for its row."""

    def step(
        self, inputs: Tensor, labels: Tensor, epoch: int, step: int, number: int = 0, weight: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Add `weight` times the gradient of piece `number` of a batch; return its mean loss and number of correct.

        That number is 0 where the task does not count. The mean is over predictions: examples, or the tokens that have
        a next one.
        """

    def clip(self, largest: float) -> None:
        """Scale the gradients where their L2 norm is above `largest`. Pascanu et al. 2013."""

    def end_epoch(self, epoch: int) -> Row:
        """Figures at the end of the epoch, for its row."""

    def describe(self, epoch: int, step: int) -> str:
        """Circumstances of a step, for the error about a loss that is not finite; may be empty."""

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs beside vector and optimiser: plain data and tensors."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
