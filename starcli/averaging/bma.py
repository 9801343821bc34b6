"""Bayesian model averaging: the star domain as a posterior, against the ensemble of its sources and single models.

A sample of the star domain is a point (1 - t) star + t source, the source uniform among them and t ~ Unif[0, 1] or
of another law (`starcli.averaging.sampling`);
the average is over softmax outputs. Section 4.1 of the paper. A temperature is applied to the average, not to its
members: pool, then calibrate, is the better order (Rahaman and Thiery 2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from starcli.averaging.members import Draw, Members, draw_members
from starcli.averaging.posterior_row import Posterior, PosteriorRow, compared, row_of
from starcli.averaging.repeat import Repeat, add_differences_
from starcli.averaging.sampling import UNIFORM_POINTS, PointSampling
from starcli.errors import StarcliError, number_of
from starcli.evaluation.evaluator import Evaluator, Model
from starcli.evaluation.scoring import Scored, Scoring
from starcli.evaluation.temperature import VALIDATION
from starcli.runtime.rehearsal import first_few_if_rehearsed, present_rehearsal
from starcli.runtime.sharing import deal, own_share, share_out

COPIES_AVERAGED = 4
"""How many times predictions are held at least while they are averaged: sum, next sum, a member, and a mean."""

COUNTS_AT_ONCE = 250
"""Numbers of models whose resamples are held together, 12 MB; of more models each repeat holds its sum in between."""

Keep = Callable[[str, Callable[[], Any]], Any]
"""keep(name, compute): the JSON-able value of `compute`, or what was kept under that name by an earlier run."""


@dataclass(frozen=True)
class Draws:
    """How models of an average are drawn: up to `samples`, all of them anew in each of the `repeats`, from `seed`.

    points: how those of the star domain are drawn.
    """

    samples: int
    repeats: int
    seed: int
    points: PointSampling = UNIFORM_POINTS


def average_models(
    evaluator: Evaluator,
    star: Model,
    sources: Sequence[Model],
    draws: Draws,
    *,
    scoring: Scoring | None = None,
    keep: Keep = lambda _, compute: compute(),
) -> list[PosteriorRow]:
    """Rows for single models, then for 2, 3, ..., `draws.samples` members of the star domain and of the ensemble.

    `sources` are as they are to be used: aligned to the star by the caller. The ensemble draws them without
    replacement, so that its rows end at their number. Every member, sources too, has its BatchNorm statistics
    re-estimated. A sample's predictions are computed once and serve every k; each repeat draws everything anew;
    the ranks share the repeats. scoring: on what, at which temperature (default: the test split, at none). What `keep`
    has of an earlier run with these models and settings is not measured again.
    Raises StarcliError for fewer than 2 samples, repeats or sources that make no sense, Interrupted when asked to stop.
    """
    sizes = (("samples", draws.samples, 2), ("repeats", draws.repeats, 1), ("sources", len(sources), 2))
    problems = [f"{what}: {found}, expected at least {least}" for what, found, least in sizes if found < least]
    if problems:
        raise StarcliError("nothing to average", problems)
    scoring = scoring or Scoring(evaluator.workspace.dataset)
    members = Members(evaluator, star, sources, scoring.outputs)
    evaluator.admit([star, *sources])
    evaluator.progress.start("bma", own_share(len(sources)) + own_share(draws.repeats) * draws.samples)

    def alone(position: int) -> Any:
        return keep(f"source {position}", lambda: asdict(scoring.score(members.source(position))))

    single = [Scored.from_dict(values) for values in share_out(range(len(sources)), alone)]
    rows = [row_of("single", 1, single), *_rows(_Repeats(members, draws, scoring, keep))]
    evaluator.progress.finish()
    fitted = scoring.temperature == "fit"
    return [replace(row, fitted_on=VALIDATION) if fitted and row.temperature is not None else row for row in rows]


@dataclass(frozen=True)
class _Repeats:
    """All repeats, each drawn when the first of its averages is asked for, in their order."""

    members: Members
    draws: Draws
    scoring: Scoring
    keep: Keep
    _drawn: list[Draw] = field(default_factory=list)
    _begun: dict[int, Repeat] = field(default_factory=dict)

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.draws.seed)

    @property
    def pieces(self) -> list[range]:
        """The numbers of models, those in a piece to be averaged together; a rehearsal takes few of one piece."""
        samples = self.draws.samples
        size = samples if present_rehearsal() else COUNTS_AT_ONCE
        return [range(first, min(first + size, samples + 1)) for first in range(2, samples + 1, size)]

    def scored(self, number: int, counts: range) -> dict[str, Any]:
        """Scores of one repeat at these numbers of models, computed by `Repeat.scored` or recalled."""
        sources, samples = len(self.members.sources), self.draws.samples
        while len(self._drawn) <= number:
            self._drawn.append(draw_members(sources, samples, self.draws.points, self._generator))
        begun = self._begun.pop(number, None)
        repeat = begun or Repeat(self.members, self._drawn[number], samples, self.scoring)
        if counts[-1] < samples:
            self._begun[number] = repeat
        found: dict[str, Any] = self.keep(f"repeat {number}, {counts}", lambda: repeat.scored(counts))
        return found


def _rows(repeats: _Repeats) -> list[PosteriorRow]:
    """Rows of the star domain, then of the ensemble: means over the repeats, which the ranks share."""
    numbers, what = range(repeats.draws.repeats), f"repeats of up to {number_of(repeats.draws.samples, 'model')}"
    rows: dict[Posterior, list[PosteriorRow]] = {"star": [], "ensemble": []}
    ensembles: dict[int, list[Scored]] = {}
    for counts in repeats.pieces:
        found: dict[Posterior, dict[int, list[Scored]]] = {"star": {}, "ensemble": ensembles}
        summed: dict[int, Tensor] = {}
        scored = partial(repeats.scored, counts=counts)
        for one in first_few_if_rehearsed(what, numbers, partial(deal, work=scored)):
            for posterior, by_count in found.items():
                for count, values in one[posterior]:
                    by_count.setdefault(count, []).append(Scored.from_dict(values))
            add_differences_(summed, one["star_less_ensemble"])
        for count, values in found["star"].items():
            row, models = row_of("star", count, values), min(count, len(repeats.members.sources))
            if count in summed:
                row = compared(row, models, values, ensembles[models], summed[count] / len(values))
            rows["star"].append(row)
        rows["ensemble"] += [row_of("ensemble", count, ensembles[count]) for count in ensembles if count in counts]
    return [*rows["star"], *rows["ensemble"]]
