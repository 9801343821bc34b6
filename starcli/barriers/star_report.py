"""Whether a model is a star: the row of the paper's Table 1."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.alignment.measure import POINTS
from starcli.barriers.groups import REGULAR, TO_HELD_OUT, TO_SOURCES, TRAINED, UNALIGNED
from starcli.barriers.intervals import BarrierGroup, Summary, group_of, interval, summarise
from starcli.barriers.pairs import BarrierStore, Pair, barriers
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.result_table import Framed, frame_of
from starcli.evaluation.tasks.task import Scores

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class StarReport(Framed):
    """The paper's Table 1 row, and Table 6's: losses, barriers by group, and what the star gains.

    `regular`: the losses of the sources, which the star is to be as good as; held-out models do not count. `groups`:
    "regular-regular (unaligned)" where the others are aligned first, "regular-regular", "star-source", "star-source
    (training)" where the aligned sources are known, and "star-held-out". `differences` (by split): the mean over
    held-out models h of the mean barrier from sources to h less the barrier from the star to h (`std`, `min`, `max`
    over h too); positive where the star is better connected. `about`: what a result says beside, as of `Barrier`.
    """

    star: Mapping[str, Scores]
    regular: Mapping[str, Summary]
    groups: Mapping[str, BarrierGroup]
    differences: Mapping[str, Summary]
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        """The mean barriers of each group, in one line."""
        found = [
            f"{name}: " + ", ".join(f"{split} {each.mean:.4g}" for split, each in group.summaries.items())
            for name, group in self.groups.items()
        ]
        return f"StarReport({'; '.join(found)})"

    def to_frame(self) -> "DataFrame":
        """A pandas table with a line for each group and split: `pairs` and the summary of the loss barriers.

        Before it stand mean, standard deviation and interval of the metrics' barriers, as
        `accuracy_barriers_mean`, `accuracy_barriers_std` and `accuracy_barriers_interval`.
        """
        # a narrow terminal shows the first and the last columns
        order = ("count", "std", "min", "max", "mean", "interval")
        return frame_of(
            {
                "group": name,
                "split": split,
                "pairs": len(group.pairs),
                **_metric_columns(group.metric_summaries[split]),
                **{key: summary.to_dict()[key] for key in order},
            }
            for name, group in self.groups.items()
            for split, summary in group.summaries.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the curves, which are `barrier` objects of their own; but for `groups` that of the command."""
        metrics = next(iter(self.star.values())).metrics
        return {
            **self.about,
            "star_loss": {split: scores.loss for split, scores in self.star.items()},
            **{f"star_{name}": {split: s.metrics[name] for split, s in self.star.items()} for name in metrics},
            "regular_loss": {split: summary.to_dict() for split, summary in self.regular.items()},
            "groups": {name: group.to_dict() for name, group in self.groups.items()},
            "differences": {split: summary.to_dict() for split, summary in self.differences.items()},
        }


def _metric_columns(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """Mean, standard deviation and interval of each metric's barriers, under flat names."""
    found: dict[str, Any] = {}
    for name, each in summaries.items():
        found |= {f"{name}_mean": each.mean, f"{name}_std": each.std, f"{name}_interval": list(each.interval)}
    return found


STAR = -1
"""Number of the star among the models of a report."""


def regular_pairs(sources: int, held_out: int) -> list[Pair]:
    """Pairs of a source (numbered from 0) and a held-out model (from `sources` on).

    Each has as many sources as there are held-out models, at least 2, at most all: n of each are compared in all n^2
    pairs, as in the paper's appendix C.2. Where there are more sources, each held-out model takes the next ones in a
    circle, so that as many sources as possible take part, and about equally often.
    """
    width = min(sources, max(held_out, 2))
    return sorted(((place * width + i) % sources, sources + place) for place in range(held_out) for i in range(width))


def measure_star(
    evaluator: Evaluator,
    star: Model,
    sources: Sequence[Model],
    held_out: Sequence[Model],
    *,
    alignment: Alignment = AS_GIVEN,
    aligned_sources: Sequence[Model] = (),
    points: int = POINTS,
    stores: Mapping[str, BarrierStore] | None = None,
) -> StarReport:
    """Measure whether `star` is one: its barriers to sources and held-out models, against those of regular models.

    Regular-regular pairs are each held-out model with some of the sources: see `regular_pairs`. The `alignment`
    brings the second model of each pair to the first, in every group alike. `aligned_sources` are the sources as star
    training left them. Models are numbered: sources from 0, then held-out ones; the star is -1.
    """
    if not sources or not held_out:
        raise StarcliError("a star report needs at least one source and one held-out model")
    count = len(sources)
    ends = [PathEnd(model) for model in (*sources, *held_out, star)]  # position -1 is the star
    others = range(count, count + len(held_out))
    stores = stores or {}

    def measure(
        name: str, pairs: list[Pair], strata: list[Sequence[int]], models: Sequence[PathEnd] = ends
    ) -> BarrierGroup:
        how = AS_GIVEN if name in (TRAINED, UNALIGNED) else alignment
        found = barriers(evaluator, models, pairs, points=points, alignment=how, store=stores.get(name), title=name)
        return group_of(pairs, found, strata)

    regular = regular_pairs(count, len(held_out))
    some = sorted({r for r, _ in regular})
    groups = {} if not alignment.active else {UNALIGNED: measure(UNALIGNED, regular, [some, others])}
    groups[REGULAR] = measure(REGULAR, regular, [some, others])
    groups[TO_SOURCES] = measure(TO_SOURCES, [(STAR, n) for n in range(count)], [range(count)])
    if aligned_sources:
        trained = [PathEnd(model) for model in aligned_sources]
        pairs = [(STAR, n) for n in range(len(trained))]
        groups[TRAINED] = measure(TRAINED, pairs, [range(len(trained))], [*trained, ends[STAR]])
    groups[TO_HELD_OUT] = measure(TO_HELD_OUT, [(STAR, h) for h in others], [others])
    return StarReport(
        star={split: _scores_of_star(groups, split, evaluator) for split in evaluator.splits},
        regular={split: _losses_of_sources(groups, split) for split in evaluator.splits},
        groups=groups,
        differences={split: _difference(groups, split) for split in evaluator.splits},
    )


def _scores_of_star(groups: Mapping[str, BarrierGroup], split: str, evaluator: Evaluator) -> Scores:
    """The scores at the beginning of the star's lines."""
    curve = groups[TO_SOURCES].barriers[0].curves[split]
    metrics = {name: values[0] for name, values in curve.metrics.items()}
    return Scores(curve.loss[0], metrics, len(evaluator.workspace.dataset.split(split)))


def _losses_of_sources(groups: Mapping[str, BarrierGroup], split: str) -> Summary:
    """The losses at the ends of the star's lines, which are the sources."""
    group = groups[TO_SOURCES]
    losses = [each.curves[split].loss[-1] for each in group.barriers]
    return summarise(losses, group.pairs, [range(len(losses))], least=0.0)


def _difference(groups: Mapping[str, BarrierGroup], split: str) -> Summary:
    """Regular less star barrier, paired on the held-out model; the interval counts both kinds of model."""
    regular, star = groups[REGULAR], groups[TO_HELD_OUT]
    to_star = {h: b.curves[split].loss_barrier for (_, h), b in zip(star.pairs, star.barriers, strict=True)}
    differences = [
        b.curves[split].loss_barrier - to_star[h] for (_, h), b in zip(regular.pairs, regular.barriers, strict=True)
    ]
    strata = [sorted({pair[side] for pair in regular.pairs}) for side in (0, 1)]
    each = [
        statistics.fmean(d for d, (_, pair_h) in zip(differences, regular.pairs, strict=True) if pair_h == h)
        for h in to_star
    ]
    over_held_out = summarise(each, [(STAR, h) for h in to_star], [])
    return replace(over_held_out, interval=interval(differences, regular.pairs, strata))
