"""How a batch is cut into pieces, each with its own draws, and which of them this rank computes.

One process with P pieces a step and R ranks with P / R pieces each do the same: the gradient of a batch is the mean of
its pieces' gradients, each by its share of the examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from starcli import distributed
from starcli.errors import StarcliError


@dataclass(frozen=True)
class Piece:
    """Examples `start` to `stop` of a batch, its `number` among the pieces, and its `weight` in the batch's mean."""

    number: int
    start: int
    stop: int
    weight: float


def cut(length: int, count: int) -> list[Piece]:
    """A batch of `length` as `count` pieces whose sizes differ by one at most, the larger ones first.

    A short batch has fewer pieces, so that none is of a single example: BatchNorm knows no variance of one.
    """
    count = min(count, max(1, length // 2))
    size, more = divmod(length, count)
    ends = [size * number + min(number, more) for number in range(count + 1)]
    return [Piece(number, ends[number], ends[number + 1], _share(ends, number)) for number in range(count)]


def _share(ends: Sequence[int], number: int) -> float:
    return (ends[number + 1] - ends[number]) / ends[-1]


def own(length: int, count: int) -> list[Piece]:
    """This rank's pieces of a batch: one run of numbers. A rank that is left without one does the first for nothing."""
    pieces, each = cut(length, count), count // distributed.size()
    first = distributed.rank() * each
    mine = pieces[first : first + each]
    return mine or [Piece(0, pieces[0].start, pieces[0].stop, 0.0)]


def pieces_per_step(asked: int | None, batch_size: int) -> int:
    """How many pieces each batch has: as asked, else one for each rank."""
    ranks = distributed.size()
    count = asked or ranks
    if count % ranks:
        raise StarcliError(f"--draws-per-step {count} cannot be shared by {ranks} ranks: a multiple of {ranks} can")
    if count > batch_size:
        raise StarcliError(f"a batch of {batch_size} cannot be cut into {count} parts", ["a larger --batch-size can"])
    return count


class Exchange:
    """Sums over the ranks what a step gives: gradients, loss and correct predictions, means of buffers, a stop signal.

    All of it is one vector, so that a step costs one all-reduce. Afterwards every rank holds the same numbers: what
    rank 0 saves is the state of all.
    """

    TAIL = 3
    """Loss, correct predictions, and whether this rank was told to stop."""

    def __init__(self, parts: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
        device = parts[0].device if parts[0].device.type in ("cpu", "cuda") else "cpu"  # gloo and nccl know no other
        self.buffers = [buffer for buffer in buffers if buffer.is_floating_point()]
        tensors = [*parts, *self.buffers]
        self.vector = tensors[0].new_zeros(sum(tensor.numel() for tensor in tensors) + self.TAIL, device=device)
        self.views, offset = [], 0
        for tensor in tensors:
            # in the memory order of the tensor, which may be channels last
            self.views.append(self.vector.as_strided(tensor.shape, tensor.stride(), offset))
            offset += tensor.numel()
        self.tail = self.vector[offset:]

    def __call__(
        self, gradients: Sequence[Tensor | None], loss: Tensor, correct: Tensor, stop: int
    ) -> tuple[Tensor, Tensor, bool]:
        """Sum gradients and average buffers in place; the sums of loss and correct, and whether to stop."""
        ranks = distributed.size()
        tensors = [*gradients, *self.buffers]
        for view, tensor in zip(self.views, tensors, strict=True):
            if tensor is not None:
                view.copy_(tensor)
        self.tail.copy_(self.tail.new_tensor([float(loss), float(correct), float(stop)]))
        distributed.sum_(self.vector)
        for gradient, view in zip(gradients, self.views, strict=False):
            if gradient is not None:
                gradient.copy_(view)
        for buffer, view in zip(self.buffers, self.views[len(gradients) :], strict=True):
            buffer.copy_(view / ranks)
        loss_sum, correct_sum, stops = self.tail.clone().to(loss.device)
        return loss_sum, correct_sum.long(), bool(stops)

    @property
    def bytes(self) -> int:
        """What a rank hands to the all-reduce each step."""
        return self.vector.numel() * self.vector.element_size()
