"""Bayesian model averaging: the star domain as a posterior, against the ensemble of its sources and single models.

A sample of the star domain is a point (1 - t) star + t source, the source uniform among them and t ~ Unif[0, 1] or
of another law (`starcli.averaging.sampling`);
the average is over softmax outputs. Section 4.1 of the paper. A temperature is applied to the average, not to its
members: pool, then calibrate, is the better order (Rahaman and Thiery 2021).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from starcli.averaging.posterior_row import Posterior, PosteriorRow, ResampledDifferences, compared, row_of
from starcli.averaging.sampling import UNIFORM_POINTS, PointSampling
from starcli.errors import StarcliError, number_of
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.paired_bootstrap import less
from starcli.evaluation.scoring import Resampled, Scored, Scoring
from starcli.evaluation.temperature import VALIDATION
from starcli.runtime.rehearsal import alike, repeated, sampled
from starcli.runtime.sharing import own_share, share_out

COPIES_AVERAGED = 4
"""How many times predictions are held at least while they are averaged: sum, next sum, a member, and a mean."""

KEPT_PREDICTION_BYTES = 2 * 2**30
"""Predictions of sources are kept between repeats up to this size; beyond it they are computed again."""


Keep = Callable[[str, Callable[[], Any]], Any]
"""keep(name, compute): the JSON-able value of `compute`, or what was kept under that name by an earlier run."""


class Members:
    """Predictions of the sources and of points between them and the star, all with statistics re-estimated.

    outputs: the predictions (N, classes) of what an evaluator has loaded.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        star: Model,
        sources: Sequence[Model],
        outputs: Callable[[Evaluator], Tensor],
    ) -> None:
        self.evaluator, self.star, self.outputs = evaluator, PathEnd(star), outputs
        self.sources = [PathEnd(source) for source in sources]
        self._kept: dict[int, Tensor] = {}

    def source(self, position: int) -> Tensor:
        """Of one source; kept, for other repeats need it too."""
        if position in self._kept:
            return self._kept[position]
        output = repeated("models of the ensemble", lambda: self._found(self.sources[position].model))
        if (len(self._kept) + 1) * output.nbytes <= KEPT_PREDICTION_BYTES:
            self._kept[position] = output
        return output

    def between(self, position: int, t: float) -> Tensor:
        """Of the point (1 - t) star + t source."""
        return repeated("points of the star domain", lambda: self._point(position, t))

    def _point(self, position: int, t: float) -> Tensor:
        self.evaluator.load_between(self.star, self.sources[position], t)
        return self._measured()

    def _found(self, model: Model) -> Tensor:
        self.evaluator.load(model)
        return self._measured()

    def _measured(self) -> Tensor:
        output = self.outputs(self.evaluator)
        self.evaluator.progress.step()
        return output


def average_models(
    evaluator: Evaluator,
    star: Model,
    sources: Sequence[Model],
    *,
    generator: torch.Generator,
    samples: int,
    repeats: int,
    points: PointSampling = UNIFORM_POINTS,
    scoring: Scoring | None = None,
    keep: Keep = lambda _, compute: compute(),
) -> list[PosteriorRow]:
    """Rows for single models, then for 2, 3, ..., `samples` members of the star domain and of the ensemble.

    `sources` are as they are to be used: aligned to the star by the caller. The ensemble draws them without
    replacement, so that its rows end at their number. Every member, sources too, has its BatchNorm statistics
    re-estimated. A sample's predictions are computed once and serve every k; each repeat draws everything anew;
    the ranks share the repeats. points: how these of the star domain are drawn. scoring: on what, at which temperature
    (default: the test split, at none). What `keep` has of an earlier run with these models and settings is not measured
    again.
    Raises StarcliError for fewer than 2 samples, repeats or sources that make no sense, Interrupted when asked to stop.
    """
    problems = [
        f"{what}: {found}, expected at least {least}"
        for what, found, least in (("samples", samples, 2), ("repeats", repeats, 1), ("sources", len(sources), 2))
        if found < least
    ]
    if problems:
        raise StarcliError("nothing to average", problems)
    scoring = scoring or Scoring(evaluator.workspace.dataset)
    members = Members(evaluator, star, sources, scoring.outputs)
    draws = [draw_members(len(sources), samples, points, generator) for _ in range(repeats)]
    evaluator.admit([star, *sources])
    evaluator.progress.start("bma", own_share(len(sources)) + own_share(repeats) * samples)

    def alone(position: int) -> Any:
        return keep(f"source {position}", lambda: asdict(scoring.score(members.source(position))))

    def repeat(number: int) -> Any:
        return keep(f"repeat {number}", lambda: _repeat(members, draws[number], samples, scoring))

    single = [Scored.from_dict(values) for values in share_out(range(len(sources)), alone)]
    found: dict[tuple[Posterior, int], list[Scored]] = {}
    drawn: dict[int, list[ResampledDifferences]] = {}
    what = f"repeats of up to {number_of(samples, 'model')}"
    for one in alike(what, range(repeats), lambda own: share_out(own, repeat)):
        for posterior, count, values in one["scored"]:
            found.setdefault((posterior, count), []).append(Scored.from_dict(values))
        for count, differences in one["star_less_ensemble"]:
            drawn.setdefault(count, []).append(differences)
    evaluator.progress.finish()
    rows = [row_of("single", 1, single)]
    for (posterior, count), values in found.items():
        row = row_of(posterior, count, values)
        if posterior == "star" and count in drawn:
            models = min(count, len(sources))
            row = compared(row, models, values, found["ensemble", models], drawn[count])
        rows.append(row)
    fitted = scoring.temperature == "fit"
    return [replace(row, fitted_on=VALIDATION) if fitted and row.temperature is not None else row for row in rows]


@dataclass(frozen=True)
class Draw:
    """One repeat: points (source, t) of the star domain, and the order of the ensemble's members."""

    points: list[tuple[int, float]]
    order: list[int]


def draw_members(sources: int, samples: int, points: PointSampling, generator: torch.Generator) -> Draw:
    """`samples` points (source, t) of the star domain, and as many of the ensemble as there are, in random order."""
    found = points.points(sources, samples, generator)
    order = torch.randperm(sources, generator=generator)[:samples].tolist()
    return Draw(found, order)


def _repeat(members: Members, draw: Draw, samples: int, scoring: Scoring) -> dict[str, Any]:
    """Metrics of the first 2, 3, ... members of both, which are computed as they are added, and their differences.

    `scored` has (posterior, count, metrics), `star_less_ensemble` (count, differences in resamples of the examples):
    from the ensemble of as many, or of all.
    """
    outputs: dict[Posterior, Iterator[Tensor]] = {
        "star": (members.between(position, t) for position, t in draw.points),
        "ensemble": (members.source(position) for position in draw.order),
    }
    number: dict[Posterior, int] = {"star": samples, "ensemble": len(draw.order)}  # a rehearsal draws few points
    scored: list[tuple[Posterior, int, dict[str, Any]]] = []
    resampled: dict[tuple[Posterior, int], Resampled] = {}
    for posterior, each in outputs.items():
        for count, average in enumerate(sampled(scoring.task.means(each), number[posterior]), start=1):
            if count == 1:
                continue
            found = scoring.score(average)
            scored.append((posterior, count, asdict(found)))
            resampled[posterior, count] = scoring.resampled(average, found.temperature)
    pairs = (
        # a rehearsal has few counts, of the one posterior perhaps others than of the other
        (count, star, resampled.get(("ensemble", min(count, number["ensemble"])), ()))
        for (posterior, count), star in resampled.items()
        if posterior == "star"
    )
    differences = [
        # a temperature may have been found for one alone
        (count, [less(a, b) for a, b in zip(star, others, strict=False)])
        for count, star, others in pairs
        if star and others
    ]
    return {"scored": scored, "star_less_ensemble": differences}
