"""What the training loop asks of that which is minimised."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

Row = dict[str, Any]
"""A line of the log: an epoch's figures."""


class Objective(Protocol):
    """What a run minimises over `vector` (P,); `step` adds to the gradient by each of `parts` in its `gradients`.

    `parts` are views of the vector, in the shapes of the network's parameters. Gradients are taken by reference, as
    backward made them: gathering them into one vector costs an MLP's step 13% more (measured).
    """

    vector: Tensor
    parts: Sequence[Tensor]

    def buffers(self) -> Sequence[Tensor]:
        """What training changes beside the vector: running statistics."""

    def clear(self) -> None:
        """Forget the gradients of the step before."""

    def gradients(self) -> Sequence[Tensor | None]:
        """The gradient by each part; None for one that the loss does not depend on."""

    def take(self, gradients: Sequence[Tensor | None]) -> None:
        """Put `gradients`, which other ranks had a part in, in the place of the step's own."""

    def begin_epoch(self, epoch: int) -> Row:
        """Get ready for an epoch (a resumed one included); what is returned goes into the epoch's row."""

    def step(
        self, inputs: Tensor, labels: Tensor, epoch: int, step: int, number: int = 0, weight: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Add `weight` times the gradient of piece `number` of a batch: its mean loss and correct predictions (0-D)."""

    def clip(self, largest: float) -> None:
        """Scale the gradients where their L2 norm is above `largest`. Pascanu et al. 2013."""

    def end_epoch(self, epoch: int) -> Row:
        """Figures of the epoch's end for its row."""

    def describe(self, epoch: int, step: int) -> str:
        """How that step came about, for the error about a loss that is not a number; may be empty."""

    def state(self) -> dict[str, Any]:
        """What resuming needs beside vector and optimiser: plain data and tensors."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Put `state()` back."""
