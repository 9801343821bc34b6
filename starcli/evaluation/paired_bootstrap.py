"""Paired bootstrap over examples: how far the difference of two predictors' metrics rests on the examples at hand.

The examples are drawn anew with replacement, the same ones for both predictors; the interval has the middle 95% of the
differences that are found. Efron and Tibshirani 1993, section 13.3 (percentile interval).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from starcli.evaluation.calibration import ECE_BINS, bin_of
from starcli.evaluation.confidence import FEWEST_ERRORS, Judged, Ranking, ranked
from starcli.runtime.memory import PIECE

RESAMPLES = 1000
"""How often the examples are drawn anew."""

FEWEST_AT_ONCE = 8
"""Resamples of very many predictions that are ranked together: one by one takes twice as long (measured)."""

COVERED = 0.95
"""Share of the resamples that an interval covers."""

COMPARED = ("accuracy", "nll", "brier", "ece", "auroc_max_prob", "aurc")
"""Metrics whose differences are taken."""

OF_ERRORS = ("accuracy", "auroc_max_prob", "aurc")
"""Those of them that errors alone decide."""

HIGHER_IS_BETTER = ("accuracy", "auroc_max_prob")
"""Those of them of which more is better; of the others less is."""


@dataclass(frozen=True)
class Difference:
    """A metric of one predictor less that of another, with its 95% interval over examples.

    enough: whether there are as many errors as a verdict needs: what differs in few is there in nearly all resamples.

    >>> Difference("nll", -0.02, -0.03, -0.01).verdict
    'better'
    """

    metric: str
    difference: float
    low: float
    high: float
    enough: bool = True

    @property
    def verdict(self) -> Literal["better", "worse", "not decided"]:
        """Whether the first is better or worse, or the interval has 0 in it."""
        if not self.enough or not (self.low > 0 or self.high < 0):
            return "not decided"
        return "better" if (self.low > 0) == (self.metric in HIGHER_IS_BETTER) else "worse"

    def to_dict(self) -> dict[str, Any]:
        """`difference`, `low`, `high` and `verdict`."""
        found = {**asdict(self), "verdict": self.verdict}
        return {name: value for name, value in found.items() if name not in ("metric", "enough")}


@dataclass(frozen=True, eq=False)
class Resamples:
    """Drawings of units with replacement, as many units as there are, the same for all that is judged by them.

    units: the unit (N,) int64 of each prediction, from 0: its example, or the text of a token. All of a unit's
    predictions are drawn together.
    """

    units: Tensor
    count: int = RESAMPLES
    seed: int = 0

    @cached_property
    def weights(self) -> Tensor:
        """How often each unit was drawn, (count, units) int32."""
        total = int(self.units.max()) + 1
        generator = torch.Generator().manual_seed(self.seed)
        draws = (torch.randint(total, (total,), generator=generator) for _ in range(self.count))
        return torch.stack([torch.bincount(each, minlength=total).int() for each in draws])

    def metrics(self, judged: Judged) -> dict[str, Tensor]:
        """Each of `COMPARED` in every resample of what was judged: (count,) float64."""
        each = judged.each
        right, total = each.correct.double(), int(self.units.max()) + 1
        values = torch.stack([torch.ones_like(right), right, -each.true, each.brier], dim=1)
        sums = torch.zeros(total, 4, dtype=torch.float64).index_add_(0, self.units, values)
        gaps = torch.zeros(total, ECE_BINS, dtype=torch.float64)
        gaps.index_put_((self.units, bin_of(each.highest)), right - each.highest, accumulate=True)
        ranking, unranked = ranked(each.highest, ~each.correct), 0 * each.highest.sum()  # NaN where a confidence is
        found = []
        for some in torch.split(self.weights, max(FEWEST_AT_ONCE, PIECE // max(len(right), total))):
            weights = some.T.contiguous()  # (units, resamples): rows are gathered fast
            drawn = (sums.T @ weights.double(), gaps.T @ weights.double())  # (4 or bins, resamples)
            means, ece = drawn[0][1:] / drawn[0][0], drawn[1].abs().sum(0) / drawn[0][0]
            ranks = _Ranks.of(weights[self.units[ranking.order]], ~each.correct[ranking.order], ranking)
            found.append(torch.stack([*means, ece, ranks.auroc + unranked, ranks.aurc + unranked]))
        return dict(zip(COMPARED, torch.cat(found, dim=1), strict=True))


@dataclass(frozen=True, eq=False)
class _Ranks:
    """How the errors stand among all predictions that were drawn, in the order of their confidence.

    errors: how often each error was drawn, (errors, resamples). first, last: how many predictions were drawn above the
    run of its equals, and to the end of that run; wrong_first, wrong_last: how many of these are errors. count: how
    many were drawn in all, (resamples,).
    """

    errors: Tensor
    first: Tensor
    last: Tensor
    wrong_first: Tensor
    wrong_last: Tensor
    count: Tensor

    @classmethod
    def of(cls, copies: Tensor, wrong: Tensor, ranking: Ranking) -> "_Ranks":
        """Of predictions of which `copies` (N, resamples) were drawn and those `wrong` (N,), in that order."""
        errors, (first, last) = copies[wrong], (each[wrong] for each in (ranking.first, ranking.last))
        drawn, wrongly = _sums(copies), _sums(errors)
        before = _sums(wrong)
        return cls(errors, drawn[first], drawn[last], wrongly[before[first]], wrongly[before[last]], drawn[-1])

    @property
    def auroc(self) -> Tensor:
        """The chance that a right answer is more confident than an error, ties counted half, of each resample."""
        above = (self.first - self.wrong_first).double() + (self.last - self.wrong_last)
        wrong = self.errors.sum(0).double()
        return (self.errors * above / 2).sum(0) / (wrong * (self.count - wrong))

    @property
    def aurc(self) -> Tensor:
        """Area under the risk-coverage curve of each resample.

        With n predictions drawn, an error at place m adds sum_{i=m}^n 1 / i to n times the area, H(n) - H(m - 1) with
        harmonic numbers H. Of errors in a run of equals, of any order alike, this is the mean over the run's places.
        """
        harmonic = _sums(1 / torch.arange(1, int(self.count.max()) + 1, dtype=torch.float64))
        before = _sums(harmonic)  # sums of H(0), H(1), ...
        mean = (before[self.last] - before[self.first]) / (self.last - self.first).clamp(min=1)
        return (self.errors * (harmonic[self.count] - mean)).sum(0) / self.count


def _sums(values: Tensor) -> Tensor:
    """Sums of the first 0, 1, 2, ... rows of values (N, ...): (N + 1, ...)."""
    kind = values.dtype if values.is_floating_point() else torch.int32
    return torch.cat([torch.zeros(1, *values.shape[1:], dtype=kind), values.cumsum(0, dtype=kind)])


def differences(pairs: Sequence[tuple[Any, Any]], drawn: Tensor) -> dict[str, Difference]:
    """The difference of each metric, first less second, and its interval, both of the mean over pairs of `Confidence`.

    drawn: the mean over the pairs of what `less` has of each. Below 30 errors of one of the two there is no verdict on
    accuracy, AUROC and AURC.
    """
    errors = min(np.mean([one.errors for one in side]) for side in zip(*pairs, strict=True))
    found = {}
    for metric, resampled in zip(COMPARED, drawn.numpy(), strict=True):
        mean = float(np.mean([getattr(a, metric) - getattr(b, metric) for a, b in pairs]))
        ends = [(1 - COVERED) / 2, (1 + COVERED) / 2]
        low, high = np.quantile(resampled, ends) if np.isfinite(resampled).all() else (np.nan, np.nan)
        enough = metric not in OF_ERRORS or bool(errors >= FEWEST_ERRORS)
        found[metric] = Difference(metric, mean, float(low), float(high), enough)
    return found


def less(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
    """`a` minus `b`, both as of `Resamples.metrics`: (metrics, resamples), in the order of `COMPARED`."""
    return torch.stack([a[metric] - b[metric] for metric in COMPARED])
