"""Barriers of one line against hand calculations and invariants: ends, symmetry, a model against itself."""

import json
import math

import pytest
import torch
from support.barriers import Model, Watcher

from starcli.barriers.interpolation import interpolate_models
from starcli.barriers.line_barrier import Barrier, Curve, grid, loss_barrier, measure_line, metric_barrier, rises
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.scores import Scores
from starcli.runtime.progress import Interrupted
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace


def test_a_barrier_is_the_rise_above_the_line() -> None:
    ts = grid(5)
    assert ts == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert loss_barrier(ts, [1.0, 2.0, 2.5, 2.0, 3.0]) == pytest.approx(0.5)  # lines at 1.5, 2, 2.5
    metric = [0.9, 0.5, 0.8, 0.5, 0.5]  # lines at 0.8, 0.7, 0.6: it drops by 0.3 and 0.1, and rises by 0.1
    assert metric_barrier(ts, metric) == pytest.approx(0.3)
    assert metric_barrier(ts, metric, falls=True) == pytest.approx(0.1)
    assert loss_barrier(ts, [1.0, 0.0, 0.0, 0.0, 1.0]) == 0  # a valley is no barrier, and not below 0
    assert rises(ts, [0.1] * 5) == (0.0,) * 5
    assert math.isnan(loss_barrier(ts, [1.0, math.nan, 2.0, 2.0, 1.0]))
    assert loss_barrier(ts, [1.0, math.inf, 2.0, 2.0, 1.0]) == math.inf


def test_ends_never_rise_whatever_the_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        first, last = (5 * torch.rand(2, generator=generator, dtype=torch.float64)).tolist()  # differences are rounded
        found = rises(grid(3), [first, 0.0, last])
        assert (found[0], found[-1]) == (0.0, 0.0)


def test_a_grid_has_a_point_between_its_ends() -> None:
    with pytest.raises(StarcliError, match="at least 3 points"):
        grid(2)  # whose barrier is 0 whatever the models


@pytest.mark.parametrize("arch", ["resnet", "mlp"])
def test_a_model_against_itself_rises_nowhere(arch: str) -> None:
    workspace = new_workspace(Choices(arch=arch, data="digits", limit=120, device="cpu"))
    model = workspace.network(seed=3).state()
    found = measure_line(Evaluator(workspace), model, dict(model))
    for curve in found.curves.values():
        assert rises(found.t, curve.loss) == (0.0,) * 11
        assert rises(found.t, curve.accuracy) == (0.0,) * 11


def test_a_path_is_its_points_measured_one_by_one(
    workspace: Workspace, evaluator: Evaluator, models: list[Model]
) -> None:
    found = measure_line(evaluator, models[0], models[1], points=5)
    for position, t in enumerate(found.t):
        point = interpolate_models(workspace, models[:2], [1 - t, t])
        evaluator.load(point)
        scores = evaluator.scores()
        assert scores["train"].loss == found.curves["train"].loss[position]
        assert scores["test"].accuracy == found.curves["test"].accuracy[position]
    assert found.curves["train"].loss_max == max(found.curves["train"].loss)
    assert found.curves["train"].loss[found.t.index(found.curves["train"].t_max)] == found.curves["train"].loss_max


def test_own_ends_change_the_ends_only(workspace: Workspace, evaluator: Evaluator, models: list[Model]) -> None:
    found = measure_line(evaluator, models[0], models[1], points=3)
    own = measure_line(Evaluator(workspace, statistics="own-ends"), models[0], models[1], points=3)
    assert own.curves["train"].loss[1] == found.curves["train"].loss[1]
    assert own.curves["train"].loss[0] != found.curves["train"].loss[0]
    assert own.curves["train"].loss[2] != found.curves["train"].loss[2]


def test_backwards_is_the_mirror_image(evaluator: Evaluator, models: list[Model]) -> None:
    there = measure_line(evaluator, models[0], models[1], points=5)
    back = measure_line(evaluator, models[1], models[0], points=5)
    assert there.curves["train"].loss == pytest.approx(back.curves["train"].loss[::-1], rel=1e-5)
    assert there.curves["train"].loss_barrier == pytest.approx(back.curves["train"].loss_barrier, abs=1e-5)


def test_a_signal_stops_a_path(workspace: Workspace, models: list[Model]) -> None:
    watcher = Watcher()
    watcher.stop_signal = 15
    with pytest.raises(Interrupted) as stopped:
        measure_line(Evaluator(workspace, progress=watcher), models[0], models[1])
    assert stopped.value.signal == 15


def test_a_model_that_does_not_fit_is_an_error(evaluator: Evaluator, models: list[Model]) -> None:
    with pytest.raises(StarcliError, match="do not fit"):
        measure_line(evaluator, models[0], {"fc.weight": torch.zeros(1)})


def test_each_metric_worsens_in_its_own_direction() -> None:
    """Of R2 more is better, of RMSE less; both through JSON too."""
    ts = grid(5)
    scores = [
        Scores(1.0, {"r2": r2, "rmse": rmse}, 9) for r2, rmse in zip([0.9, 0.5, 0.8, 0.5, 0.5], range(5), strict=True)
    ]
    scores[1] = Scores(2.0, {"r2": 0.5, "rmse": 4.0}, 9)
    barrier = Barrier(ts, {"train": Curve.of(ts, scores), "test": Curve.of(ts, scores[::-1])})
    curve = barrier.curves["train"]
    assert (curve.loss_barrier, curve.r2_barrier, curve.rmse_barrier) == pytest.approx((1.0, 0.3, 3.0))
    assert (curve.loss_max, curve.t_max) == (2.0, 0.25)
    again = Barrier.from_dict(json.loads(json.dumps({"model": "a", **barrier.to_dict()}, sort_keys=True)))
    assert again == barrier
    assert again.about == {"model": "a"}


def test_curves_with_nan_have_no_maximum() -> None:
    scores = [Scores(loss, {"accuracy": 0.5}, 10) for loss in (1.0, math.nan, 1.0)]
    curve = Curve.of(grid(3), scores)
    assert math.isnan(curve.t_max)
    assert math.isnan(curve.loss_barrier)
    assert curve.accuracy_barrier == 0
