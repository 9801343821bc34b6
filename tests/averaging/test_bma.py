"""Model averaging against plain averages of softmax outputs: what is drawn, computed once, and shared."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

import starcli as sc
from starcli.averaging.bma import Draws, average_models
from starcli.averaging.members import Members, draw_members
from starcli.averaging.posterior_row import PosteriorRow, choose_samples, row_of
from starcli.averaging.sampling import PointSampling
from starcli.errors import StarcliError
from starcli.evaluation.calibration import Reliability
from starcli.evaluation.confidence import CONFIDENCE_METRICS, Judged, confidence
from starcli.evaluation.evaluator import Evaluator, PathEnd
from starcli.evaluation.scoring import Scored, Scoring
from starcli.evaluation.tasks.classification import CLASSIFICATION
from starcli.runtime.progress import Interrupted, Progress
from starcli.runtime.rehearsal import rehearsing
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

Model = Mapping[str, Tensor]


class Counting(Evaluator):
    """Remembers each t that was asked for, and counts predictions."""

    def __init__(self, workspace: Workspace, progress: Progress | None = None) -> None:
        super().__init__(workspace, progress=progress or Progress())
        self.ts: list[float] = []
        self.predicted = 0

    def load_between(self, a: PathEnd, b: PathEnd, t: float) -> None:
        self.ts.append(t)
        super().load_between(a, b, t)

    def all_predictions(self, split: str = "test") -> Tensor:
        self.predicted += 1
        return super().all_predictions(split)


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return new_workspace(Choices(arch="resnet", arch_args={"width": 4}, data="digits", limit=150, device="cpu"))


@pytest.fixture(scope="module")
def models(workspace: Workspace) -> list[Model]:
    return [workspace.network(seed=seed).state() for seed in range(4)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_averages_are_of_probabilities() -> None:
    outputs = torch.randn(4, 6, 3, dtype=torch.float64, generator=seeded()).log_softmax(-1)
    found = list(CLASSIFICATION.means(iter(outputs)))
    assert len(found) == 4
    for count, average in enumerate(found, start=1):
        torch.testing.assert_close(average.exp(), outputs[:count].exp().mean(0))


def test_what_underflows_keeps_its_logarithm() -> None:
    outputs = torch.tensor([[[0.0, -2000.0]], [[0.0, -1000.0]]], dtype=torch.float64)
    *_, average = CLASSIFICATION.means(iter(outputs))
    assert float(average[0, 1]) == pytest.approx(-1000 - math.log(2))


@pytest.fixture(scope="module")
def measured(workspace: Workspace, models: list[Model]) -> tuple[Counting, list[PosteriorRow]]:
    evaluator = Counting(workspace)
    rows = average_models(evaluator, models[0], models[1:], Draws(samples=5, repeats=4, seed=0))
    return evaluator, rows


def test_rows_cover_every_number_of_samples(measured: tuple[Counting, list[PosteriorRow]]) -> None:
    _, rows = measured
    found = [(row.posterior, row.samples) for row in rows]
    assert found == [
        ("single", 1),
        *(("star", k) for k in range(2, 6)),
        *(("ensemble", k) for k in range(2, 4)),  # drawn without replacement: three sources, no more
    ]
    row = rows[1].to_dict()
    assert {"posterior", "samples", "decided"} <= row.keys()
    assert all(name in row and f"{name}_std" in row for name in CONFIDENCE_METRICS)
    assert rows[0].repeats == 3  # the single models
    assert rows[1].repeats == 4
    assert [sum(row.reliability.count) for row in rows[:2]] == [3 * 360, 4 * 360]  # every prediction of each repeat


def test_many_models_in_pieces_are_as_all_at_once(
    workspace: Workspace, models: list[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of two numbers of models; then with what was kept of some of these by a run that was stopped."""
    kept: dict[str, Any] = {}

    def keep(name: str, compute: Callable[[], Any]) -> Any:
        if name not in kept:
            kept[name] = compute()
        return json.loads(json.dumps(kept[name]))

    def rows(evaluator: Evaluator, **how: Any) -> list[PosteriorRow]:
        return average_models(evaluator, models[0], models[1:], Draws(samples=4, repeats=2, seed=0), **how)

    at_once = rows(Evaluator(workspace))
    monkeypatch.setattr("starcli.averaging.bma.COUNTS_AT_ONCE", 2)
    assert rows(Evaluator(workspace), keep=keep) == at_once
    del kept["repeat 0, range(4, 5)"], kept["repeat 1, range(2, 4)"]
    evaluator = Counting(workspace)
    assert rows(evaluator, keep=keep) == at_once
    assert evaluator.predicted == 4 + 3 + 3  # each from its first member to the last that is missing; all sources


def test_a_rehearsal_of_many_repeats_is_short(workspace: Workspace, models: list[Model]) -> None:
    with rehearsing() as found:
        average_models(Evaluator(workspace), models[0], models[1:], Draws(samples=3, repeats=10**6, seed=0))
    assert found.parts["repeats of up to 3 models"].count == 10**6
    assert found.skipped > 0.99 * found.now()


def test_every_member_is_computed_once(measured: tuple[Counting, list[PosteriorRow]]) -> None:
    evaluator, _ = measured
    assert evaluator.predicted == 3 + 4 * 5
    assert len(set(evaluator.ts)) == 20  # each repeat draws anew
    assert all(0 <= t <= 1 for t in evaluator.ts)


def test_the_full_ensemble_is_that_of_all_sources(
    workspace: Workspace, models: list[Model], measured: tuple[Counting, list[PosteriorRow]]
) -> None:
    evaluator = Evaluator(workspace)
    outputs = []
    for model in models[1:]:
        evaluator.load(model)  # statistics re-estimated, as for the star's points
        outputs.append(evaluator.all_predictions())
    labels = workspace.dataset.test.labels
    expected = confidence(torch.stack(outputs).exp().mean(0).log(), labels)
    row = measured[1][-1]
    assert row.mean["nll"] == pytest.approx(expected.nll, rel=1e-9)
    assert row.mean["errors"] == expected.errors
    assert row.std["nll"] == pytest.approx(0, abs=1e-12)  # whatever the order
    singles = [confidence(output, labels) for output in outputs]
    assert measured[1][0].mean["accuracy"] == pytest.approx(sum(c.accuracy for c in singles) / 3)


def test_the_seed_decides(workspace: Workspace, models: list[Model]) -> None:
    first, same, other = (
        average_models(Evaluator(workspace), models[0], models[1:], Draws(samples=2, repeats=1, seed=seed))
        for seed in (0, 0, 1)
    )
    assert [row.mean for row in first] == [row.mean for row in same]
    assert first[1].mean != other[1].mean
    assert all(math.isnan(value) for value in first[1].std.values())  # one repeat has no deviation


def test_nothing_is_chosen_for_a_loss_that_is_no_number(measured: tuple[Counting, list[PosteriorRow]]) -> None:
    losses = iter([math.nan, 0.5, 0.25, math.nan] * 3)
    rows = [replace(row, validation_loss=next(losses)) for row in measured[1] if row.posterior != "single"]
    star, ensemble = choose_samples(rows)
    assert star.validation_loss == 0.25
    assert ensemble.validation_loss == min(
        row.validation_loss for row in rows if row.posterior == "ensemble" and not math.isnan(row.validation_loss)
    )


def test_a_loss_that_is_infinite_has_no_deviation() -> None:
    """Of a network that gives the right class no chance at all, as one whose logits are masked."""
    sure = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64).log()
    row = row_of("star", 2, [Scored(confidence(sure, torch.tensor(labels))) for labels in ([0, 1], [0, 0], [1, 1])])
    assert row.mean["nll"] == math.inf
    assert math.isnan(row.std["nll"])
    assert row.mean["accuracy"] == row.std["accuracy"] == 0.5


def test_few_errors_decide_nothing() -> None:
    def row(errors: float) -> PosteriorRow:
        return PosteriorRow("star", 2, 1, dict.fromkeys(CONFIDENCE_METRICS, errors), {}, Reliability((), (), ()))

    assert not row(29.5).decided
    assert row(30).decided


def test_too_little_to_average_is_an_error(workspace: Workspace, models: list[Model]) -> None:
    with pytest.raises(StarcliError) as caught:
        average_models(Evaluator(workspace), models[0], models[1:2], Draws(samples=1, repeats=0, seed=0))
    assert len(caught.value.problems) == 3


def test_a_signal_stops_it(workspace: Workspace, models: list[Model]) -> None:
    watcher = Progress()
    watcher.stop_signal = 2
    with pytest.raises(Interrupted):
        average_models(Counting(workspace, watcher), models[0], models[1:], Draws(samples=19, repeats=3, seed=0))


def test_the_star_is_compared_with_an_ensemble(measured: tuple[Counting, list[PosteriorRow]]) -> None:
    rows = {(row.posterior, row.samples): row for row in measured[1]}
    for (posterior, samples), row in rows.items():
        if posterior != "star":
            assert row.against_ensemble is row.ensemble_samples is None
            continue
        assert row.ensemble_samples == min(samples, 3)  # three sources: there is no ensemble of more
        ensemble = rows["ensemble", min(samples, 3)].mean
        for metric, found in row.against_ensemble.items():
            assert found.difference == pytest.approx(row.mean[metric] - ensemble[metric])
            assert found.low < found.difference < found.high
        assert PosteriorRow.from_dict(json.loads(json.dumps(asdict(row)))) == row


def test_the_interval_is_of_the_mean_over_repeats_by_hand(workspace: Workspace, models: list[Model]) -> None:
    """Each repeat draws its models, all are measured on the same resamples of the examples."""
    star, *sources = models
    draws, scoring = Draws(samples=2, repeats=3, seed=5), Scoring(workspace.dataset)
    rows = average_models(Evaluator(workspace), star, sources, draws)
    [row] = [row for row in rows if (row.posterior, row.samples) == ("star", 2)]
    members, generator = Members(Evaluator(workspace), star, sources, scoring.outputs), seeded(5)
    resampled = []
    for _ in range(3):
        draw = draw_members(3, 2, draws.points, generator)
        points = torch.stack([members.between(*point) for point in draw.points])
        ensemble = torch.stack([members.source(position) for position in draw.order])
        both = []
        for outputs in (points, ensemble):
            judged = Judged()
            judged.add(outputs.exp().mean(0).log(), workspace.dataset.test.labels)
            both.append(scoring.resamples.metrics(judged))
        resampled.append({name: both[0][name] - both[1][name] for name in both[0]})
    for name, found in row.against_ensemble.items():
        means = torch.stack([each[name] for each in resampled]).mean(0)
        assert [found.low, found.high] == pytest.approx(np.quantile(means.numpy(), [0.025, 0.975]), rel=1e-6, abs=1e-9)


def test_at_the_sources_the_star_domain_is_their_ensemble(workspace: Workspace, models: list[Model]) -> None:
    draws = Draws(samples=2, repeats=1, seed=0, points=PointSampling("constant:1", in_turn=True))
    _, star, ensemble = average_models(Evaluator(workspace), models[0], models[1:3], draws)
    assert star.mean == pytest.approx(ensemble.mean, rel=1e-9)
    for found in star.against_ensemble.values():
        assert [found.difference, found.low, found.high] == pytest.approx([0, 0, 0], abs=1e-9)


def test_of_ends_in_turn_the_star_is_one_member_more(workspace: Workspace, models: list[Model]) -> None:
    """All of it: the plain mean of the star's predictions and each source's, statistics re-estimated."""
    draws = Draws(samples=4, repeats=1, seed=0, points=PointSampling("ends", in_turn=True))
    rows = average_models(Evaluator(workspace), models[0], models[1:], draws)
    evaluator = Evaluator(workspace)
    outputs = []
    for model in models:
        evaluator.load(model)
        outputs.append(evaluator.all_predictions().exp())
    expected = confidence(torch.stack(outputs).mean(0).log(), workspace.dataset.test.labels)
    [row] = [row for row in rows if (row.posterior, row.samples) == ("star", 4)]
    assert row.mean["nll"] == pytest.approx(expected.nll, rel=1e-6)
    assert row.mean["errors"] == expected.errors


def test_a_fitted_temperature_is_that_of_each_average_on_validation() -> None:
    """The same minimum as scipy finds of the same loss, for star domain and ensemble alike."""
    how: dict[str, Any] = {"arch_args": {"hidden_dim": 8}, "val_fraction": 0.2, "limit": 300, "epochs": 3}
    trained = [sc.train("mlp", "digits", seed=seed, **how) for seed in range(3)]
    workspace, models = trained[0].workspace, [model.tensors for model in trained]
    scoring = Scoring(workspace.dataset, temperature="fit")
    draws = Draws(samples=2, repeats=1, seed=0)
    rows = average_models(Evaluator(workspace), models[0], models[1:], draws, scoring=scoring)
    draw = draw_members(2, 2, PointSampling(), seeded())
    members = Members(Evaluator(workspace), models[0], models[1:], lambda found: found.all_predictions("validation"))
    labels = workspace.dataset.split("validation").targets
    averages = {
        "star": CLASSIFICATION.mean(members.between(*point) for point in draw.points),
        "ensemble": CLASSIFICATION.mean(members.source(number) for number in draw.order),
    }
    for row in rows[1:]:
        logs = averages[row.posterior]
        best = minimize_scalar(
            lambda b, logs=logs: float(-(b * logs).log_softmax(1).gather(1, labels[:, None]).mean()),
            bounds=(1e-3, 100), method="bounded", options={"xatol": 1e-10},
        )  # fmt: skip
        assert row.temperature == pytest.approx(1 / best.x, rel=1e-4)
        assert row.to_dict()["fitted_on"] == "validation"
    assert rows[1].scaled_against_ensemble is not None
    difference = rows[1].scaled["nll"] - rows[2].scaled["nll"]
    assert rows[1].scaled_against_ensemble["nll"].difference == pytest.approx(difference)
