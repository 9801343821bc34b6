"""How many batches an epoch has, and the pieces of a batch: random draws of their own, shared by the ranks.

One process with P pieces a step and R ranks with P / R pieces each take the same steps: the gradient of a batch is the
mean of its pieces' gradients, each by its share of the examples, and BatchNorm normalises a piece by itself. Running
statistics, which no step of training reads, are not the same: one process moves them P times a step, piece after piece;
each rank moves those of the step before P / R times, and all take the ranks' mean, each by its share of the examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.runtime import distributed


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Batches an epoch; a last batch of a single example is left out: BatchNorm knows no variance of one.

    >>> steps_per_epoch(65, 32), steps_per_epoch(66, 32)
    (2, 3)
    """
    whole, rest = divmod(examples, batch_size)
    return whole + (rest > 1 or (rest == 1 and whole == 0))


@dataclass(frozen=True)
class BatchPiece:
    """Examples `start` to `stop` of a batch, its `number` among the pieces, and its `weight` in the batch's mean."""

    number: int
    start: int
    stop: int
    weight: float


def cut_batch(length: int, count: int) -> list[BatchPiece]:
    """Cut a batch of `length` examples into `count` pieces whose sizes differ by one at most, the larger ones first.

    A short batch has fewer pieces, so that none is of a single example: BatchNorm knows no variance of one.

    >>> [(piece.start, piece.stop) for piece in cut_batch(10, 3)]
    [(0, 4), (4, 7), (7, 10)]
    """
    count = min(count, max(1, length // 2))
    size, more = divmod(length, count)
    ends = [size * number + min(number, more) for number in range(count + 1)]
    return [BatchPiece(number, ends[number], ends[number + 1], _share(ends, number)) for number in range(count)]


def _share(ends: Sequence[int], number: int) -> float:
    """Share of a piece in the batch."""
    return (ends[number + 1] - ends[number]) / ends[-1]


def own_pieces(length: int, count: int) -> list[BatchPiece]:
    """This rank's pieces of a batch, consecutive ones.

    A rank that is left without any computes the first piece with weight 0.
    """
    pieces, each = cut_batch(length, count), count // distributed.size()
    first = distributed.rank() * each
    mine = pieces[first : first + each]
    return mine or [BatchPiece(0, pieces[0].start, pieces[0].stop, 0.0)]


def pieces_per_step(asked: int | None, batch_size: int) -> int:
    """Number of pieces of each batch: `asked`, else one for each rank.

    Raises StarcliError where the ranks cannot share them evenly or a batch has fewer examples.
    """
    ranks = distributed.size()
    count = asked or ranks
    if count % ranks:
        raise StarcliError(f"--draws-per-step {count} cannot be shared by {ranks} ranks: a multiple of {ranks} can")
    if count > batch_size:
        raise StarcliError(f"a batch of {batch_size} cannot be cut into {count} parts", ["a larger --batch-size can"])
    return count


@dataclass(frozen=True)
class StepTotals:
    """Results of a step over all ranks: gradients (None: no rank has one), loss, correct predictions, a stop signal."""

    gradients: Sequence[Tensor | None]
    loss: Tensor
    correct: Tensor
    stop: bool


class Exchange:
    """Sum of a step's results over the ranks: gradients, loss, correct predictions, a stop signal; means of buffers.

    All of it is one vector, so that a step costs one all-reduce. Afterwards every rank holds the same numbers: what
    rank 0 saves is the state of all. Made where all ranks hold the same buffers.
    """

    TAIL = 3
    """Numbers at the end of the vector: loss, correct predictions, and whether this rank got a stop signal."""

    def __init__(self, parts: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
        """Lay out one vector for gradients in the shapes of `parts`, and for the float ones among `buffers`."""
        device = parts[0].device if parts[0].device.type in ("cpu", "cuda") else "cpu"  # gloo and nccl know no other
        self.buffers = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.before = [buffer.clone() for buffer in self.buffers]
        tensors = [*parts, *self.buffers]
        # at the end the TAIL, and for each gradient whether this rank has one
        size = sum(tensor.numel() for tensor in tensors) + self.TAIL + len(parts)
        self.vector = tensors[0].new_zeros(size, device=device)
        self.views, offset = [], 0
        for tensor in tensors:
            # in the memory order of the tensor, which may be channels last
            self.views.append(self.vector.as_strided(tensor.shape, tensor.stride(), offset))
            offset += tensor.numel()
        self.tail = self.vector[offset:]

    def __call__(
        self, gradients: Sequence[Tensor | None], loss: Tensor, correct: Tensor, stop: int, share: float
    ) -> StepTotals:
        """Sum gradients, loss and correct; average the buffers in place, each rank's by its `share` of the batch.

        A gradient that some ranks lack is the others' sum, as that of several pieces in one process is.
        """
        for view, gradient in zip(self.views, gradients, strict=False):
            view.zero_() if gradient is None else view.copy_(gradient)
        views = self.views[len(gradients) :]
        for view, buffer, before in zip(views, self.buffers, self.before, strict=True):
            # changes, not values: the mean of equal values would move them by rounding, or make infinite ones NaN
            view.copy_(torch.where(buffer == before, 0, buffer - before) * share) if share else view.zero_()
        present = [float(gradient is not None) for gradient in gradients]
        self.tail.copy_(self.tail.new_tensor([float(loss), float(correct), float(stop), *present]))
        distributed.sum_(self.vector)
        for view, buffer, before in zip(views, self.buffers, self.before, strict=True):
            before.add_(view.to(before.device))
            buffer.copy_(before)
        loss_sum, correct_sum, stops = self.tail[: self.TAIL].clone().to(loss.device)
        found = [
            self._summed(gradient, view, ranks, loss.device)
            for gradient, view, ranks in zip(gradients, self.views, self.tail[self.TAIL :].tolist(), strict=False)
        ]
        return StepTotals(found, loss_sum, correct_sum.long(), bool(stops))

    @staticmethod
    def _summed(gradient: Tensor | None, view: Tensor, ranks: float, device: torch.device) -> Tensor | None:
        """Sum in `view`, copied into the memory of this rank's own gradient where it has one."""
        if gradient is not None:
            return gradient.copy_(view)
        return view.clone().to(device) if ranks else None

    @property
    def bytes(self) -> int:
        """Bytes that a rank hands to the all-reduce each step."""
        return self.vector.numel() * self.vector.element_size()
