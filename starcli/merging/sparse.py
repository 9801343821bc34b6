"""Leaving out most of what a model changed: the smallest changes, or random ones."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from starcli.merging.stack import Stack

_LOW = 16
"""Bits of a float32 that are searched in the second pass; the others in the first."""


class LargestChanges:
    """Keeps of each source the share `density` of its changes that is largest, and makes the others 0.

    Just max(1, floor(density numel)) numbers of a tensor are kept: of those that are alike in magnitude the first ones.
    The chunks of a tensor are given in their order. Magnitudes are compared in float32.
    """

    def __init__(self, stack: Stack, density: Sequence[float]) -> None:
        counts = [max(1, int(share * stack.numel)) if share < 1 else stack.numel for share in density]
        self.least, larger = _least_kept(stack, torch.tensor(counts))
        self.places = torch.tensor(counts) - larger  # that are yet to be taken by numbers just as large

    def keep_(self, deltas: Tensor) -> Tensor:
        """Zero what is left out of the next chunk (sources, numbers), and return it."""
        bits, least = _bits(deltas), self.least[:, None]
        kept, alike = bits > least, bits == least
        for row in range(len(deltas)):
            first = alike[row].nonzero()[: int(self.places[row])]
            kept[row, first] = True
            self.places[row] -= len(first)
        return deltas.mul_(kept)


def _bits(values: Tensor) -> Tensor:
    """Magnitudes as integers that are ordered as they are."""
    return values.abs().float().view(torch.int32)


def _least_kept(stack: Stack, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest magnitude, as bits, among the `counts` largest of each source, and how many are larger: (sources,).

    Two histograms find it, one of the upper bits of all numbers and one of the lower bits of those that have its upper
    ones, so that nothing is sorted and no chunk is kept.
    """
    upper, above = _bin_of((_bits(deltas) >> _LOW for deltas, _ in stack.deltas()), 2**15, counts)
    same_upper = (
        [row[(row >> _LOW) == own] & (2**_LOW - 1) for row, own in zip(_bits(deltas), upper, strict=True)]
        for deltas, _ in stack.deltas()
    )
    lower, between = _bin_of(same_upper, 2**_LOW, counts - above)
    return ((upper << _LOW) + lower).to(torch.int32), above + between


def _bin_of(chunks: Iterable[Iterable[Tensor]], bins: int, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The bin of the number that is `counts`-th from above among those of each row, and how many are in bins above."""
    histograms = [torch.stack([torch.bincount(row, minlength=bins) for row in rows]) for rows in chunks]
    from_above = torch.stack(histograms).sum(0).flip(1).cumsum(1)  # (sources, bins)
    place = (from_above < counts[:, None]).sum(1)
    above = from_above.gather(1, (place - 1).clamp(min=0)[:, None])[:, 0].where(place > 0, 0)
    return bins - 1 - place, above


class RandomChanges:
    """Keeps each change of a source with probability `density`, divided by it, and makes the others 0 (DARE).

    The expectation is the change itself. Yu et al. 2024 (Language models are super Mario).
    """

    def __init__(self, density: Sequence[float], seed: int) -> None:
        self.density = density
        self.generators = [torch.Generator().manual_seed(seed + number) for number in range(len(density))]

    def keep_(self, deltas: Tensor) -> Tensor:
        """Zero what is left out of the next chunk (sources, numbers), divide the rest, and return it."""
        for row, share, own in zip(deltas, self.density, self.generators, strict=True):
            if share < 1:
                row.mul_(torch.rand(row.shape, generator=own) < share).div_(share)
        return deltas
