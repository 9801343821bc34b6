"""Predictions for each example: probabilities, the most probable class, entropy, and what is known of the example."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from starcli.errors import number_of
from starcli.evaluation.confidence import entropy
from starcli.evaluation.result_table import pandas_frame
from starcli.runtime.memory import need_bytes

if TYPE_CHECKING:
    from pandas import DataFrame

    from starcli.data.splits import Split

Values = NDArray[Any]
"""Values (N,) of one kind: numbers or words."""


def need_room(splits: Sequence["Split"], classes: int, copies: int) -> None:
    """Refuse predictions of `splits` that do not fit in memory, where they are held `copies` times, in float64."""
    count = sum(len(split.targets) for split in splits)
    what = f"{count} predictions of {classes} classes, held {copies} times in float64,"
    need_bytes(copies * count * classes * 8, what, ["fewer need less: --limit, or another --split that is smaller"])


class Predicted(ABC):
    """Predictions of one or several predictors, called `model`, for each example."""

    model: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def arrays(self) -> dict[str, Values]:
        """Everything that is known, by name: what an .npz file holds."""

    @abstractmethod
    def tables(self) -> Iterator[dict[str, Values]]:
        """A table for each predictor, as columns (N,): what a .csv file holds, one below the other."""

    @abstractmethod
    def summaries(self) -> list[dict[str, Any]]:
        """For each predictor `model`, `count`, and how good it is, where labels are known."""

    def to_frame(self) -> "DataFrame":
        """A pandas table with a line for each example of each predictor, the columns of `tables`."""
        tables = list(self.tables())
        return pandas_frame({name: np.concatenate([table[name] for table in tables]) for name in tables[0]})

    def to_dict(self) -> dict[str, Any]:
        """`arrays` as plain lists."""
        return {name: values.tolist() for name, values in self.arrays().items()}


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Predicted):
    """Predictions of models for N examples, in the order of the data.

    model: names of the M predictors: models, or `ensemble` or `star`.
    probabilities: float64, (N, classes) of one predictor, (M, N, classes) of several.
    prediction, entropy: the most probable class (the first of equals), int64, and - sum_c p_c log p_c in nats; (N,) or
        (M, N).
    mutual_information: of an average of several models, (N,) in nats: its entropy less the mean entropy of the models,
        which is 0 where all predict alike, and large where they disagree (Houlsby et al. 2011, "Bayesian active
        learning for classification and preference learning"); else None.
    index: place (N,) of each example in the array, or of its file in the split, that it was read from.
    position: of next tokens, the place (N,) of each in its text, from 0; else None.
    label: true classes (N,), int64; None where they are not known.
    file: names of image files (N,); None where the examples are no files.
    class_names: () where the data do not name their classes.
    temperature: of each predictor, where one was asked for.

    >>> found = Predictions.of({"a": torch.tensor([[0.8, 0.2]]).log()}, label=torch.tensor([0]))
    >>> found.prediction, found.probabilities.round(2), found.entropy.round(2)
    (array([0]), array([[0.8, 0.2]]), array([0.5]))
    """

    model: tuple[str, ...]
    probabilities: NDArray[np.float64]
    prediction: NDArray[np.int64]
    entropy: NDArray[np.float64]
    index: NDArray[np.int64]
    position: NDArray[np.int64] | None = None
    label: NDArray[np.int64] | None = None
    file: tuple[str, ...] | None = None
    class_names: tuple[str, ...] = ()
    temperature: tuple[float, ...] = ()
    mutual_information: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        outputs: Mapping[str, Tensor],
        *,
        index: Tensor | None = None,
        position: Tensor | None = None,
        label: Tensor | None = None,
        file: Sequence[str] | None = None,
        class_names: Sequence[str] = (),
        temperature: Sequence[float] = (),
        mutual_information: Tensor | None = None,
    ) -> "Predictions":
        """From log-probabilities (N, classes) by the name of the predictor.

        A network may have more outputs than its data have classes: these have no names then.
        """
        several = [each.double() for each in outputs.values()]
        logs = torch.stack(several) if len(several) > 1 else several[0]  # (M, N, classes), or (N, classes)
        return cls(
            model=tuple(outputs),
            probabilities=logs.exp().clamp_(max=1.0).numpy(),  # a rounded log-probability may lie above 0
            prediction=logs.argmax(-1).numpy(),
            entropy=entropy(logs).numpy(),
            index=np.arange(logs.shape[-2]) if index is None else index.numpy(),
            position=None if position is None else position.numpy(),
            label=None if label is None else label.numpy(),
            file=None if file is None else tuple(file),
            class_names=tuple(class_names) if len(class_names) == logs.shape[-1] else (),
            temperature=tuple(temperature),
            mutual_information=None if mutual_information is None else mutual_information.numpy(),
        )

    def __len__(self) -> int:
        """Number of examples."""
        return int(self.probabilities.shape[-2])

    def __repr__(self) -> str:
        """Sizes, in one line."""
        sizes = f"{number_of(len(self), 'example')}, {number_of(self.probabilities.shape[-1], 'class', 'classes')}"
        return f"Predictions({sizes}, by {', '.join(self.model)})"

    def arrays(self) -> dict[str, Values]:
        """Everything that is known, by name: what an .npz file holds."""
        found: dict[str, Any] = {"model": self.model, "index": self.index, "position": self.position, "file": self.file}
        found |= {"label": self.label, "class_names": self.class_names or None, "temperature": self.temperature or None}
        found |= {name: getattr(self, name) for name in ("probabilities", "prediction", "entropy")}
        found |= {"mutual_information": self.mutual_information}
        return {name: np.asarray(value) for name, value in found.items() if value is not None}

    def tables(self) -> Iterator[dict[str, Values]]:
        """A table for each predictor, as columns (N,): what a .csv file holds, one below the other.

        `model`, `index`, `file`, `label`, `prediction`, `entropy`, `mutual_information`, `probability_0`, ...; where
        classes have names also `label_name`, `prediction_name`, and `probability_NAME` in place of numbers.
        """
        names = np.array(self.class_names)
        for model, (probabilities, prediction, uncertain) in zip(self.model, self._by_model(), strict=True):
            columns: dict[str, Any] = {"model": np.full(len(self), model), "index": self.index}
            columns |= {"position": self.position}
            columns |= {"file": None if self.file is None else np.array(self.file), "label": self.label}
            if len(names):
                columns["label_name"] = None if self.label is None else names[self.label]
            columns["prediction"] = prediction
            if len(names):
                columns["prediction_name"] = names[prediction]
            columns |= {"entropy": uncertain, "mutual_information": self.mutual_information}
            for number, values in enumerate(probabilities.T):
                columns[f"probability_{self.class_names[number] if len(names) else number}"] = values
            yield {name: values for name, values in columns.items() if values is not None}

    def _by_model(self) -> Iterator[tuple[Values, Values, Values]]:
        """Probabilities, prediction and entropy of each predictor."""
        found = (self.probabilities, self.prediction, self.entropy)
        yield from zip(*found, strict=True) if len(self.model) > 1 else [found]

    def summaries(self) -> list[dict[str, Any]]:
        """For each predictor `model`, `count`, `accuracy` (None without labels), means, and `temperature`."""
        rows = []
        for number, (_, prediction, uncertain) in enumerate(self._by_model()):
            # predictions that are no numbers are wrong, whatever stands first
            right = None if self.label is None else (prediction == self.label) & ~np.isnan(uncertain)
            accuracy = None if right is None else int(right.sum()) / len(self)
            row = {"model": self.model[number], "count": len(self), "accuracy": accuracy}
            row["entropy"] = float(uncertain.mean())
            if self.mutual_information is not None:
                row["mutual_information"] = float(self.mutual_information.mean())
            rows.append({**row, **({"temperature": self.temperature[number]} if self.temperature else {})})
        return rows
