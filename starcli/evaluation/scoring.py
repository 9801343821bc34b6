"""How predictions are scored: on which split, before and after a temperature, and on validation to choose by."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.evaluation.confidence import Confidence, Judged
from starcli.evaluation.paired_bootstrap import Resamples
from starcli.evaluation.predictions import need_room
from starcli.evaluation.tasks.task import Measures, Task, task_named
from starcli.evaluation.temperature import VALIDATION, Temperature, check_temperature, fit_temperature

if TYPE_CHECKING:
    from starcli.data.dataset import Dataset
    from starcli.evaluation.evaluator import Evaluator


Resampled = list[dict[str, Tensor]]
"""Metrics in resamples of the examples, (resamples,) each: of predictions as they are, and at a temperature."""


@dataclass(frozen=True)
class Scored:
    """Metrics of predictions as they are (`plain`), and at a temperature where one was asked for and found.

    validation_loss: the loss on the validation split, at that temperature, where there is something to choose.
    """

    plain: Confidence | Measures
    temperature: float | None = None
    scaled: Confidence | Measures | None = None
    validation_loss: float | None = None

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Scored":
        """Inverse of `asdict`, also after JSON turned tuples into lists."""
        after = value["scaled"]
        return cls(**{**value, "plain": _measures(value["plain"]), "scaled": after and _measures(after)})


def _measures(value: Mapping[str, Any]) -> Confidence | Measures:
    """Inverse of `asdict`."""
    return Confidence.from_dict(value) if "reliability" in value else Measures(**value)


@dataclass(frozen=True)
class Scoring:
    """How predictions are scored, and on which split.

    split: what the metrics are of. temperature: a number, or "fit", on the validation split. choose: take the loss on
    the validation split too. Raises StarcliError for a split that the data do not have, and for wrong temperatures.
    """

    dataset: "Dataset"
    split: str = "test"
    temperature: Temperature | None = None
    choose: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be, before any work."""
        check_temperature(self.temperature)
        self.task.refuse_useless(temperature=self.temperature)
        if self.choose and self.split == VALIDATION:
            raise StarcliError("--choose shows the test figures of what is best on validation: leave out --split")
        for split in self.splits:
            self.dataset.split(split)
        if len(self.splits) > 1 and self.dataset.split(self.split) is self.dataset.validation:
            hint = f"a {self.split} split of its own is needed; --split validation shows the figures on that one"
            raise StarcliError(f"the validation split is the {self.split} split too: nothing is chosen on it", [hint])

    @property
    def task(self) -> Task:
        """The task of the data."""
        return task_named(self.dataset.task)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that predictions are needed for, `split` first."""
        needs_validation = self.temperature == "fit" or self.choose
        return (self.split, VALIDATION) if needs_validation and self.split != VALIDATION else (self.split,)

    @cached_property
    def _labels(self) -> dict[str, Tensor]:
        return {split: self.dataset.split(split).targets.cpu() for split in self.splits}

    def outputs(self, evaluator: "Evaluator") -> Tensor:
        """Predictions of what is loaded over `splits`, one below the other: (N + ..., classes), float64."""
        return torch.cat([evaluator.all_predictions(split) for split in self.splits])

    def need_room(self, copies: int) -> None:
        """Refuse predictions that do not fit in memory, where `outputs` are held `copies` times."""
        need_room([self.dataset.split(split) for split in self.splits], self.dataset.num_classes, copies)

    def score(self, outputs: Tensor) -> Scored:
        """The metrics of predictions as of `outputs`."""
        parts = torch.split(outputs, [len(labels) for labels in self._labels.values()])
        found = dict(zip(self.splits, parts, strict=True))
        labels = self._labels
        temperature = self.temperature
        if temperature == "fit":
            temperature = fit_temperature(found[VALIDATION], labels[VALIDATION])
        own = found[self.split], labels[self.split]
        return Scored(
            self.task.measures(*own),
            temperature,
            None if temperature is None else self.task.measures(*own, temperature),
            self.task.measures(found[VALIDATION], labels[VALIDATION], temperature).loss if self.choose else None,
        )

    @cached_property
    def resamples(self) -> Resamples | None:
        """Drawings of the examples of `split`, tokens of a text together; None where predictions have no confidence."""
        split = self.dataset.split(self.split)
        if not self.task.has_confidence:
            return None
        return Resamples((split.labels >= 0).nonzero()[:, 0] if split.per_token else torch.arange(len(split.labels)))

    def resampled(self, outputs: Tensor, temperature: float | None) -> Resampled:
        """Metrics of predictions as of `outputs` in each of `resamples`, at no temperature, and then at this one."""
        if self.resamples is None:
            return []
        labels, found = self._labels[self.split], []
        for heat in (None, *([] if temperature is None else [temperature])):
            judged = Judged(heat)
            judged.add(outputs[: len(labels)], labels)
            found.append(self.resamples.metrics(judged))
        return found

    def measure(self, evaluator: "Evaluator") -> Scored:
        """The metrics of what is loaded; all predictions are held together only to fit a temperature, or to choose."""
        temperature = self.temperature
        if self.choose or temperature == "fit":
            return self.score(self.outputs(evaluator))
        plain, after = self.task.judge(), None if temperature is None else self.task.judge(temperature)
        for outputs, labels in evaluator.predictions(self.split):
            plain.add(outputs.cpu(), labels.cpu())
            if after is not None:
                after.add(outputs.cpu(), labels.cpu())
        return Scored(plain.measures(), temperature, None if after is None else after.measures())

    def row(self, found: Scored) -> dict[str, Any]:
        """The metrics, `decided`, and where a temperature was asked for, it and the metrics after (null: not found).

        Of tokens also the perplexity, exp(loss).
        """
        row = found.plain.to_json()
        if isinstance(found.plain, Confidence):
            row["decided"] = found.plain.decided
        if self.dataset.per_token:
            row["perplexity"] = float(torch.tensor(found.plain.loss, dtype=torch.float64).exp())
        if self.temperature is None:
            return row
        after = found.scaled and found.scaled.to_json()
        fitted = {"fitted_on": VALIDATION} if self.temperature == "fit" else {}
        return {**row, "temperature": found.temperature, "scaled": after, **fitted}
