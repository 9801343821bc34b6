"""Which models predict best on the test split of the data that they were measured on.

Points between models are none of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starcli.checkpoints.metadata import MODELS
from starcli.plots.loss_words import loss_in, metric_in
from starcli.plots.parts import model_name
from starcli.registry.tasks import METRICS
from starcli.reports.findings import Findings, is_point
from starcli.reports.tables import is_figure, words

_PARTS = ("--limit", "--val-fraction")
"""The options by which statistics are of a part of the training data."""


@dataclass(frozen=True)
class Tested:
    """On what a model was measured, and how; only figures that have this in common are compared.

    data: their name and the hash of their contents. statistics: BatchNorm's, where they were re-estimated: name and
    hash of the training data, and which part of them. The file's own do not depend on these, so that it makes no
    difference whether `--train-data` was said.
    """

    data: tuple[str, ...] = ("", "")
    statistics: tuple[str, ...] = ()

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Tested":
        """That of a row of `eval`."""
        anew = row.get("statistics") == "recalibrate"
        training = _said(row.get("train_data") or row.get("data"), "name", "fingerprint", "limit", "val_fraction")
        return cls(_said(row.get("data"), "name", "fingerprint"), training if anew else ())

    def words(self, others: Iterable["Tested"]) -> str:
        """It for people among others, with the hashes of data that have the same name."""
        known = {each[:2] for other in others for each in (other.data, other.statistics)}

        def called(data: tuple[str, ...]) -> str:
            alone = sum(each[:1] == data[:1] for each in known) == 1
            return data[0] if alone else f"{data[0]} {data[1][:6]}"

        if not self.statistics:
            return called(self.data)
        parts = [f", {option} {said}" for option, said in zip(_PARTS, self.statistics[2:], strict=True) if said]
        return f"{called(self.data)} (BatchNorm statistics re-estimated on {called(self.statistics)}{''.join(parts)})"


@dataclass(frozen=True)
class TestScore:
    """The first metric of its task and the loss of a model on the test split.

    metric: its name, of which more is better.
    """

    name: str
    on: "Tested"
    metric: str
    quality: float
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """By which the best is the highest."""
        return self.quality, -self.loss


@dataclass(frozen=True)
class BestModel:
    """The best of several models on the same data; `data` are words for these where there are others, too."""

    best: TestScore
    least_loss: TestScore
    count: int
    mean_quality: float
    data: str

    @property
    def heading(self) -> str:
        """Name of the metric."""
        return METRICS[self.best.metric].heading

    def sentence(self) -> str:
        """The finding as a sentence."""
        on = f" on {self.data}" if self.data else ""
        return (
            f"Of {self.count} models{on} {model_name(self.best.name)} has the highest test {self.heading}, "
            f"{metric_words(self.best.metric, self.best.quality)} at a loss of {words(self.best.loss, 'loss')} "
            f"(mean of all: {metric_words(self.best.metric, self.mean_quality)})."
        )


def metric_words(metric: str, value: float) -> str:
    """A metric as people read it: shares in per cent."""
    return words(value, "percent" if METRICS[metric].share else "loss")


def best_models(found: Findings) -> list[BestModel]:
    """The best model for each data set, way to measure and metric, as `eval` found them, else as files record them."""
    groups: dict[tuple[Tested, str], list[TestScore]] = {}
    for score in list(_evaluated(found)) or list(_recorded(found)):
        groups.setdefault((score.on, score.metric), []).append(score)
    ways = {on for on, _ in groups}
    return [_best(scores, on.words(ways) if len(groups) > 1 else "") for (on, _), scores in groups.items()]


def _best(scores: Sequence[TestScore], data: str) -> BestModel:
    mean = sum(each.quality for each in scores) / len(scores)
    least = min(scores, key=lambda each: each.loss)
    return BestModel(max(scores, key=lambda each: each.rank), least, len(scores), mean, data)


def _evaluated(found: Findings) -> Iterator[TestScore]:
    """From rows of `eval`, the last of each model that was measured in the same way.

    Files of one name in several folders are told apart by their weights; a row of weights that are not there gives way
    to one of a file of its name that is.
    """
    files = {file.metadata.weights_sha256[:12]: (name, is_point(file.metadata)) for name, file in found.checkpoints}
    files.pop("", None)
    there: dict[tuple[str, Tested], Mapping[str, Any]] = {}
    elsewhere: dict[tuple[str, Tested], Mapping[str, Any]] = {}
    for row in (row for run in found.runs for row in run.of_type("eval")):
        name, point = files.get(_begin_of(row), (None, False))
        if row.get("split") == "test" and "model" in row and not point:
            rows = elsewhere if name is None else there
            rows[name or str(row["model"]), Tested.of_row(row)] = row
    known = {(str(row["model"]), on) for (_, on), row in there.items()}
    for (name, on), row in ({key: row for key, row in elsewhere.items() if key not in known} | there).items():
        yield from _score(name, on, row)


def _said(data: Any, *keys: str) -> tuple[str, ...]:
    """What a row says of data under these keys; nothing where it does not."""
    return tuple(str(data.get(key) or "") if isinstance(data, Mapping) else "" for key in keys)


def _begin_of(row: Mapping[str, Any]) -> str:
    """First 12 characters of the hash of the weights that a row rests on; nothing where it does not say."""
    weights = row.get("weights")
    begin = weights[0] if isinstance(weights, list) and weights else None
    return begin[:12] if isinstance(begin, str) else ""


def _recorded(found: Findings) -> Iterator[TestScore]:
    """From what the files of models record."""
    for name, file in found.checkpoints:
        test, data = (file.metadata.metrics or {}).get("test"), file.metadata.data
        if file.metadata.kind in MODELS and isinstance(test, Mapping):
            yield from _score(name, Tested((data.name, data.fingerprint)) if data else Tested(), test)


def _score(name: str, on: Tested, row: Mapping[str, Any]) -> Iterator[TestScore]:
    """What a row says, where it has a loss and a metric."""
    metric, loss = metric_in(row), loss_in(row)
    if is_figure(row.get(metric)) and is_figure(loss):
        yield TestScore(name, on, metric, row[metric], loss)
