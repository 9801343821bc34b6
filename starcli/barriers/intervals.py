"""Summaries of many barriers: means, spreads, and intervals that count models, not pairs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from starcli.barriers.line_barrier import Barrier
from starcli.barriers.pairs import Pair
from starcli.errors import StarcliError, number_of

LEVEL = 0.95
"""Of the intervals."""

FEWEST_MODELS = 3
"""Of fewer models no interval is given: two numbers say nearly nothing of how far a third may lie."""


@dataclass(frozen=True)
class Summary:
    """A group of numbers: `std` is the sample's (NaN for one value), `interval` a 95% one for the mean, over models."""

    count: int
    mean: float
    std: float
    min: float
    max: float
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain numbers."""
        return {**asdict(self), "interval": list(self.interval)}


def summarise(
    values: Sequence[float], pairs: Sequence[Pair], strata: Sequence[Sequence[int]], *, least: float = -math.inf
) -> Summary:
    """Mean, spread and extremes of `values`, one a pair of models, and an interval for the mean over models.

    strata: lists of the models (numbers as in `pairs`) that are taken as independent draws, such as the sources and the
    held-out models; models in none of them are fixed. least: what no value can be below (0 for a barrier), where the
    interval is cut. Its formula is that of `interval`.
    """
    if len(values) != len(pairs) or not values:
        raise StarcliError(f"{len(values)} values for {len(pairs)} pairs of models")
    std = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
    low, high = interval(values, pairs, strata)
    ends = (max(low, least), high) if math.isfinite(low) else (low, high)
    if any(map(math.isnan, values)):  # Python's `min` depends on where it stands
        return Summary(len(values), math.nan, math.nan, math.nan, math.nan, ends)
    mean = (math.fsum if all(map(math.isfinite, values)) else sum)(values) / len(values)
    return Summary(len(values), mean, std, min(values), max(values), ends)


def interval(values: Sequence[float], pairs: Sequence[Pair], strata: Sequence[Sequence[int]]) -> tuple[float, float]:
    """mean +- t(df) * sqrt(sum_s v_s), a 95% interval for the mean that counts models and not pairs.

    v_s = (n - 1) / n * sum_m (mean without the pairs of m - their average)^2   over the n models m of stratum s,
    df = (sum_s v_s)^2 / sum_s v_s^2 / (n_s - 1).

    Pairs that share a model are not independent; the models within a stratum are assumed to be (trained alike, from
    seeds of their own), and their effects on the mean to be near normal. So each model is left out in turn with all its
    pairs: the jackknife (Arvesen 1969, for means over pairs), whose variance is too large rather than too small (Efron
    and Stein 1981), with the degrees of freedom of Welch and Satterthwaite. Where each value has a model of its own
    this is Student's interval, mean +- t(n - 1) * std / sqrt(n). What is fixed (the star, the first model) stays so: of
    other stars the interval says nothing. NaN for fewer than 3 models in a stratum, or values that are not finite.
    """
    if not strata or min(map(len, strata)) < FEWEST_MODELS or not all(map(math.isfinite, values)):
        return math.nan, math.nan
    total, sums, counts = math.fsum(values), dict[int, float](), dict[int, int]()
    for value, pair in zip(values, pairs, strict=True):
        for model in set(pair):
            sums[model] = sums.get(model, 0.0) + value
            counts[model] = counts.get(model, 0) + 1
    if max(counts.get(model, 0) for stratum in strata for model in stratum) == len(values):
        return math.nan, math.nan  # without that model nothing is left
    parts = []
    for stratum in strata:
        without = [(total - sums.get(m, 0.0)) / (len(values) - counts.get(m, 0)) for m in stratum]
        parts.append((statistics.pvariance(without) * (len(stratum) - 1), len(stratum) - 1))
    mean, variance = total / len(values), math.fsum(part for part, _ in parts)
    if variance == 0:
        return mean, mean
    from scipy.special import stdtrit

    freedom = variance**2 / math.fsum(part**2 / df for part, df in parts)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)
    return mean - half, mean + half


@dataclass(frozen=True, repr=False)
class BarrierGroup:
    """Barriers of one kind: which pairs (numbers of models, star = -1) and their paths."""

    pairs: tuple[Pair, ...]
    barriers: tuple[Barrier, ...]
    summaries: Mapping[str, Summary]
    """Of the loss barriers, by split."""
    metric_summaries: Mapping[str, Mapping[str, Summary]]
    """Of the barriers of the task's metrics, by split and `accuracy_barriers` or its like."""
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What a result says beside, as of `Barrier`, and what the group is called."""

    def __repr__(self) -> str:
        """The number of pairs and their mean barriers, in one line."""
        found = ", ".join(f"{split} {each.mean:.4g}" for split, each in self.summaries.items())
        return f"BarrierGroup({number_of(len(self.pairs), 'pair')}, mean barrier {found})"

    def to_dict(self) -> dict[str, Any]:
        """The summaries as plain numbers, by split, beside what they are of; within a split also those of metrics."""
        summaries = {
            split: {**each.to_dict(), **{name: m.to_dict() for name, m in self.metric_summaries[split].items()}}
            for split, each in self.summaries.items()
        }
        return {**self.about, "count": len(self.pairs), **summaries}


def group_of(pairs: Sequence[Pair], found: Sequence[Barrier], strata: Sequence[Sequence[int]]) -> BarrierGroup:
    """Summarise the barriers of `pairs`; `strata` as in `summarise`."""
    summaries, metrics = {}, {}
    for split, first in found[0].curves.items():
        curves = [barrier.curves[split] for barrier in found]
        summaries[split] = summarise([curve.loss_barrier for curve in curves], pairs, strata, least=0.0)
        metrics[split] = {
            f"{name}_barriers": summarise([curve.barriers[name] for curve in curves], pairs, strata, least=0.0)
            for name in first.barriers
        }
    return BarrierGroup(tuple(pairs), tuple(found), summaries, metrics)
