"""Alignments that learn: never worse than where they began, known optima, the same again, the command line."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tensors import same
from torch import Tensor, nn

import starcli as sc
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.learned.learner import Learner
from starcli.alignment.learned.lesson import Lesson
from starcli.alignment.learned.line_network import LineNetwork
from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.alignment.learned.sinkhorn import SinkhornPermutation
from starcli.alignment.learned.straight_through import StraightThrough
from starcli.errors import StarcliError
from starcli.runtime.backward import Backward
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.permutation import Permutation
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

RELAXATIONS = {"straight-through": StraightThrough, "sinkhorn": SinkhornPermutation}
SMALL = Choices(arch="mlp", arch_args={"hidden_dim": 4, "depth": 1}, data="digits", limit=400)
PLAIN = {"data": "digits", "limit": 100, "normalise": "none"}


@pytest.fixture(scope="module")
def pair() -> tuple[Workspace, Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Two trained perceptrons of one hidden layer of 4 units, which have 24 permutations."""
    models = [
        sc.train("mlp", "digits", limit=400, epochs=60, seed=seed, arch_args={"hidden_dim": 4, "depth": 1})
        for seed in (0, 1)
    ]
    return new_workspace(SMALL), models[0].tensors, models[1].tensors


@pytest.mark.parametrize("method", RELAXATIONS)
def test_the_best_of_all_permutations_is_found_from_a_bad_one(method: str, pair) -> None:
    workspace, a, b = pair
    learner = Learner(workspace, RELAXATIONS[method])
    spec = workspace.spec.resolved
    [group] = spec.groups
    every = [Permutation(spec, {group: torch.tensor(order)}) for order in itertools.permutations(range(4))]
    losses = [learner.judge.loss(a, each.apply(b)) for each in every]
    worst = every[losses.index(max(losses))]
    assert min(losses) < 0.8 * max(losses)
    found = [learner.learn(lesson(a, b, steps=100, seed=seed), worst).midpoint_loss for seed in range(3)]
    assert all(loss < max(losses) for loss in found)
    assert sum(loss == min(losses) for loss in found) >= 2


def lesson(a: Mapping[str, Tensor], b: Mapping[str, Tensor], **how: Any) -> Lesson:
    return Lesson(reference=a, model=b, **how)


class _Steps(Progress):
    """Counts what it was told of, and keeps the losses; asks to stop after so many."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.total, self.count, self.losses, self.stop_after = 0, 0, [], stop_after

    def start(self, task: str, total: int) -> None:
        self.total, self.count = total, 0

    def step(self, count: int = 1, **figures: float) -> None:
        self.count += count
        self.losses += [figures["midpoint"]] if figures else []
        if self.stop_after is not None and self.count >= self.stop_after:
            self.stop_signal = 2


def test_progress_counts_the_steps(pair) -> None:
    workspace, a, b = pair
    start, steps = Permutation.identity(workspace.spec.resolved), 2 * StraightThrough.round_steps + 20
    watcher = _Steps()
    Learner(workspace, StraightThrough).learn(lesson(a, b, steps=steps, progress=watcher), start)
    assert watcher.count == steps
    assert watcher.losses == sorted(watcher.losses, reverse=True)


@pytest.mark.parametrize("method", RELAXATIONS)
def test_it_never_ends_worse_than_it_began_and_the_same_seed_gives_the_same(method: str, pair) -> None:
    workspace, a, b = pair
    for seed in range(3):
        start = Permutation.random(workspace.spec.resolved, torch.Generator().manual_seed(seed))
        ends = [
            Learner(workspace, RELAXATIONS[method]).learn(lesson(a, b, steps=12, seed=seed), start) for _ in range(2)
        ]
        learner = Learner(workspace, RELAXATIONS[method])
        assert ends[0].midpoint_loss <= learner.judge.loss(a, start.apply(b))
        assert ends[0].midpoint_loss == learner.judge.loss(a, ends[0].symmetry.apply(b)) == ends[1].midpoint_loss
        assert ends[0].symmetry.moved(ends[1].symmetry) == 0


@pytest.mark.parametrize("method", RELAXATIONS)
def test_a_planted_permutation_comes_back_and_functions_stay(method: str, pair) -> None:
    workspace, a, b = pair
    planted = Permutation.random(workspace.spec.resolved, torch.Generator().manual_seed(1))
    aligner = Aligner(Alignment(method, steps=10), workspace)
    found = aligner.permuted(a, planted.apply(a))
    assert same(found, a)
    network, inputs = workspace.network(), torch.randn(5, *workspace.architecture.input_shape)
    outputs = []
    for tensors in (b, aligner.permuted(a, b)):
        network.load(tensors)
        with torch.no_grad():
            outputs.append(network.network.eval()(inputs))
    torch.testing.assert_close(*outputs)


def test_judged_examples_are_in_no_step(pair) -> None:
    learner = Learner(pair[0], StraightThrough)
    assert len(learner.judge.rows) == 200
    assert not set(learner.judge.rows.tolist()) & set(learner._rows.tolist())
    assert len(learner._rows) == 200


def test_a_gradient_is_that_of_the_loss_half_way(pair) -> None:
    """Against finite differences of the loss, BatchNorm on the statistics of the batch."""
    workspace, a, b = pair
    learner = Learner(workspace, StraightThrough)
    names = workspace.spec.resolved.learnable()
    inputs, labels = next(iter(workspace.dataset.train.batches(100)))
    layout = ParameterLayout(workspace.spec.resolved)
    midpoint = LineNetwork(workspace, learner._flat, a, b, layout, Backward(SILENT))
    with midpoint.learning():
        found = layout.views(midpoint.gradients(layout.vector(b), inputs, labels))
    network = workspace.network(dtype=torch.float64)

    def loss(other: Mapping[str, Tensor]) -> float:
        middle = {name: 0.5 * (a[name].double() + other[name].double()) for name in names}
        network.load({**b, **middle})
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(network.network.train()(inputs.double()), labels))

    generator = torch.Generator().manual_seed(0)
    for name in names:
        along = torch.randn(b[name].shape, generator=generator, dtype=torch.float64)
        ahead, behind = (loss({**b, name: b[name].double() + sign * 1e-4 * along}) for sign in (1, -1))
        assert float((found[name].double() * along).sum()) == pytest.approx((ahead - behind) / 2e-4, rel=1e-3, abs=1e-6)


def test_a_frozen_parameter_has_no_gradient_and_the_others_have_theirs(pair) -> None:
    workspace, a, b = pair
    names = workspace.spec.resolved.learnable()
    inputs, labels = next(iter(workspace.dataset.train.batches(100)))
    found, layout = [], ParameterLayout(workspace.spec.resolved)
    for frozen in ((), names[:1]):
        flat = workspace.network()
        for name in frozen:
            flat.network.get_parameter(name).requires_grad_(False)
        midpoint = LineNetwork(workspace, flat, a, b, layout, Backward(SILENT))
        with midpoint.learning():
            found.append(layout.views(midpoint.gradients(layout.vector(b), inputs, labels)))
    free, part = found
    assert float(free[names[0]].abs().max()) > 0
    assert torch.equal(part[names[0]], torch.zeros_like(b[names[0]]))
    assert all(torch.equal(part[name], free[name]) for name in names[1:])


@pytest.mark.parametrize("method", RELAXATIONS)
def test_units_of_frozen_layers_are_renamed(method: str) -> None:
    def made(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
        network[1].requires_grad_(False)
        return network

    b = made(1)
    found = sc.align(made(0), b, method=Alignment(method, steps=4, examples=32), **PLAIN)
    order = found.permutation.index["units.1"]
    assert found.to_dict()["moved"] > 0
    assert torch.equal(found.tensors["1.weight"], b[1].weight[order])
    assert torch.equal(found.tensors["3.weight"], b[3].weight[:, order])


@pytest.mark.parametrize("method", RELAXATIONS)
def test_a_network_without_units_stays_as_it_is(method: str) -> None:
    a, b = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2))
    with pytest.warns(sc.StarcliWarning, match="alignment moves nothing"):
        found = sc.align(a, b, method=Alignment(method, steps=5, examples=32), **PLAIN)
    assert found.to_dict()["moved"] == 0
    assert found.to_dict()["midpoint_loss"] > 0
    assert same(found.tensors, b.state_dict())


def test_a_start_is_learned_on_without_a_search(pair) -> None:
    workspace, a, b = pair
    aligner = Aligner(Alignment("straight-through", steps=40), workspace)
    first = aligner.match(a, b)
    [again] = aligner.match_all(a, [b], seeds=[0], restarts=1, starts=[first.permutation])
    assert again.midpoint_loss is not None
    assert first.midpoint_loss is not None
    assert again.midpoint_loss <= first.midpoint_loss
    assert again.sweeps == 0


def test_too_few_examples() -> None:
    workspace = new_workspace(Choices(arch="mlp", data="digits", limit=3))
    with pytest.raises(StarcliError, match="learns on 4 training examples or more, found 3"):
        Learner(workspace, StraightThrough)


def test_titles_and_settings() -> None:
    assert Alignment("straight-through").title == "straight-through, 1 restart, 256 examples, 200 steps"
    assert Alignment("sinkhorn", examples="noise", steps=50).reads_data
    with pytest.raises(StarcliError, match="is of straight-through, sinkhorn"):
        Alignment("activation", steps=10)
    with pytest.raises(StarcliError, match="at least 1, found 0"):
        Alignment("sinkhorn", steps=0)


@pytest.mark.parametrize("method", RELAXATIONS)
def test_on_the_command_line(method: str, starcli, solutions, tmp_path: Path) -> None:
    steps = ["--align-steps", "3"]
    ran = starcli("align", *solutions.some(0, 1), "--method", method, *steps, "-o", tmp_path / "b.safetensors")
    assert ran.status == 0, ran.err
    assert ran.rows[0]["midpoint_loss"] > 0
    recorded = starcli("inspect", tmp_path / "b.safetensors").rows[0]
    assert recorded["recipe"]["align"]["steps"] == 3
    apart = starcli("barrier", solutions[0], tmp_path / "b.safetensors", "--points", "3").rows[0]
    at_once = starcli("barrier", *solutions.some(0, 1), "--align", method, *steps, "--points", "3", "--no-cache").rows[
        0
    ]
    assert at_once["train"] == apart["train"]
    assert at_once["alignment"] == f"{method}, 1 restart, 256 examples, 3 steps"


def test_a_star_by_straight_through(starcli, solutions, tmp_path: Path) -> None:
    words = ["--sources", *solutions.some(0, 1), "--align", "straight-through", "--align-steps", "10", "--epochs", "2"]
    ran = starcli("star", *words, "-o", tmp_path / "a.safetensors")
    assert ran.status == 0, ran.err
    assert ran.rows[0]["alignment"] == "straight-through, 1 restart, 256 examples, 10 steps, then 1 step each epoch"
    ran = starcli("star", *words, "--realign-restarts", "2", "-o", tmp_path / "b.safetensors")
    assert ran.status == 1
    assert "not for straight-through, which learns on without a search" in ran.err


@pytest.mark.parametrize("method", RELAXATIONS)
def test_of_models_together_the_mean_never_gets_worse(method: str, starcli, solutions, tmp_path: Path) -> None:
    words = [*solutions.some(0, 1, 2), "--joint", "--align-steps", "20", "-o", tmp_path / "{name}.safetensors"]
    ran = starcli("align", *words, "--method", method)
    assert ran.status == 0, ran.err
    learned = sc.load(solutions[0], *(tmp_path / f"{number}.safetensors" for number in (1, 2)))
    searched = sc.align_jointly(solutions[0], solutions.some(1, 2), method="activation")
    assert learned[0].metadata.architecture is not None
    learner = Learner(searched[0].workspace, RELAXATIONS[method])
    before = learner.judge.loss_of_mean([learned[0].tensors, *(model.tensors for model in searched)])
    after = learner.judge.loss_of_mean([model.tensors for model in learned])
    assert after <= before
    assert ran.rows[0]["midpoint_loss"] == pytest.approx(after, rel=1e-6)
