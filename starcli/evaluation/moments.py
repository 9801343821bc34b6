"""Means and variances pooled batch by batch: of one sample, and of all layers of a network together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from starcli.runtime.device import float64, to_device


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of a growing sample, pooled batch by batch.

    Chan, Golub and LeVeque 1979, eq. 2.1: exact up to float64 rounding, whatever the sizes of the batches.
    """

    count: int | Tensor = 0
    """Of a vector of several samples one number for each entry, in float64; else one for all."""
    mean: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))  # () goes with any device
    m2: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    def add(self, count: int | Tensor, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Add a batch."""
        mean, m2 = float64(mean), float64(unbiased_variance) * (count - 1)
        if isinstance(self.count, int) and self.count == 0:
            self.count, self.mean, self.m2 = count, mean, m2
            return
        total = self.count + count
        delta = mean - self.mean
        self.m2 = self.m2 + m2 + delta.square() * (self.count * (count / total))
        self.mean = self.mean + delta * (count / total)
        self.count = total

    def merge(self, other: "Moments") -> None:
        """Add another sample's moments."""
        if not isinstance(other.count, int) or other.count:
            self.add(other.count, other.mean, other.unbiased_variance())

    def unbiased_variance(self) -> Tensor:
        """Variance with divisor count - 1."""
        return self.m2 / (max(self.count - 1, 1) if isinstance(self.count, int) else (self.count - 1).clamp(min=1))

    def on_cpu(self) -> "Moments":
        """Copy for other ranks, each of which has a GPU of its own: a tensor arrives on the device that it left."""
        return type(self)(self.count, self.mean.cpu(), self.m2.cpu())


class MeansOfMoments(Moments):
    """Mean of the means and mean of the variances of a growing number of examples."""

    def add(self, count: int | Tensor, mean: Tensor, unbiased_variance: Tensor) -> None:
        """Add `count` examples with these means."""
        self.count = self.count + count
        share = count / self.count
        self.mean = self.mean + (float64(mean) - self.mean) * share
        self.m2 = self.m2 + (float64(unbiased_variance) - self.m2) * share

    def unbiased_variance(self) -> Tensor:
        """Mean of the variances."""
        return self.m2


@dataclass(frozen=True)
class Observed:
    """Moments of a batch, to be added to one of several samples: `key` says to which."""

    key: tuple[int, int]
    count: int
    mean: Tensor
    unbiased_variance: Tensor


class TogetherPooled:
    """Moments of several samples whose batches come together: added in a few operators on one vector, not in some each.

    On a GPU it takes longer to start the operators of twenty layers than to run them. The results are those of each
    sample's own `Moments`, to the bit, as long as each batch brings the same samples; otherwise to rounding.
    """

    def __init__(self, kind: type[Moments]) -> None:
        self.kind = kind
        self._sizes: dict[tuple[tuple[int, int], ...], list[int]] = {}
        self._counts: dict[tuple[tuple[int, int], ...], list[int]] = {}
        self._pooled: dict[tuple[tuple[int, int], ...], Moments] = {}
        self._spread: dict[tuple[tuple[int, ...], tuple[int, ...]], Tensor] = {}

    def add(self, batch: Sequence[Observed]) -> None:
        """Add a batch of each sample in it."""
        if not batch:
            return
        keys = tuple(each.key for each in batch)
        counts = [each.count for each in batch]
        sizes = self._sizes.setdefault(keys, [each.mean.numel() for each in batch])
        mean = float64(torch.cat([each.mean for each in batch]))
        variance = float64(torch.cat([each.unbiased_variance for each in batch]))
        self._pooled.setdefault(keys, self.kind()).add(self._vector(counts, sizes, mean.device), mean, variance)
        self._counts[keys] = [a + b for a, b in zip(counts, self._counts.get(keys, [0] * len(counts)), strict=True)]

    def _vector(self, counts: Sequence[int], sizes: Sequence[int], device: torch.device) -> Tensor:
        """Each count as often as its sample has entries; batches of one size share it."""
        key = (tuple(counts), tuple(sizes))
        if key not in self._spread:
            spread = torch.tensor(counts, dtype=torch.float64).repeat_interleave(torch.tensor(sizes))
            self._spread[key] = to_device(spread, device)
        return self._spread[key]

    def moments(self) -> dict[tuple[int, int], Moments]:
        """The moments of each sample."""
        found: dict[tuple[int, int], Moments] = {}
        for keys, pooled in self._pooled.items():
            means, squares = (torch.split(vector, self._sizes[keys]) for vector in (pooled.mean, pooled.m2))
            for key, count, mean, m2 in zip(keys, self._counts[keys], means, squares, strict=True):
                own = self.kind(count, mean.clone(), m2.clone())
                if key in found:
                    found[key].merge(own)
                else:
                    found[key] = own
        return found
