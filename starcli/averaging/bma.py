"""Bayesian model averaging: the star domain as a posterior, against the ensemble of its sources and single models.

A sample of the star domain is a point (1 - t) star + t source, the source uniform among them and t ~ Unif[0, 1];
the average is over softmax outputs. Section 4.1 of the paper. A temperature is applied to the average, not to its
members: pool, then calibrate, is the better order (Rahaman and Thiery 2021).
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.evaluation.confidence import CONFIDENCE_METRICS, FEWEST_ERRORS, Confidence, Reliability, pooled
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.scoring import Scored, Scoring
from starcli.evaluation.tasks.task import Measures
from starcli.evaluation.temperature import VALIDATION
from starcli.runtime.distributed import own_share, share_out

Posterior = Literal["star", "ensemble", "single"]

COPIES_AVERAGED = 4
"""How many times predictions are held at least while they are averaged: sum, next sum, a member, and a mean."""

KEPT_PREDICTION_BYTES = 2 * 2**30
"""Predictions of sources are kept between repeats up to this size; beyond it they are computed again."""


@dataclass(frozen=True)
class PosteriorRow:
    """The metrics of one posterior at one number of samples: mean and standard deviation over `repeats` draws.

    For "single" the mean and deviation are over the sources. `decided` is false where there are fewer than 30 test
    errors on average: which posterior ranks its errors better is then not decided. `reliability` is of the predictions
    of all repeats; None where the task has no confidence.

    temperature, scaled: the mean temperature, and mean and `_std` of each metric with it, where one was asked for and
    found in every repeat. validation_loss: the mean loss on the validation split, where the number of samples is to be
    chosen by it. selected_on: the split by which this row was chosen, see `choose_samples`.
    """

    posterior: Posterior
    samples: int
    repeats: int
    mean: Mapping[str, float]
    std: Mapping[str, float]
    reliability: Reliability | None
    temperature: float | None = None
    scaled: Mapping[str, float] | None = None
    validation_loss: float | None = None
    selected_on: str | None = None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PosteriorRow":
        """Inverse of `asdict`, also after JSON changed the order of keys, on which results must not depend."""
        if value["reliability"] is None:
            return cls(**value)
        names = (*CONFIDENCE_METRICS, *(f"{name}_std" for name in CONFIDENCE_METRICS))
        scaled = value["scaled"] and {name: value["scaled"][name] for name in names}
        sides = {side: {name: value[side][name] for name in CONFIDENCE_METRICS} for side in ("mean", "std")}
        return cls(**{**value, **sides, "scaled": scaled, "reliability": Reliability.from_dict(value["reliability"])})

    @property
    def decided(self) -> bool:
        """Whether there are enough errors for the ranking metrics to mean anything."""
        return self.reliability is None or self.mean["errors"] >= FEWEST_ERRORS

    def to_dict(self) -> dict[str, Any]:
        """`posterior`, `samples`, `repeats`, `decided`, metrics and their `_std`, `reliability`, and more if asked."""
        row: dict[str, Any] = {"posterior": self.posterior, "samples": self.samples, "repeats": self.repeats}
        spread = _with_spread(self.mean, self.std)
        if self.reliability is None:
            row |= spread
        else:
            row |= {"decided": self.decided, **spread, "reliability": self.reliability.to_dict()}
        loss = "validation_loss" if self.reliability is None else "validation_nll"
        more: dict[str, Any] = {"temperature": self.temperature, "scaled": self.scaled, loss: self.validation_loss}
        more["selected_on"] = self.selected_on
        return row | {name: value for name, value in more.items() if value is not None}


def _with_spread(mean: Mapping[str, float], std: Mapping[str, float]) -> dict[str, float]:
    return {**mean, **{f"{name}_std": value for name, value in std.items()}}


def _row(posterior: Posterior, samples: int, found: Sequence[Scored]) -> PosteriorRow:
    mean, std = _moments([one.plain for one in found])
    bins = [one.plain.reliability for one in found if isinstance(one.plain, Confidence)]
    temperatures = [one.temperature for one in found if one.temperature is not None]
    scaled = [one.scaled for one in found if one.scaled is not None]
    losses = [one.validation_loss for one in found if one.validation_loss is not None]
    everywhere = len(scaled) == len(found)
    return PosteriorRow(
        posterior, samples, len(found), mean, std, pooled(bins) if bins else None,
        temperature=statistics.fmean(temperatures) if everywhere else None,
        scaled=_with_spread(*_moments(scaled)) if everywhere else None,
        validation_loss=statistics.fmean(losses) if losses else None,
    )  # fmt: skip


def _moments(found: Sequence[Confidence | Measures]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation of each metric."""
    columns = {name: [one.values[name] for one in found] for name in found[0].values}
    mean = {name: math.fsum(values) / len(values) for name, values in columns.items()}
    return mean, {name: _deviation(values) for name, values in columns.items()}


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN for a single value or where one is NaN."""
    if len(values) < 2 or any(math.isnan(value) for value in values):
        return math.nan
    return statistics.stdev(values)


def choose_samples(rows: Sequence[PosteriorRow]) -> list[PosteriorRow]:
    """The rows of star domain and ensemble whose number of samples has the least validation loss, the fewest of equals.

    They are among `rows`, which have a `validation_loss`, and say so in `selected_on`.
    """

    def loss(row: PosteriorRow) -> float:
        return math.inf if row.validation_loss is None else row.validation_loss

    found = [[row for row in rows if row.posterior == posterior] for posterior in ("star", "ensemble")]
    return [replace(min(some, key=loss), selected_on=VALIDATION) for some in found]


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
        self.evaluator.load(self.sources[position].model)
        output = self.outputs(self.evaluator)
        self.evaluator.progress.step()
        if (len(self._kept) + 1) * output.nbytes <= KEPT_PREDICTION_BYTES:
            self._kept[position] = output
        return output

    def between(self, position: int, t: float) -> Tensor:
        """Of the point (1 - t) star + t source."""
        self.evaluator.load_between(self.star, self.sources[position], t)
        output = self.outputs(self.evaluator)
        self.evaluator.progress.step()
        return output


def average_models(
    evaluator: Evaluator,
    star: Model,
    sources: Sequence[Model],
    *,
    generator: torch.Generator,
    samples: int = 19,
    repeats: int = 3,
    scoring: Scoring | None = None,
    keep: Keep = lambda _, compute: compute(),
) -> list[PosteriorRow]:
    """Rows for single models, then for 2, 3, ..., `samples` members of the star domain and of the ensemble.

    `sources` are as they are to be used: aligned to the star by the caller. The ensemble draws them without
    replacement, so that its rows end at their number. Every member, sources too, has its BatchNorm statistics
    re-estimated. A sample's predictions are computed once and serve every k; each repeat draws everything anew;
    the ranks share the repeats. scoring: on what, at which temperature (default: the test split, at none). What `keep`
    has of an earlier run with these models and settings is not measured again.
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
    draws = [draw_members(len(sources), samples, generator) for _ in range(repeats)]
    evaluator.admit([star, *sources])
    evaluator.progress.start("bma", own_share(len(sources)) + own_share(repeats) * samples)

    def alone(position: int) -> Any:
        return keep(f"source {position}", lambda: asdict(scoring.score(members.source(position))))

    def repeat(number: int) -> Any:
        return keep(f"repeat {number}", lambda: _repeat(members, draws[number], scoring))

    single = [Scored.from_dict(values) for values in share_out(range(len(sources)), alone)]
    found: dict[tuple[Posterior, int], list[Scored]] = {}
    for rows_of_one in share_out(range(repeats), repeat):
        for posterior, count, values in rows_of_one:
            found.setdefault((posterior, count), []).append(Scored.from_dict(values))
    evaluator.progress.finish()
    rows = [_row(posterior, count, values) for (posterior, count), values in found.items()]
    return [_row("single", 1, single), *rows]


@dataclass(frozen=True)
class Draw:
    """One repeat: points (source, t) of the star domain, and the order of the ensemble's members."""

    points: list[tuple[int, float]]
    order: list[int]


def draw_members(sources: int, samples: int, generator: torch.Generator) -> Draw:
    """`samples` points (source, t) of the star domain, and as many of the ensemble as there are, in random order."""
    chosen = torch.randint(sources, (samples,), generator=generator).tolist()
    ts = torch.rand(samples, generator=generator, dtype=torch.float64).tolist()
    order = torch.randperm(sources, generator=generator)[:samples].tolist()
    return Draw(list(zip(chosen, ts, strict=True)), order)


def _repeat(members: Members, draw: Draw, scoring: Scoring) -> list[tuple[Posterior, int, dict[str, Any]]]:
    """(posterior, count, metrics) of the first 2, 3, ... members of both; members are computed as they are added."""
    outputs: dict[Posterior, Iterator[Tensor]] = {
        "star": (members.between(position, t) for position, t in draw.points),
        "ensemble": (members.source(position) for position in draw.order),
    }
    return [
        (posterior, count, asdict(scoring.score(average)))
        for posterior, each in outputs.items()
        for count, average in enumerate(scoring.task.means(each), start=1)
        if count > 1
    ]
