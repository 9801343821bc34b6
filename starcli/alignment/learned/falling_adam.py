"""Adam with a rate that falls as a cosine, for the few small tensors of a relaxation."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

DECAYS = 0.9, 0.999
"""What is kept in each step of the running means of gradients, and of their squares."""
EPSILON = 1e-8


class FallingAdam:
    """Adam (Kingma and Ba 2015) over a known number of steps, step k of n at rate (1 + cos(pi k / n)) / 2.

    The arithmetic is that of `torch.optim.Adam`, whose bookkeeping takes several times as long for tensors so small.

    >>> x = torch.tensor([1.0, -2.0])
    >>> optimizer = FallingAdam([x], 0.5, steps=2)
    >>> optimizer.step([torch.tensor([3.0, -1.0])])
    >>> x
    tensor([ 0.5000, -1.5000])
    """

    def __init__(self, tensors: Iterable[Tensor], rate: float, *, steps: int) -> None:
        """Nothing has moved yet; `tensors` will be, in place."""
        self._tensors, self._rate, self._steps, self._done = list(tensors), rate, steps, 0
        self._means = [torch.zeros_like(each.detach()) for each in self._tensors]
        self._squares = [torch.zeros_like(each.detach()) for each in self._tensors]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move each tensor down its gradient."""
        rate = self._rate * (1 + math.cos(math.pi * self._done / self._steps)) / 2
        self._done += 1
        kept, kept_squares = DECAYS
        step, unbiased = rate / (1 - kept**self._done), math.sqrt(1 - kept_squares**self._done)
        moving = zip(self._tensors, gradients, self._means, self._squares, strict=True)
        for tensor, gradient, mean, square in moving:
            mean.lerp_(gradient, 1 - kept)
            square.mul_(kept_squares).addcmul_(gradient, gradient, value=1 - kept_squares)
            tensor.addcdiv_(mean, (square.sqrt() / unbiased).add_(EPSILON), value=-step)

    def state(self) -> dict[str, Tensor]:
        """Copies of its state: what it knows of the steps before."""
        parts = {"mean": self._means, "square": self._squares}
        return {f"{part}.{k}": each.clone() for part, own in parts.items() for k, each in enumerate(own)}

    def resume(self, done: int, state: Mapping[str, Tensor]) -> None:
        """Go on after `done` steps from a `state`."""
        self._done = done
        for part, own in (("mean", self._means), ("square", self._squares)):
            for k, each in enumerate(own):
                each.copy_(state[f"{part}.{k}"])
