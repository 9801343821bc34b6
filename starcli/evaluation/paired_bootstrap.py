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

from starcli.evaluation.confidence import ECE_BINS, FEWEST_ERRORS, Judged, Ranking, bin_of, ranked
from starcli.runtime.memory import row_slices

RESAMPLES = 1000
"""How often the examples are drawn anew."""

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
        ranking = ranked(each.highest, ~each.correct)
        found = []
        for some in row_slices(self.weights):
            weights = self.weights[some]
            drawn = weights.double() @ sums  # (resamples, 4)
            means, ece = drawn[:, 1:] / drawn[:, :1], (weights.double() @ gaps).abs().sum(1) / drawn[:, 0]
            copies = weights[:, self.units[ranking.order]]
            areas = _auroc(copies, ~each.correct[ranking.order], ranking), _aurc(copies, ranking)
            found.append(torch.stack([*means.T, ece, *areas]))
        return dict(zip(COMPARED, torch.cat(found, dim=1), strict=True))


def _auroc(copies: Tensor, wrong: Tensor, ranking: Ranking) -> Tensor:
    """The chance that a right answer is more confident than an error, ties counted half, of each resample.

    copies: how often each prediction was drawn, (resamples, N), in the order of `ranking`; wrong: (N,), in that order.
    """
    right = torch.nn.functional.pad((copies * ~wrong).cumsum(1), (1, 0))  # among the first 0, 1, 2, ...
    errors = copies[:, wrong]
    above = (right[:, ranking.first[wrong]] + right[:, ranking.last[wrong]]).double() / 2
    return (errors * above).sum(1) / (errors.sum(1) * right[:, -1])


def _aurc(copies: Tensor, ranking: Ranking) -> Tensor:
    """Area under the risk-coverage curve of each resample; `copies` as of `_auroc`.

    With n predictions drawn, an error at place m adds sum_{i=m}^n 1 / i, which is H(n) - H(m - 1) with harmonic numbers
    H; copies have places that follow each other.
    """
    risky = ranking.risk.nonzero()[:, 0]
    after = copies.cumsum(1)
    count = after[:, -1:]
    last, errors = after[:, risky], copies[:, risky]
    harmonic = (1 / torch.arange(1, int(count.max()) + 1, dtype=torch.float64)).cumsum(0)
    harmonic = torch.cat([harmonic.new_zeros(1), harmonic])  # H(0), H(1), ...
    places = torch.cat([harmonic.new_zeros(1), harmonic.cumsum(0)])  # the sums of the first 0, 1, 2, ...
    added = errors * harmonic[count] - (places[last] - places[last - errors])
    return (added * ranking.risk[risky]).sum(1) / count[:, 0]


def differences(
    pairs: Sequence[tuple[Any, Any]], drawn: Sequence[Mapping[str, Sequence[float]]]
) -> dict[str, Difference]:
    """The difference of each metric, first less second, and its interval, both of the mean over pairs of `Confidence`.

    drawn: of each pair the differences in every resample, by metric, as `less` has them. Below 30 errors of one of the
    two there is no verdict on accuracy, AUROC and AURC.
    """
    errors = min(np.mean([one.errors for one in side]) for side in zip(*pairs, strict=True))
    found = {}
    for metric in COMPARED:
        mean = float(np.mean([getattr(a, metric) - getattr(b, metric) for a, b in pairs]))
        resampled = np.mean([one[metric] for one in drawn], axis=0)
        ends = [(1 - COVERED) / 2, (1 + COVERED) / 2]
        low, high = np.quantile(resampled, ends) if np.isfinite(resampled).all() else (np.nan, np.nan)
        enough = metric not in OF_ERRORS or bool(errors >= FEWEST_ERRORS)
        found[metric] = Difference(metric, mean, float(low), float(high), enough)
    return found


def less(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """What `a` has more than `b` of each metric in each resample, both as of `Resamples.metrics`."""
    return {metric: (a[metric] - b[metric]).tolist() for metric in COMPARED}
