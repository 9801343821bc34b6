"""Barriers against hand calculations and invariants: ends, symmetry, a model against itself, one measurement an end."""

import json
import math
from collections import Counter
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from starcli.alignment.align import Alignment
from starcli.barriers.line import Barrier, Curve, accuracy_barrier, grid, loss_barrier, measure_line, rises
from starcli.barriers.pairs import barriers, matrix, pairs_of, star_share
from starcli.barriers.points import interpolate_models, perturb_model
from starcli.barriers.star_report import TRAINED, UNALIGNED, star_report
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator, Scores
from starcli.runtime.progress import Interrupted, Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

Model = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return new_workspace(Choices(arch="resnet", arch_args={"width": 4}, data="digits", limit=120, device="cpu"))


@pytest.fixture(scope="module")
def models(workspace: Workspace) -> list[Model]:
    return [workspace.network(seed=seed).state() for seed in range(5)]


@pytest.fixture(scope="module")
def evaluator(workspace: Workspace) -> Evaluator:
    return Evaluator(workspace)


class Counting(Evaluator):
    """An evaluator that counts its measurements."""

    measured = 0

    def scores(self) -> dict[str, Scores]:
        self.measured += 1
        return super().scores()


class Watcher(Progress):
    def __init__(self) -> None:
        self.totals: list[int] = []
        self.steps = 0

    def start(self, task: str, total: int) -> None:
        self.totals.append(total)

    def step(self, count: int = 1, **figures: float) -> None:
        self.steps += count


def test_a_barrier_is_the_rise_above_the_line() -> None:
    ts = grid(5)
    assert ts == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert loss_barrier(ts, [1.0, 2.0, 2.5, 2.0, 3.0]) == pytest.approx(0.5)  # lines at 1.5, 2, 2.5
    assert accuracy_barrier(ts, [0.9, 0.7, 0.8, 0.5, 0.5]) == pytest.approx(0.1)  # lines at 0.8, 0.7, 0.6
    assert loss_barrier(ts, [1.0, 0.0, 0.0, 0.0, 1.0]) == 0  # a valley is no barrier, and not below 0
    assert rises(ts, [0.1] * 5) == (0.0,) * 5
    assert math.isnan(loss_barrier(ts, [1.0, math.nan, 2.0, 2.0, 1.0]))
    assert loss_barrier(ts, [1.0, math.inf, 2.0, 2.0, 1.0]) == math.inf


def test_ends_never_rise_whatever_the_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        first, last = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
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


def test_ends_are_measured_once_and_progress_counts_it(workspace: Workspace, models: list[Model]) -> None:
    watcher = Watcher()
    counting = Counting(workspace, progress=watcher)
    pairs = pairs_of(4)
    found = barriers(counting, models[:4], pairs, points=4)
    assert counting.measured == 4 + 6 * 2
    assert watcher.totals == [counting.measured]
    assert watcher.steps == counting.measured
    alone = measure_line(Evaluator(workspace), models[1], models[3], points=4)
    assert found[pairs.index((1, 3))] == alone  # bit for bit, whatever ran before


def test_alignment_is_the_callers(workspace: Workspace, evaluator: Evaluator, models: list[Model]) -> None:
    """A permuted copy has a barrier; aligned it has none."""
    spec = workspace.spec.resolved
    permutation = Permutation.random(spec, torch.Generator().manual_seed(0))
    shuffled = permutation.apply(dict(models[0]))
    plain = barriers(evaluator, [models[0], shuffled], [(0, 1)], points=3)[0]
    undone = barriers(evaluator, [models[0], shuffled], [(0, 1)], points=3, alignment=Alignment("weight"))[0]
    assert plain.curves["train"].loss[0] == pytest.approx(plain.curves["train"].loss[2], rel=1e-4)
    assert abs(plain.curves["train"].loss[1] - plain.curves["train"].loss[0]) > 1e-3
    assert undone.curves["train"].loss[1] == pytest.approx(undone.curves["train"].loss[0], rel=1e-4)


class Kept:
    def __init__(self) -> None:
        self.found: dict[tuple[int, int], Barrier] = {}

    def get(self, pair: tuple[int, int]) -> Barrier | None:
        return self.found.get(pair)

    def put(self, pair: tuple[int, int], value: Barrier) -> None:
        self.found[pair] = Barrier.from_dict(json.loads(json.dumps(value.to_dict())))


def test_what_is_kept_is_not_measured_again(workspace: Workspace, models: list[Model]) -> None:
    store = Kept()
    pairs = pairs_of(3)
    first = barriers(Evaluator(workspace), models[:3], pairs, points=3, store=store)
    del store.found[1, 2]
    counting = Counting(workspace)
    assert barriers(counting, models[:3], pairs, points=3, store=store) == first  # also through JSON
    assert counting.measured == 3
    assert barriers(counting, models[:3], pairs, points=3, store=store) == first
    assert counting.measured == 3


def test_a_signal_stops_a_path(workspace: Workspace, models: list[Model]) -> None:
    watcher = Watcher()
    watcher.stop_signal = 15
    with pytest.raises(Interrupted) as stopped:
        measure_line(Evaluator(workspace, progress=watcher), models[0], models[1])
    assert stopped.value.signal == 15


def test_a_model_that_does_not_fit_is_an_error(evaluator: Evaluator, models: list[Model]) -> None:
    with pytest.raises(StarcliError, match="do not fit"):
        measure_line(evaluator, models[0], {"fc.weight": torch.zeros(1)})


def test_stars_are_below_epsilon_to_all_others() -> None:
    pairs = pairs_of(3)
    assert pairs == [(0, 1), (0, 2), (1, 2)]
    found = matrix(3, pairs, [0.1, 0.2, 0.5])
    assert found.tolist() == [[0.0, 0.1, 0.2], [0.1, 0.0, 0.5], [0.2, 0.5, 0.0]]
    assert star_share(found, 0.2) == 0
    assert star_share(found, 0.3) == pytest.approx(1 / 3)
    assert star_share(found, 1) == 1
    assert star_share(matrix(3, pairs[:2], [0.1, 0.2]), 1) == pytest.approx(1 / 3)  # not measured is no star


def test_interpolation_at_the_ends_and_beyond(workspace: Workspace, models: list[Model]) -> None:
    learnable = {slot.name for slot in workspace.network().layout}
    zero = interpolate_models(workspace, models[:2], [1, 0])
    assert all(torch.equal(zero[name], models[0][name]) for name in learnable)
    assert zero.keys() == models[0].keys()
    beyond = interpolate_models(workspace, models[:2], [-0.5, 1.5])
    thirds = interpolate_models(workspace, models[:3], [1 / 3] * 3)
    for name in learnable:
        a, b, c = (model[name].double() for model in models[:3])
        torch.testing.assert_close(beyond[name].double(), -0.5 * a + 1.5 * b, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(thirds[name].double(), (a + b + c) / 3, rtol=1e-5, atol=1e-7)


def test_interpolation_keeps_integers_and_re_estimates_statistics(workspace: Workspace, models: list[Model]) -> None:
    first = {name: t if t.is_floating_point() else torch.full_like(t, 11) for name, t in models[0].items()}
    found = interpolate_models(workspace, [first, models[1]], [0.5, 0.5])
    integers = [name for name, tensor in found.items() if not tensor.is_floating_point()]
    assert integers
    assert all(found[name].dtype == torch.int64 and found[name] == 11 for name in integers)
    means = [name for name in found if name.endswith("running_mean")]
    assert means
    assert all(not torch.equal(found[n], (models[0][n] + models[1][n]) / 2) for n in means)


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.0], [math.nan, 1.0]])
def test_wrong_weights_are_errors(workspace: Workspace, models: list[Model], weights: list[float]) -> None:
    with pytest.raises(StarcliError):
        interpolate_models(workspace, models[:2], weights)


def test_perturbations_lie_on_the_sphere(workspace: Workspace, models: list[Model]) -> None:
    network = workspace.network()
    centre = network.flatten(models[0]).double()
    points = [
        network.flatten(perturb_model(workspace, models[0], 4.0, torch.Generator().manual_seed(seed))).double()
        for seed in (0, 0, 1)
    ]
    assert torch.equal(points[0], points[1])
    assert not torch.equal(points[0], points[2])
    for point in points:
        assert float((point - centre).norm()) == pytest.approx(4.0, rel=1e-5)
    with pytest.raises(StarcliError, match="radius"):
        perturb_model(workspace, models[0], -1.0, torch.Generator())


# -- star reports ------------------------------------------------------------------------------------------------------


def test_a_star_report_measures_every_group(workspace: Workspace, models: list[Model]) -> None:
    star, sources, held_out = models[0], models[1:3], models[3:5]
    counting = Counting(workspace)
    aligned: Counter[int] = Counter()

    class Counted(Alignment):
        def permuted(self, spec: Resolved, reference: Model, model: Model) -> Model:
            aligned[id(reference)] += 1
            return model

    found = star_report(
        counting,
        star,
        sources,
        held_out,
        points=3,
        alignment=Counted(),
        aligned_sources=sources,
    )
    assert list(found.groups) == [UNALIGNED, "regular-regular", "star-source", TRAINED, "star-held-out"]
    assert found.groups[UNALIGNED].pairs == found.groups["regular-regular"].pairs
    assert found.groups["regular-regular"].pairs == ((0, 2), (0, 3), (1, 2), (1, 3))
    assert counting.measured == 5 + 2 + (4 + 4 + 2 + 2 + 2)  # ends, training's ends, points between
    assert aligned[id(star)] == 4
    assert sum(aligned.values()) == 8  # training's permutations are left alone
    assert found.groups[TRAINED].to_dict()["train"]["mean"] == pytest.approx(
        found.groups["star-source"].to_dict()["train"]["mean"]
    )

    regular, to_star = found.groups["regular-regular"].barriers, found.groups["star-held-out"].barriers
    by_hand = [
        (regular[h].curves["test"].loss_barrier + regular[2 + h].curves["test"].loss_barrier) / 2
        - to_star[h].curves["test"].loss_barrier
        for h in (0, 1)
    ]
    assert found.differences["test"].mean == pytest.approx(sum(by_hand) / 2)
    assert found.differences["test"].count == 2
    assert found.star["train"].loss == to_star[0].curves["train"].loss[0]
    assert found.regular["train"].max == max(b.curves["train"].loss[-1] for b in found.groups["star-source"].barriers)
    json.dumps(found.to_dict())


def test_a_star_report_needs_both_kinds(evaluator: Evaluator, models: list[Model]) -> None:
    with pytest.raises(StarcliError, match="at least one source"):
        star_report(evaluator, models[0], models[1:3], [])


def test_curves_with_nan_have_no_maximum() -> None:
    scores = [Scores(loss, 0.5, 10) for loss in (1.0, math.nan, 1.0)]
    curve = Curve.of(grid(3), scores)
    assert math.isnan(curve.t_max)
    assert math.isnan(curve.loss_barrier)
    assert curve.accuracy_barrier == 0
