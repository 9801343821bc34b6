"""Predictions that have a column for each target: numbers, or probabilities of labels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from starcli.errors import number_of
from starcli.evaluation.predictions import Predicted, Predictions, Values


@dataclass(frozen=True, eq=False, repr=False)
class ColumnPredictions(Predicted):
    """Predictions of models of K columns for N examples, in the order of the data.

    model: names of the M predictors: models, or `ensemble` or `star`.
    prediction: float64 numbers, or int64 labels, 1 where their probability is at least 0.5; (N, K) of one predictor,
        (M, N, K) of several.
    probabilities: of labels, float64, shaped alike; numbers have none.
    index: place (N,) of each example in the array, or of its file in the split, that it was read from.
    label: true numbers or labels (N, K); None where they are not known.
    file: names of image files (N,); None where the examples are no files.
    class_names: names of the columns, () where they have none.
    metrics: of each predictor, by name, where labels are known.

    >>> found = ColumnPredictions.of({"a": torch.tensor([[2.0, -1.0]])}, probabilities=True)
    >>> found.prediction, found.probabilities.round(2)
    (array([[1, 0]]), array([[0.88, 0.27]]))
    """

    model: tuple[str, ...]
    prediction: NDArray[Any]
    label_probabilities: NDArray[np.float64] | None
    index: NDArray[np.int64]
    label: NDArray[Any] | None = None
    file: tuple[str, ...] | None = None
    class_names: tuple[str, ...] = ()
    metrics: tuple[Mapping[str, float], ...] = ()

    @classmethod
    def of(
        cls,
        outputs: Mapping[str, Tensor],
        *,
        probabilities: bool = False,
        measure: Callable[[Tensor, Tensor], Mapping[str, float]] | None = None,
        index: Tensor | None = None,
        label: Tensor | None = None,
        file: Sequence[str] | None = None,
        class_names: Sequence[str] = (),
        **_: object,
    ) -> "ColumnPredictions":
        """From outputs (N, K) by the name of the predictor; with `probabilities` these are logits of labels.

        measure: takes metrics of outputs and labels.
        """
        several = [each.double() for each in outputs.values()]
        found = torch.stack(several) if len(several) > 1 else several[0]
        return cls(
            model=tuple(outputs),
            prediction=((found >= 0).long() if probabilities else found).numpy(),
            label_probabilities=found.sigmoid().numpy() if probabilities else None,
            index=np.arange(found.shape[-2]) if index is None else index.numpy(),
            label=None if label is None else (label.long() if probabilities else label.double()).numpy(),
            file=None if file is None else tuple(file),
            class_names=tuple(class_names) if len(class_names) == found.shape[-1] else (),
            metrics=() if label is None or measure is None else tuple(measure(each, label) for each in several),
        )

    def __getattr__(self, name: str) -> NDArray[Any]:
        """The probabilities of labels. AttributeError for numbers, and for what predictions of classes alone have."""
        probabilities: NDArray[np.float64] | None = vars(self).get("label_probabilities")
        if name != "probabilities" or probabilities is None:
            raise AttributeError(f"predictions of {'numbers' if probabilities is None else 'labels'} have no {name!r}")
        return probabilities

    def __len__(self) -> int:
        """Number of examples."""
        return int(self.prediction.shape[-2])

    def __repr__(self) -> str:
        """Sizes, in one line."""
        sizes = f"{number_of(len(self), 'example')}, {number_of(self.prediction.shape[-1], 'column')}"
        return f"ColumnPredictions({sizes}, by {', '.join(self.model)})"

    def arrays(self) -> dict[str, Values]:
        """See `Predicted.arrays`."""
        found: dict[str, Any] = {"model": self.model, "index": self.index, "file": self.file, "label": self.label}
        found |= {"class_names": self.class_names or None, "probabilities": self.label_probabilities}
        found |= {"prediction": self.prediction}
        return {name: np.asarray(value) for name, value in found.items() if value is not None}

    def tables(self) -> Iterator[dict[str, Values]]:
        """`model`, `index`, `file`, and `label_NAME`, `prediction_NAME`, `probability_NAME` (or numbers) by column.

        Numbers to be predicted are float32, as data are kept, so that they are written as short as in their file.
        """
        for number, model in enumerate(self.model):
            columns: dict[str, Any] = {"model": np.full(len(self), model), "index": self.index}
            columns |= {} if self.file is None else {"file": np.array(self.file)}
            label = self.label
            if label is not None and label.dtype.kind == "f":
                label = label.astype(np.float32)
            kinds = {"label": label, "prediction": self._by(number, self.prediction)}
            if self.label_probabilities is not None:
                kinds["probability"] = self._by(number, self.label_probabilities)
            for kind, values in kinds.items():
                for place, column in enumerate([] if values is None else values.T):
                    columns[f"{kind}_{self.class_names[place] if self.class_names else place}"] = column
            yield columns

    def _by(self, number: int, values: NDArray[Any]) -> NDArray[Any]:
        """The values of one predictor."""
        return np.asarray(values[number]) if len(self.model) > 1 else values

    def summaries(self) -> list[dict[str, Any]]:
        """For each predictor `model`, `count`, and `r2` and `rmse`, or F1 of labels, where true ones are known."""
        known: Sequence[Mapping[str, float]] = self.metrics or [{}] * len(self.model)
        rows = [{"model": model, "count": len(self)} for model in self.model]
        return [{**row, **metrics} for row, metrics in zip(rows, known, strict=True)]


AnyPredictions = Predictions | ColumnPredictions
"""Predictions of any task."""
