"""Calibration: whether predictions are right as often as they say, in bins of confidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ECE_BINS = 15
"""Number of bins of the expected calibration error."""


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width by their confidence: mean confidence, accuracy and count of each bin.

    What a reliability diagram shows. An empty bin has None for both means.
    """

    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    count: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """`confidence`, `accuracy` and `count`, a list over the bins each."""
        return {name: list(values) for name, values in vars(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Reliability":
        """Inverse of `to_dict`."""
        return cls(**{name: tuple(values) for name, values in value.items()})


def calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """Expected calibration error: sum over `ECE_BINS` bins b of equal width of share * |accuracy - mean confidence|.

    confidence: (N,) in [0, 1]; of B bins b is [b / B, (b + 1) / B), the last one closed. Guo et al. 2017.

    >>> round(calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([True, False])), 2)
    0.25
    """
    gaps = _bin_sums(confidence, correct.double() - confidence.double())
    return float(gaps.abs().sum()) / len(confidence)


def _bin_sums(confidence: Tensor, values: Tensor) -> Tensor:
    """Sum of float64 `values` (N,) over the examples of each bin of confidence: (bins,)."""
    return torch.zeros(ECE_BINS, dtype=torch.float64).index_add_(0, bin_of(confidence), values)


def bin_of(confidence: Tensor) -> Tensor:
    """Number of the bin of each confidence (N,), as of `calibration_error`; NaN is in the first, and makes it NaN."""
    return (confidence.nan_to_num() * ECE_BINS).long().clamp_(max=ECE_BINS - 1)


def reliability(confidence: Tensor, correct: Tensor) -> Reliability:
    """Mean confidence, accuracy and count in each of the bins of `calibration_error`; Guo et al. 2017, fig. 1.

    confidence: (N,) in [0, 1]; correct: (N,) bool.

    >>> found = reliability(torch.tensor([0.75, 0.75]), torch.tensor([True, False]))
    >>> found.confidence[11], found.accuracy[11], found.count[10:]
    (0.75, 0.5, (0, 2, 0, 0, 0))
    """
    count = _bin_sums(confidence, torch.ones(len(confidence), dtype=torch.float64))
    certain, right = (_bin_sums(confidence, values.double()) for values in (confidence, correct))
    return _reliability(certain, right, count)


def _reliability(certain: Tensor, right: Tensor, count: Tensor) -> Reliability:
    """From the sums of each bin, (bins,) each."""

    def means(sums: Tensor) -> tuple[float | None, ...]:
        return tuple(a / n if n else None for a, n in zip(sums.tolist(), count.tolist(), strict=True))

    return Reliability(means(certain), means(right), tuple(count.long().tolist()))


def pooled(parts: Sequence[Reliability]) -> Reliability:
    """All predictions of several sets in the same bins.

    >>> one, other = Reliability((0.6,), (0.5,), (2,)), Reliability((0.9,), (1.0,), (4,))
    >>> pooled([one, other]).count
    (6,)
    """
    count = torch.tensor([part.count for part in parts], dtype=torch.float64)  # (parts, bins)

    def sums(values: list[tuple[float | None, ...]]) -> Tensor:
        return (torch.tensor([[each or 0.0 for each in part] for part in values], dtype=torch.float64) * count).sum(0)

    certain, right = sums([part.confidence for part in parts]), sums([part.accuracy for part in parts])
    return _reliability(certain, right, count.sum(0))
