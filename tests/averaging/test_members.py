"""Models whose predictions are averaged: what they predict, what of it is kept, and how far they have come."""

from collections.abc import Mapping

import pytest
import torch
from support.training import Counted
from torch import Tensor

from starcli.averaging.bma import Draws, average_models
from starcli.averaging.members import Members
from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.scoring import Scoring
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return new_workspace(Choices(arch="mlp", arch_args={"hidden_dim": 4}, data="digits", limit=60, device="cpu"))


@pytest.fixture(scope="module")
def models(workspace: Workspace) -> list[Mapping[str, Tensor]]:
    return [workspace.network(seed=seed).state() for seed in range(4)]


def test_sources_are_kept_as_far_as_they_fit(
    workspace: Workspace, models: list[Mapping[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def outputs(evaluator: Evaluator) -> Tensor:
        computed.append(evaluator.network.flatten(evaluator.network.state()).clone())
        return torch.zeros(10, 5, dtype=torch.float64)

    monkeypatch.setattr("starcli.averaging.members.KEPT_PREDICTION_BYTES", 2 * 10 * 5 * 8)
    members = Members(Evaluator(workspace), models[0], models[1:], outputs)
    for position in (0, 1, 2, 0, 1, 2):
        members.source(position)
    flat = workspace.network()
    expected = [flat.flatten(models[1 + position]) for position in (0, 1, 2, 2)]  # for the third there is no room
    assert all(torch.equal(*pair) for pair in zip(computed, expected, strict=True))


def test_each_prediction_is_a_step(workspace: Workspace, models: list[Mapping[str, Tensor]]) -> None:
    progress = Counted()
    draws = Draws(samples=5, repeats=4, seed=0)
    average_models(Evaluator(workspace, progress=progress), models[0], models[1:], draws)
    assert progress.done == progress.total == 3 + 4 * 5


@pytest.mark.parametrize("of_ensembles", [[None, 2.0], [2.0, None], [2.0, 2.0]])
def test_where_one_average_has_no_temperature_none_is_compared(
    of_ensembles: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the predictions of one of two repeats are all right, and a temperature of 0 would be best."""
    choices = Choices(arch="mlp", arch_args={"hidden_dim": 4}, data="digits", limit=60, val_fraction=0.5, device="cpu")
    workspace = new_workspace(choices)
    models = [workspace.network(seed=seed).state() for seed in range(3)]
    fitted = iter([2.0, 2.0, of_ensembles[0], 2.0, of_ensembles[1], 2.0])  # of single models, then of each repeat
    monkeypatch.setattr("starcli.evaluation.scoring.fit_temperature", lambda *_: next(fitted))
    scoring, draws = Scoring(workspace.dataset, temperature="fit"), Draws(samples=2, repeats=2, seed=0)
    _, star, ensemble = average_models(Evaluator(workspace), models[0], models[1:], draws, scoring=scoring)
    assert (star.temperature, star.against_ensemble is not None) == (2.0, True)
    assert ensemble.temperature == (None if None in of_ensembles else 2.0)
    assert (star.scaled_against_ensemble is None) == (None in of_ensembles)


@pytest.mark.parametrize("at_once", [1, 100])
def test_more_points_than_sources_are_compared_with_all_sources(
    workspace: Workspace, models: list[Mapping[str, Tensor]], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starcli.averaging.bma.COUNTS_AT_ONCE", at_once)
    draws = Draws(samples=4, repeats=2, seed=0)
    rows = average_models(Evaluator(workspace), models[0], models[1:3], draws)
    assert [(row.posterior, row.samples) for row in rows[1:]] == [*(("star", k) for k in (2, 3, 4)), ("ensemble", 2)]
    for row in rows[1:4]:
        assert row.ensemble_samples == 2
        assert row.against_ensemble is not None
        for metric in ("nll", "accuracy", "brier"):
            difference = row.against_ensemble[metric].difference
            assert difference == pytest.approx(row.mean[metric] - rows[4].mean[metric], abs=1e-12)
            assert row.against_ensemble[metric].low <= row.against_ensemble[metric].high
