"""Paired bootstrap: metrics of each resample against those of the examples that it has; intervals in closed form."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from starcli.evaluation import paired_bootstrap
from starcli.evaluation.confidence import Confidence, Judged, confidence
from starcli.evaluation.paired_bootstrap import COMPARED, Difference, Resamples, differences, less


def predictions(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 3, dtype=torch.float64, generator=generator)
    return logits.log_softmax(1), torch.randint(3, (count,), generator=generator)


def judged(found: tuple[Tensor, Tensor], temperature: float | None = None) -> Judged:
    judge = Judged(temperature)
    judge.add(*found)
    return judge


@pytest.mark.parametrize("units", [torch.arange(60), torch.arange(60) // 7], ids=["examples", "texts"])
def test_metrics_are_those_of_the_examples_that_were_drawn(units: Tensor) -> None:
    logs, labels = predictions(60, 0)
    resamples = Resamples(units, count=20)
    found = resamples.metrics(judged((logs, labels), 1.5))
    for number, weights in enumerate(resamples.weights):
        assert int(weights.sum()) == int(units.max()) + 1
        rows = torch.arange(60).repeat_interleave(weights[units])
        expected = confidence(logs[rows], labels[rows], 1.5)
        assert {name: float(found[name][number]) for name in COMPARED} == pytest.approx(
            {name: getattr(expected, name) for name in COMPARED}, rel=1e-12
        )


def test_memory_is_that_of_few_resamples_of_all_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are few, their tokens many: a piece of resamples is cut by what is ranked in it."""
    taken: list[Tensor] = []

    class Ranks(paired_bootstrap._Ranks):
        @classmethod
        def of(cls, copies: Tensor, *others: Any) -> "paired_bootstrap._Ranks":
            taken.append(copies)
            return super().of(copies, *others)

    monkeypatch.setattr(paired_bootstrap, "_Ranks", Ranks)
    found = Resamples(torch.arange(40_000) // 2000, count=40).metrics(judged(predictions(40_000, 0)))
    assert {len(each) for each in found.values()} == {40}
    assert sum(each.shape[1] for each in taken) == 40
    assert max(each.numel() for each in taken) <= 8 * 40_000


def test_an_interval_is_that_of_the_normal_distribution() -> None:
    """A mean over many examples: 1.96 standard errors of the paired difference to either side."""
    labels = predictions(4000, 0)[1]
    a, b = ((predictions(4000, seed)[0] + predictions(4000, 3)[0]).log_softmax(1) for seed in (1, 2))
    resamples = Resamples(torch.arange(4000), count=4000)
    first, second = judged((a, labels)), judged((b, labels))
    drawn = less(resamples.metrics(first), resamples.metrics(second))
    found = differences([(first.measures(), second.measures())], drawn)
    paired = {
        "nll": second.each.true - first.each.true,
        "accuracy": first.each.correct.double() - second.each.correct.double(),
        "brier": first.each.brier - second.each.brier,
    }
    for name, values in paired.items():
        error = float(values.std()) / math.sqrt(4000)
        assert found[name].difference == pytest.approx(float(values.mean()), abs=1e-12)
        assert found[name].low == pytest.approx(float(values.mean()) - 1.96 * error, abs=0.15 * error)
        assert found[name].high == pytest.approx(float(values.mean()) + 1.96 * error, abs=0.15 * error)


def test_repeats_are_averaged_before_the_interval_is_taken() -> None:
    labels = predictions(50, 0)[1]
    resamples = Resamples(torch.arange(50), count=100)
    pairs: list[tuple[Confidence, Confidence]] = []
    drawn = []
    for seed in (1, 2):
        a, b = judged((predictions(50, seed)[0], labels)), judged((predictions(50, seed + 2)[0], labels))
        pairs.append((a.measures(), b.measures()))
        drawn.append(less(resamples.metrics(a), resamples.metrics(b)))
    mean = torch.stack(drawn).mean(0)
    found = differences(pairs, mean)["aurc"]
    assert found.difference == pytest.approx(sum(a.aurc - b.aurc for a, b in pairs) / 2)
    assert [found.low, found.high] == pytest.approx(
        torch.quantile(mean[COMPARED.index("aurc")], torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    )


def test_without_an_error_there_is_no_ranking_and_no_verdict_on_it() -> None:
    logs = torch.tensor([[0.9, 0.1]], dtype=torch.float64).log().repeat(5, 1)
    judge, resamples = judged((logs, torch.zeros(5, dtype=torch.int64))), Resamples(torch.arange(5), count=10)
    drawn = less(resamples.metrics(judge), resamples.metrics(judge))
    found = differences([(judge.measures(), judge.measures())], drawn)
    assert math.isnan(found["auroc_max_prob"].low)
    assert {one.verdict for one in found.values()} == {"not decided"}


def test_predictions_that_are_no_numbers_give_no_verdict_but_on_accuracy() -> None:
    logs, labels = predictions(200, 0)
    broken = torch.where(torch.arange(200)[:, None] < 150, logs, math.nan)
    resamples, pair = Resamples(torch.arange(200), count=50), (judged((broken, labels)), judged((logs, labels)))
    found = differences([tuple(each.measures() for each in pair)], less(*(resamples.metrics(each) for each in pair)))
    assert {name: each.verdict for name, each in found.items()} == {
        name: "worse" if name == "accuracy" else "not decided" for name in COMPARED
    }


@pytest.mark.parametrize("errors", [20, 60])
def test_few_errors_give_no_verdict_on_what_errors_decide(errors: int) -> None:
    """Of one of the two, however many the other has."""
    labels = torch.zeros(400, dtype=torch.int64)
    logits = torch.zeros(400, 2, dtype=torch.float64)
    logits[:, 0] = 1.0
    worse = logits.clone()
    worse[:errors] *= -1  # the other has none
    resamples = Resamples(torch.arange(400), count=200)
    a, b = judged((worse.log_softmax(1), labels)), judged((logits.log_softmax(1), labels))
    drawn = less(resamples.metrics(a), resamples.metrics(b))
    found = differences([(a.measures(), b.measures())], drawn)
    assert found["accuracy"].high < 0 < found["aurc"].low
    assert {found[name].verdict for name in ("accuracy", "auroc_max_prob", "aurc")} == {"not decided"}
    assert {found[name].verdict for name in ("nll", "brier")} == {"worse"}


@pytest.mark.parametrize(
    ("metric", "low", "high", "verdict"),
    [
        ("accuracy", 0.01, 0.02, "better"), ("accuracy", -0.02, -0.01, "worse"), ("nll", 0.01, 0.02, "worse"),
        ("aurc", -0.02, -0.01, "better"), ("brier", -0.01, 0.02, "not decided"), ("nll", 0.0, 0.0, "not decided"),
    ],
)  # fmt: skip
def test_a_verdict_needs_an_interval_without_zero(metric: str, low: float, high: float, verdict: str) -> None:
    assert Difference(metric, (low + high) / 2, low, high).to_dict() == {
        "difference": (low + high) / 2, "low": low, "high": high, "verdict": verdict,
    }  # fmt: skip
