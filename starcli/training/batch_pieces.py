"""How many batches an epoch has, and the pieces of a batch: random draws of their own, shared by the ranks.

One process with P pieces a step and R ranks with P / R pieces each take the same steps: the gradient of a batch is the
mean of its pieces' gradients, each by its share of the examples, and BatchNorm normalises a piece by itself. Running
statistics, which no step of training reads, are not the same: one process moves them P times a step, piece after piece;
each rank moves those of the step before P / R times, and all take the ranks' mean, each by its share of the examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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

    @property
    def place(self) -> tuple[int, ...]:
        """Place of its draws, beside epoch and step: a batch's first piece draws as a whole batch does."""
        return (self.number,) if self.number else ()


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
