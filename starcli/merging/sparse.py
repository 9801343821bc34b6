"""Leaving out most of what a model changed: the smallest changes, or random ones."""

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle

import torch
from torch import Tensor

_LOW = 16
"""Bits of a float32 that are searched in the second pass; the others in the first."""

_INFINITE = 0x7F80
"""The upper bits of an infinity: those of numbers are smaller, those of NaN not."""

Chunks = Callable[[], Iterable[Tensor]]
"""Gives numbers of several rows, such as the changes of each source, chunk by chunk: (rows, numbers)."""


def least_kept(chunks: Chunks, density: Sequence[float]) -> tuple[float, ...]:
    """The magnitude of the smallest number that is kept of each row, if the share `density` of it is kept.

    It is the max(1, floor(density N))-th largest of the N numbers of all chunks together, in float32; what is not
    finite does not count. The chunks are read twice.
    """
    return _magnitudes(chunks, len(density), [(share, 0.0) for share in density])


def kept_between(
    chunks: Chunks, density: Sequence[float], outliers: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The magnitudes of the smallest and of the largest number that is kept of each row, without its outliers.

    The largest is that behind the floor(outliers N) largest ones, the smallest the max(1, floor(density N))-th from
    there on, or the last. The chunks are read twice.
    """
    rows, largest = len(density), [(0.0, each) for each in outliers]
    found = _magnitudes(chunks, rows, [*zip(density, outliers, strict=True), *largest])
    return found[:rows], found[rows:]


def _magnitudes(chunks: Chunks, rows: int, shares: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """A magnitude for each pair of shares, as of `_place`: of the first row, the second, ..., the first again, ..."""
    uppers = _counted((_bits(values) >> _LOW for values in chunks()), 2**15, rows)
    uppers[:, _INFINITE:] = 0
    uppers = uppers.repeat(len(shares) // rows, 1)
    counts = torch.tensor([_place(*each, int(row.sum())) for each, row in zip(shares, uppers, strict=True)])
    upper, above = _bin_of(uppers, counts)
    same_upper = (
        [row[(row >> _LOW) == own] & (2**_LOW - 1) for own, row in zip(upper, cycle(_bits(values)), strict=False)]
        for values in chunks()
    )
    lower, _ = _bin_of(_counted(same_upper, 2**_LOW, len(shares)), counts - above)
    return tuple(((upper << _LOW) + lower).to(torch.int32).view(torch.float32).tolist())


def _place(density: float, outliers: float, count: int) -> int:
    """The place, from the largest on, of the smallest of `count` changes that is kept."""
    return max(1, min(count, int(outliers * count) + max(1, int(density * count))))


def _bits(values: Tensor) -> Tensor:
    """Magnitudes as integers that are ordered as they are."""
    return values.abs().float().view(torch.int32)


def _counted(chunks: Iterable[Iterable[Tensor]], bins: int, rows: int) -> Tensor:
    """How often each number from 0 to `bins` stands in the rows of all chunks: (rows, bins)."""
    found = torch.zeros(rows, bins, dtype=torch.int64)
    for parts in chunks:
        found += torch.stack([torch.bincount(row, minlength=bins) for row in parts])
    return found


def _bin_of(histogram: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The bin of the number that is `counts`-th from above in each row, and how many are in bins above."""
    from_above = histogram.flip(1).cumsum(1)  # (sources, bins)
    place = (from_above < counts[:, None]).sum(1)
    above = from_above.gather(1, (place - 1).clamp(min=0)[:, None])[:, 0].where(place > 0, 0)
    return histogram.shape[1] - 1 - place, above


def keep_largest_(deltas: Tensor, least: Sequence[float]) -> Tensor:
    """Zero the changes (sources, numbers) of each source that are smaller than its `least`, and return them."""
    return deltas.mul_(deltas.abs().float() >= torch.tensor(least)[:, None])


def keep_between_(deltas: Tensor, least: Sequence[float], most: Sequence[float]) -> Tensor:
    """As `keep_largest_`, and zero those that are larger than the `most` of their source."""
    return keep_largest_(deltas, least).mul_(deltas.abs().float() <= torch.tensor(most)[:, None])


class RandomChanges:
    """Keeps each change of a source with probability `density`, divided by it, and makes the others 0 (DARE).

    The expectation is the change itself. Yu et al. 2024 (Language models are super Mario). With an `epsilon` the
    probability depends on the change (DELLA): see `shares_by_rank`.
    """

    def __init__(self, density: Sequence[float], seed: int, epsilon: Sequence[float] = ()) -> None:
        self.density = density
        self.epsilon = epsilon or [0.0] * len(density)
        self.generators = [torch.Generator().manual_seed(seed + number) for number in range(len(density))]

    def keep_(self, deltas: Tensor, row: int = 1) -> Tensor:
        """Zero what is left out of the next chunk (sources, numbers), divide the rest, and return it.

        row: how many changes on end are ranked together, of which the chunk has some times as many.
        """
        for changes, share, spread, own in zip(deltas, self.density, self.epsilon, self.generators, strict=True):
            if share < 1:
                kept = shares_by_rank(changes.reshape(-1, row), share, spread).reshape(-1) if spread else share
                changes.mul_(torch.rand(changes.shape, generator=own) < kept).div_(kept)
        return deltas


def shares_by_rank(changes: Tensor, density: float, epsilon: float) -> Tensor:
    """Probabilities with which changes (rows, n) are kept, by their ranks in their row: `density` on average.

    density - epsilon + 2 epsilon r / (n - 1), r from 0, the smallest magnitude, to n - 1; of equal ones the later ones
    rank higher. Deep et al. 2024 (DELLA-merging), MagPrune.

    >>> shares_by_rank(torch.tensor([[3.0, -1.0, 2.0]]), 0.5, 0.25)
    tensor([[0.7500, 0.2500, 0.5000]])
    """
    count = changes.shape[1]
    if count == 1:
        return torch.full_like(changes, density)
    rising = torch.linspace(density - epsilon, density + epsilon, count, dtype=changes.dtype)
    order = changes.abs().argsort(stable=True, dim=1)
    return torch.empty_like(changes).scatter_(1, order, rising.expand_as(changes))
