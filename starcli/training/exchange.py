"""Sums of a step's results over the ranks, most of them sent while the backward pass still goes on.

A backward pass has the gradients of the last layers first. So gradients go in buckets, from the last layer to the
first, and a bucket is on its way as soon as the last backward pass of the step has left all of its gradients; only the
last bucket is waited for from its beginning. Li et al. 2020, "PyTorch Distributed", section 3.2. All ranks send the
buckets in one order, whatever gradients they have.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.runtime import distributed


@dataclass(frozen=True)
class StepTotals:
    """Results of a step over all ranks: gradients (None: no rank has one), loss, correct predictions, a stop signal."""

    gradients: Sequence[Tensor | None]
    loss: Tensor
    correct: Tensor
    stop: bool


@dataclass(frozen=True)
class Bucket:
    """Gradients that are sent together: numbers of the parts, and their piece of the vector."""

    parts: Sequence[int]
    piece: Tensor


class Exchange:
    """Sum of a step's results over the ranks: gradients, loss, correct predictions, a stop signal; means of buffers.

    All of it is one vector, cut into buckets of at least `BUCKET` bytes: a step of a small network costs one
    all-reduce. Afterwards every rank holds the same numbers: what rank 0 saves is the state of all. Made where all
    ranks hold the same buffers.
    """

    TAIL = 3
    """Numbers at the end of the vector: loss, correct predictions, and whether this rank got a stop signal."""

    BUCKET = 25 << 20
    """Bytes from which a bucket is sent by itself, as in PyTorch's DistributedDataParallel."""

    def __init__(self, parts: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
        """Lay out one vector for gradients in the shapes of `parts`, and for the float ones among `buffers`."""
        device = parts[0].device if parts[0].device.type in ("cpu", "cuda") else "cpu"  # gloo and nccl know no other
        self.buffers = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.before = [buffer.clone() for buffer in self.buffers]
        tensors = [*reversed(parts), *self.buffers]
        # at the end the TAIL, and for each gradient whether this rank has one
        size = sum(tensor.numel() for tensor in tensors) + self.TAIL + len(parts)
        self.vector = tensors[0].new_zeros(size, device=device)
        views, offset = [], 0
        for tensor in tensors:
            # in the memory order of the tensor, which may be channels last
            views.append(self.vector.as_strided(tensor.shape, tensor.stride(), offset))
            offset += tensor.numel()
        self.views, self.buffer_views = views[: len(parts)][::-1], views[len(parts) :]
        self.tail = self.vector[offset:]
        self.buckets = self._buckets()
        self.place = {number: place for place, bucket in enumerate(self.buckets) for number in bucket.parts}
        self._parameters: Sequence[Tensor] = ()
        self._early: bool | None = None  # None: not known before the first step
        self.begin(1)

    def _buckets(self) -> list[Bucket]:
        """The vector in pieces, parts from the last to the first; the last piece has buffers and tail as well."""
        buckets, own, begin, end = [], [], 0, 0
        for number in reversed(range(len(self.views))):
            own.append(number)
            end += self.views[number].numel()
            if number and (end - begin) * self.vector.element_size() >= self.BUCKET:
                buckets.append(Bucket(own, self.vector[begin:end]))
                own, begin = [], end
        return [*buckets, Bucket(own, self.vector[begin:])]

    @contextmanager
    def watching(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        """Context in which gradients that backward passes leave at `parameters`, one for each part, are sent early.

        From the second step on, if each pass left each gradient once in the first: a pass within a pass (checkpointed
        activations) may leave parts of it. A single bucket, which goes with the loss, has nothing to be sent early.
        """
        if len(self.buckets) == 1:
            yield
            return
        self._parameters = parameters
        hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._left, number))  # type: ignore[no-untyped-call]
            for number, parameter in enumerate(parameters)
        ]
        try:
            yield
        finally:
            self._parameters = ()
            for hook in hooks:
                hook.remove()

    def begin(self, passes: int) -> None:
        """Begin a step of so many backward passes, of which each leaves a gradient at most once."""
        self.awaited = [passes] * len(self.views)
        self.missing = [len(bucket.parts) for bucket in self.buckets]
        self.sums: list[Callable[[], None]] = []

    def _left(self, number: int, parameter: Tensor) -> None:
        """A backward pass has left a gradient: send the buckets that are complete, but for the last one, in order."""
        self.awaited[number] -= 1
        if self.awaited[number] == 0:
            self.missing[self.place[number]] -= 1
        while self._early and len(self.sums) < len(self.buckets) - 1 and self.missing[len(self.sums)] == 0:
            self._send([each.grad for each in self._parameters])

    def _send(self, gradients: Sequence[Tensor | None]) -> None:
        """Begin to sum the next bucket over the ranks."""
        bucket = self.buckets[len(self.sums)]
        for number in bucket.parts:
            gradient = gradients[number]
            self.views[number].zero_() if gradient is None else self.views[number].copy_(gradient)
        self.sums.append(distributed.begin_sum(bucket.piece))

    def __call__(
        self, gradients: Sequence[Tensor | None], loss: Tensor, correct: Tensor, stop: int, share: float
    ) -> StepTotals:
        """Sum gradients, loss and correct; average the buffers in place, each rank's by its `share` of the batch.

        A gradient that some ranks lack is the others' sum, as that of several pieces in one process is.
        """
        if min(self.awaited) < 0 and self.sums:
            raise StarcliError("ranks sent gradients before they were whole: this network's backward passes change")
        if self._early is None and self._parameters:
            self._early = min(self.awaited) >= 0
        for view, buffer, before in zip(self.buffer_views, self.buffers, self.before, strict=True):
            # changes, not values: the mean of equal values would move them by rounding, or make infinite ones NaN
            view.copy_(torch.where(buffer == before, 0, buffer - before) * share) if share else view.zero_()
        present = [float(gradient is not None) for gradient in gradients]
        self.tail.copy_(self.tail.new_tensor([float(loss), float(correct), float(stop), *present]))
        while len(self.sums) < len(self.buckets):
            self._send(gradients)
        for wait in self.sums:
            wait()
        for view, buffer, before in zip(self.buffer_views, self.buffers, self.before, strict=True):
            before.add_(view.to(before.device))
            buffer.copy_(before)
        loss_sum, correct_sum, stops = self.tail[: self.TAIL].clone().to(loss.device)
        found = [
            self._summed(gradient, view, ranks, loss.device)
            for gradient, view, ranks in zip(gradients, self.views, self.tail[self.TAIL :].tolist(), strict=True)
        ]
        return StepTotals(found, loss_sum, correct_sum.long(), bool(stops))

    @staticmethod
    def _summed(gradient: Tensor | None, view: Tensor, ranks: float, device: torch.device) -> Tensor | None:
        """Sum in `view`, copied into the memory of this rank's own gradient where it has one."""
        if gradient is not None:
            return gradient.copy_(view)
        return view.clone().to(device) if ranks else None
