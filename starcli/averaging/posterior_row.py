"""The metrics of one posterior at one number of samples, and of the star domain what it has more than the ensemble."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from starcli.evaluation.calibration import Reliability, pooled
from starcli.evaluation.confidence import FEWEST_ERRORS, Confidence
from starcli.evaluation.paired_bootstrap import Difference, differences
from starcli.evaluation.scoring import Scored
from starcli.evaluation.tasks.task import Measures
from starcli.evaluation.temperature import VALIDATION

Posterior = Literal["star", "ensemble", "single"]


@dataclass(frozen=True)
class PosteriorRow:
    """The metrics of one posterior at one number of samples: mean and standard deviation over `repeats` draws.

    For "single" the mean and deviation are over the sources. `decided` is false where there are fewer than 30 test
    errors on average: which posterior ranks its errors better is then not decided. `reliability` is of the predictions
    of all repeats; None where the task has no confidence.

    temperature, scaled: the mean temperature, and mean and `_std` of each metric with it, where one was asked for
    and found in every repeat. fitted_on: the split that it was fitted on. against_ensemble: of the star domain,
    what the mean of each metric is above that of the ensemble of `ensemble_samples`, as many models or all sources,
    with its interval over examples by paired bootstrap, the draws of models being those of the repeats.
    scaled_against_ensemble: the same at the temperatures of both. validation_loss: the mean loss on the validation
    split, where the number of samples is to be chosen by it. selected_on: the split by which this row was chosen,
    see `choose_samples`.
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
    fitted_on: str | None = None
    ensemble_samples: int | None = None
    against_ensemble: Mapping[str, Difference] | None = None
    scaled_against_ensemble: Mapping[str, Difference] | None = None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PosteriorRow":
        """Inverse of `asdict`, also after JSON turned tuples into lists."""
        if value["reliability"] is None:
            return cls(**value)
        against = {
            name: value[name] and {metric: Difference(**each) for metric, each in value[name].items()}
            for name in ("against_ensemble", "scaled_against_ensemble")
        }
        return cls(**{**value, **against, "reliability": Reliability.from_dict(value["reliability"])})

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
        more |= {"selected_on": self.selected_on, "fitted_on": self.fitted_on}
        more |= {"ensemble_samples": self.ensemble_samples}
        for name in ("against_ensemble", "scaled_against_ensemble"):
            found: Mapping[str, Difference] | None = getattr(self, name)
            more[name] = found and {metric: one.to_dict() for metric, one in found.items()}
        return row | {name: value for name, value in more.items() if value is not None}


def _with_spread(mean: Mapping[str, float], std: Mapping[str, float]) -> dict[str, float]:
    return {**mean, **{f"{name}_std": value for name, value in std.items()}}


def row_of(posterior: Posterior, samples: int, found: Sequence[Scored]) -> PosteriorRow:
    """The row of what was `found` in each repeat."""
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


def compared(
    row: PosteriorRow, models: int, star: Sequence[Scored], ensemble: Sequence[Scored], drawn: Tensor
) -> PosteriorRow:
    """The row of a star domain with what it has more than the ensemble of `models`, as found in each repeat.

    drawn: the means over the repeats of the differences in resamples, (kinds, metrics, resamples): of predictions as
    they are, and where there is one in all repeats, at their temperatures.
    """
    both = list(zip(star, ensemble, strict=False))  # a rehearsal may have fewer of one
    scaled = [(a.scaled, b.scaled) for a, b in both]
    return replace(
        row,
        ensemble_samples=models,
        against_ensemble=differences([(a.plain, b.plain) for a, b in both], drawn[0]),
        scaled_against_ensemble=differences(scaled, drawn[1]) if len(drawn) > 1 else None,
    )


def _moments(found: Sequence[Confidence | Measures]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation of each metric."""
    columns = {name: [one.values[name] for one in found] for name in found[0].values}
    mean = {name: math.fsum(values) / len(values) for name, values in columns.items()}
    return mean, {name: _deviation(values) for name, values in columns.items()}


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN for a single value or where one is not finite."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values)


def choose_samples(rows: Sequence[PosteriorRow]) -> list[PosteriorRow]:
    """The rows of star domain and ensemble whose number of samples has the least validation loss, the fewest of equals.

    They are among `rows`, which have a `validation_loss`, and say so in `selected_on`.
    """

    def loss(row: PosteriorRow) -> float:
        found = row.validation_loss
        return math.inf if found is None or math.isnan(found) else found

    found = [[row for row in rows if row.posterior == posterior] for posterior in ("star", "ensemble")]
    return [replace(min(some, key=loss), selected_on=VALIDATION) for some in found if some]
