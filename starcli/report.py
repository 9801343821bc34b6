"""What many barriers say together: means, spreads, bootstrap intervals over models, and the paper's Table 1 row."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from starcli.errors import StarcliError
from starcli.evaluation import End, Evaluator, Scores
from starcli.path import POINTS, Align, Barrier, Model, Store, barriers

DRAWS = 10_000
"""Bootstrap resamples: enough that the interval's ends move by less than a hundredth of its width."""

LEVEL = 0.95

Pair = tuple[int, int]


@dataclass(frozen=True)
class Summary:
    """A group of numbers: `std` is the sample's (NaN for one value), `interval` a 95% bootstrap over models."""

    count: int
    mean: float
    std: float
    min: float
    max: float
    interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "interval": list(self.interval)}


def summarise(
    values: Sequence[float], pairs: Sequence[Pair], strata: Sequence[Sequence[int]], generator: torch.Generator
) -> Summary:
    """Mean, spread and extremes of `values`, one a pair of models, and the mean's interval over models.

    Barriers that share a model are not independent, so models are drawn with replacement (within each of `strata`,
    lists of model numbers; others are fixed) and a pair counts as often as the product of its models' draws: the
    weighted mean of each resample, of which the middle 95% is the interval (Efron and Tibshirani 1993, percentile).
    NaN where a stratum has one model only.
    """
    if len(values) != len(pairs) or not values:
        raise StarcliError(f"{len(values)} values for {len(pairs)} pairs of models")
    std = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
    interval = _interval(values, pairs, strata, generator)
    return Summary(len(values), math.fsum(values) / len(values), std, min(values), max(values), interval)


def _interval(
    values: Sequence[float], pairs: Sequence[Pair], strata: Sequence[Sequence[int]], generator: torch.Generator
) -> tuple[float, float]:
    if any(len(stratum) < 2 for stratum in strata) or not all(map(math.isfinite, values)):
        return math.nan, math.nan
    position = {model: place for place, model in enumerate(sorted({m for pair in pairs for m in pair}))}
    drawn = torch.ones(DRAWS, len(position), dtype=torch.float64)
    for stratum in strata:
        choice = torch.randint(len(stratum), (DRAWS, len(stratum)), generator=generator)
        counts = torch.zeros(DRAWS, len(stratum), dtype=torch.float64)
        counts.scatter_add_(1, choice, torch.ones_like(counts))
        for place, model in enumerate(stratum):
            if model in position:
                drawn[:, position[model]] = counts[:, place]
    weights = drawn[:, [position[a] for a, _ in pairs]] * drawn[:, [position[b] for _, b in pairs]]  # (draws, pairs)
    totals = weights.sum(dim=1)
    # a resample of one model alone has no pair
    means = ((weights @ torch.tensor(values, dtype=torch.float64)) / totals)[totals > 0]
    low, high = torch.quantile(means, torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)).tolist()
    return low, high


@dataclass(frozen=True)
class Group:
    """Barriers of one kind: which pairs (numbers of models, star = -1) and their paths."""

    pairs: tuple[Pair, ...]
    barriers: tuple[Barrier, ...]
    train: Summary
    test: Summary

    def to_json(self) -> dict[str, Any]:
        return {"train": self.train.to_json(), "test": self.test.to_json()}


@dataclass(frozen=True)
class StarReport:
    """The paper's Table 1 row, and Table 6's: losses, barriers by group, and what the star gains.

    `groups`: "regular-regular (unaligned)" where the others are aligned first, "regular-regular", "star-source",
    "star-source (training)" where the aligned sources are known, and "star-held-out". `differences` (train, test): the
    mean over held-out models h of the mean barrier from sources to h less the barrier from the star to h (`std`, `min`,
    `max` over h too); positive where the star is better connected.
    """

    star: Mapping[str, Scores]
    regular: Mapping[str, Summary]
    groups: Mapping[str, Group]
    differences: Mapping[str, Summary]

    def to_json(self) -> dict[str, Any]:
        """Everything but the curves, which are `barrier` objects of their own."""
        return {
            "star_loss": {split: scores.loss for split, scores in self.star.items()},
            "star_accuracy": {split: scores.accuracy for split, scores in self.star.items()},
            "regular_loss": {split: summary.to_json() for split, summary in self.regular.items()},
            "groups": {name: group.to_json() for name, group in self.groups.items()},
            "differences": {split: summary.to_json() for split, summary in self.differences.items()},
        }


STAR = -1

TRAINED = "star-source (training)"
UNALIGNED = "regular-regular (unaligned)"

SPLITS = ("train", "test")


def group_of(
    pairs: Sequence[Pair], found: Sequence[Barrier], strata: Sequence[Sequence[int]], generator: torch.Generator
) -> Group:
    """Summarise the barriers of `pairs`; `strata` as in `summarise`."""
    train, test = (
        summarise([getattr(b, split).loss_barrier for b in found], pairs, strata, generator) for split in SPLITS
    )
    return Group(tuple(pairs), tuple(found), train, test)


def star_report(
    evaluator: Evaluator,
    star: Model,
    sources: Sequence[Model],
    held_out: Sequence[Model],
    *,
    generator: torch.Generator,
    align: Align | None = None,
    aligned_sources: Sequence[Model] = (),
    points: int = POINTS,
    partners: int | None = None,
    stores: Mapping[str, Store] | None = None,
) -> StarReport:
    """Measure whether `star` is one: its barriers to sources and held-out models, against those of regular models.

    Regular-regular pairs are each of the first `partners` sources (default: as many as there are held-out models, at
    least 2) with each held-out model, as in the paper's appendix C.2. With `align`, the second model of each pair is
    aligned to the first, in every group alike. `aligned_sources` are the sources as star training left them.
    Models are numbered: sources from 0, then held-out ones; the star is -1.
    """
    if not sources or not held_out:
        raise StarcliError("a star report needs at least one source and one held-out model")
    count = len(sources)
    ends = [End(model) for model in (*sources, *held_out, star)]  # position -1 is the star
    some = range(min(count, max(len(held_out), 2) if partners is None else partners))
    others = range(count, count + len(held_out))
    stores = stores or {}

    def measure(name: str, pairs: list[Pair], strata: list[range], models: Sequence[End] = ends) -> Group:
        aligning = None if name in (TRAINED, UNALIGNED) else align
        found = barriers(evaluator, models, pairs, points=points, align=aligning, store=stores.get(name), title=name)
        return group_of(pairs, found, strata, generator)

    regular = [(r, h) for r in some for h in others]
    groups = {} if align is None else {UNALIGNED: measure(UNALIGNED, regular, [some, others])}
    groups["regular-regular"] = measure("regular-regular", regular, [some, others])
    groups["star-source"] = measure("star-source", [(STAR, n) for n in range(count)], [range(count)])
    if aligned_sources:
        trained = [End(model) for model in aligned_sources]
        pairs = [(STAR, n) for n in range(len(trained))]
        groups[TRAINED] = measure(TRAINED, pairs, [range(len(trained))], [*trained, ends[STAR]])
    groups["star-held-out"] = measure("star-held-out", [(STAR, h) for h in others], [others])
    to_sources = groups["star-source"]
    sizes = {split: len(getattr(evaluator.workspace.dataset, split)) for split in SPLITS}
    first = {split: getattr(to_sources.barriers[0], split) for split in SPLITS}
    return StarReport(
        star={split: Scores(c.loss[0], c.accuracy[0], sizes[split]) for split, c in first.items()},
        regular={
            split: summarise(
                [getattr(b, split).loss[-1] for b in to_sources.barriers], to_sources.pairs, [range(count)], generator
            )
            for split in SPLITS
        },
        groups=groups,
        differences={split: _difference(groups, split, generator) for split in SPLITS},
    )


def _difference(groups: Mapping[str, Group], split: str, generator: torch.Generator) -> Summary:
    """Regular less star barrier, paired on the held-out model; both kinds of model are resampled."""
    regular, star = groups["regular-regular"], groups["star-held-out"]
    to_star = {h: getattr(b, split).loss_barrier for (_, h), b in zip(star.pairs, star.barriers, strict=True)}
    differences = [
        getattr(b, split).loss_barrier - to_star[h] for (_, h), b in zip(regular.pairs, regular.barriers, strict=True)
    ]
    strata = [sorted({pair[side] for pair in regular.pairs}) for side in (0, 1)]
    each = [
        statistics.fmean(d for d, (_, pair_h) in zip(differences, regular.pairs, strict=True) if pair_h == h)
        for h in to_star
    ]
    over_held_out = summarise(each, [(STAR, h) for h in to_star], [], generator)
    return replace(over_held_out, interval=_interval(differences, regular.pairs, strata, generator))
