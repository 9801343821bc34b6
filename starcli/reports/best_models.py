"""Which models predict best on the test split of the data that they were measured on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from starcli.checkpoints.metadata import MODELS
from starcli.plots.parts import model_name
from starcli.reports.findings import Findings
from starcli.reports.tables import at_key, is_figure, words


@dataclass(frozen=True)
class TestScore:
    """Accuracy and loss of a model on the test split; `data` is the name of the data and the hash of their contents."""

    name: str
    data: tuple[str, str]
    accuracy: float
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """By which the best is the highest."""
        return self.accuracy, -self.loss


@dataclass(frozen=True)
class BestModel:
    """The best of several models on the same data; `data` is their name where there are other data, too."""

    best: TestScore
    least_loss: TestScore
    count: int
    mean_accuracy: float
    data: str

    def sentence(self) -> str:
        """What is to be said of it."""
        on = f" on {self.data}" if self.data else ""
        return (
            f"Of {self.count} models{on} {model_name(self.best.name)} has the highest test accuracy, "
            f"{words(self.best.accuracy, 'percent')} at a loss of {words(self.best.loss, 'loss')} (mean of all: "
            f"{words(self.mean_accuracy, 'percent')})."
        )


def best_models(found: Findings) -> list[BestModel]:
    """The best model for each data set, as `eval` found them, else as files record them."""
    groups: dict[tuple[str, str], list[TestScore]] = {}
    for score in list(_evaluated(found)) or list(_recorded(found)):
        groups.setdefault(score.data, []).append(score)
    return [_best(scores, data[0] if len(groups) > 1 else "") for data, scores in groups.items()]


def _best(scores: Sequence[TestScore], data: str) -> BestModel:
    mean = sum(each.accuracy for each in scores) / len(scores)
    least = min(scores, key=lambda each: each.loss)
    return BestModel(max(scores, key=lambda each: each.rank), least, len(scores), mean, data)


def _evaluated(found: Findings) -> Iterator[TestScore]:
    """From rows of `eval`, the last of each model."""
    rows = {
        (str(row["model"]), str(at_key(row, "data.name") or ""), str(at_key(row, "data.fingerprint") or "")): row
        for run in found.runs
        for row in run.of_type("eval")
        if row.get("split") == "test" and is_figure(row.get("accuracy")) and is_figure(row.get("nll"))
    }
    for (name, *data), row in rows.items():
        yield TestScore(name, (data[0], data[1]), row["accuracy"], row["nll"])


def _recorded(found: Findings) -> Iterator[TestScore]:
    """From what the files of models record."""
    for name, file in found.checkpoints:
        test, data = (file.metadata.metrics or {}).get("test"), file.metadata.data
        if file.metadata.kind not in MODELS or not isinstance(test, Mapping):
            continue
        if is_figure(test.get("accuracy")) and is_figure(test.get("loss")):
            where = (data.name, data.fingerprint) if data else ("", "")
            yield TestScore(name, where, test["accuracy"], test["loss"])
