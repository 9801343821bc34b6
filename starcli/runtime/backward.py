"""Backward passes of a run, which take their sums in the same order each time wherever that can be."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from starcli.errors import first_line
from starcli.runtime.arithmetic import only_warns, strict_determinism
from starcli.runtime.progress import Progress

_Result = TypeVar("_Result")


class Backward:
    """Backward passes from losses, whose gradients are added to those that are there, or returned.

    On a GPU that is to take the same sums each time the first pass finds out whether all operators can: then attention
    can, too, which torch leaves as it is where it may only warn of others. Otherwise that is said, and the run goes on.

    >>> from starcli.runtime.progress import SILENT
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> Backward(SILENT).gradients(x.square().sum(), [x])
    (tensor([2., 4.]),)
    """

    def __init__(self, progress: Progress, *, compiled: bool = False) -> None:
        """`compiled`: passes are torch.compile's, which cannot be repeated."""
        self.progress = progress
        self.strict = only_warns() and not compiled
        self.tried = False

    def __call__(self, loss: Tensor, clear: Callable[[], None]) -> None:
        """Make a pass. `clear` forgets all gradients, for a first pass that has to begin again."""

        def add(keep: bool) -> None:
            torch.autograd.backward(loss, retain_graph=keep)  # a gradient given beside it would load sympy

        self._pass(add, clear)

    def gradients(self, loss: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Gradients of a loss by `inputs`, zeros by those that it does not depend on; none are added to others."""

        def found(keep: bool) -> tuple[Tensor, ...]:
            return torch.autograd.grad(loss, inputs, retain_graph=keep, materialize_grads=True)

        return self._pass(found, lambda: None)

    def _pass(self, work: Callable[[bool], _Result], clear: Callable[[], None]) -> _Result:
        """The result of a pass; `work` is told whether the graph is to be kept for a second one."""
        if not self.strict:
            return work(False)
        try:
            with strict_determinism():
                result = work(not self.tried)
        except RuntimeError as error:
            if self.tried:
                raise
            clear()
            result = work(False)  # another error comes again
            self.strict = False
            self.progress.note(f"the same line need not give the same bits again: {first_line(error)[:160]}")
        self.tried = True
        return result
