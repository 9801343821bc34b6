"""Backward passes of a run, which take their sums in the same order each time wherever that can be."""

from collections.abc import Callable

import torch
from torch import Tensor

from starcli.errors import first_line
from starcli.runtime.arithmetic import only_warns, strict_determinism
from starcli.runtime.progress import Progress


class Backward:
    """Backward passes from losses, whose gradients are added to those that are there.

    On a GPU that is to take the same sums each time the first pass finds out whether all operators can: then attention
    can, too, which torch leaves as it is where it may only warn of others. Otherwise that is said, and the run goes on.
    """

    def __init__(self, progress: Progress, *, compiled: bool = False) -> None:
        """`compiled`: passes are torch.compile's, which cannot be repeated."""
        self.progress = progress
        self.strict = only_warns() and not compiled
        self.tried = False

    def __call__(self, loss: Tensor, clear: Callable[[], None]) -> None:
        """Make a pass. `clear` forgets all gradients, for a first pass that has to begin again."""
        if not self.strict:
            torch.autograd.backward(loss)  # a gradient given beside it would load sympy
            return
        try:
            with strict_determinism():
                torch.autograd.backward(loss, retain_graph=not self.tried)
        except RuntimeError as error:
            if self.tried:
                raise
            clear()
            torch.autograd.backward(loss)  # another error comes again
            self.strict = False
            self.progress.note(f"the same line need not give the same bits again: {first_line(error)[:160]}")
        self.tried = True
