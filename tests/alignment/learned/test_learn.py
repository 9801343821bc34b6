"""Learning over all kinds of symmetries: no worse than where it began, elements undone, the reference's frame."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tensors import same
from torch import Tensor

import starcli as sc
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.learned.learn_element import invertible, milder
from starcli.alignment.learned.learner import Learner
from starcli.alignment.learned.straight_through import StraightThrough
from starcli.alignment.unchanged import RoundsTooMuch, check_acted
from starcli.errors import StarcliError
from starcli.symmetry.element import Element
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

VIT = {"patch_size": 4, "dim": 8, "depth": 2, "heads": 2, "mlp_dim": 12}
MLP = {"hidden_dim": 6, "depth": 2, "batch_norm": "none"}
NETWORKS = {"vit": VIT, "resnet": {"width": 2}, "mlp": MLP, "mlp-tanh": {**MLP, "activation": "tanh"}}


@cache
def opened(name: str) -> tuple[Workspace, Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Two networks that were trained a little."""
    arch, arguments = name.partition("-")[0], NETWORKS[name]
    models = [sc.train(arch, "digits", limit=200, epochs=8, seed=seed, arch_args=arguments) for seed in (0, 1)]
    choices = Choices(arch=arch, arch_args=arguments, data="digits", limit=200)
    return new_workspace(choices), models[0].tensors, models[1].tensors


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request: pytest.FixtureRequest) -> tuple[Workspace, Mapping[str, Tensor], Mapping[str, Tensor]]:
    return opened(request.param)


def outputs(workspace: Workspace, tensors: Mapping[str, Tensor]) -> Tensor:
    network = workspace.network(dtype=torch.float64)
    network.load(tensors)
    inputs = torch.randn(7, *workspace.architecture.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network.network.eval()(inputs.double())


def test_it_ends_no_worse_than_it_began_and_keeps_the_function(pair) -> None:
    workspace, a, b = pair
    aligner = Aligner(Alignment("learn", steps=12, examples=32), workspace)
    with sc.no_cache():
        found, again = (aligner.match(a, b) for _ in range(2))
    placed = found.symmetry.apply(b)
    judge = Learner(workspace, StraightThrough).judge
    searched = Aligner(Alignment("activation", examples=32), workspace).match(a, b)
    assert found.midpoint_loss == pytest.approx(judge.loss(a, placed), rel=1e-4)
    assert found.midpoint_loss <= judge.loss(a, searched.permutation.apply(b))
    assert same(placed, again.symmetry.apply(b))
    torch.testing.assert_close(outputs(workspace, placed), outputs(workspace, b), rtol=1e-3, atol=1e-3)
    kept = {fold.scale.tensor for kind in workspace.kinds.groups.values() for fold in kind.folds}
    assert all(torch.allclose(placed[name], a[name], rtol=1e-5) for name in kept)


def test_a_planted_element_comes_back(pair) -> None:
    workspace, a, _ = pair
    exact = {name: tensor.double() for name, tensor in a.items()}
    planted = Element.random(workspace.kinds, torch.Generator().manual_seed(1)).apply(exact)
    moved = {name: tensor.to(a[name].dtype) for name, tensor in planted.items()}
    found = Aligner(Alignment("learn", steps=2, examples=32), workspace).match(a, moved)
    placed = found.symmetry.apply(moved)
    learner = Learner(workspace, StraightThrough)
    assert learner.judge.loss(a, placed) < learner.judge.loss(a, a) + 1e-3


def test_it_lowers_the_loss_half_way_where_permutations_do_not() -> None:
    workspace, a, b = opened("vit")
    aligner = Aligner(Alignment("learn", steps=120, examples=32), workspace)
    judge = Learner(workspace, StraightThrough).judge
    ends = max(judge.loss(a, a), judge.loss(b, b))
    searched = Aligner(Alignment("straight-through", steps=40, examples=32), workspace).match(a, b)
    above = float(aligner.match(a, b).midpoint_loss or 0.0) - ends
    assert above < 0.6 * (float(searched.midpoint_loss or 0.0) - ends)


@pytest.mark.slow
def test_where_rounding_would_change_the_function_matrices_are_milder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is that of what is returned, between those of what was learned and of the start, where all else ends."""
    workspace, a, b = opened("vit")
    aligner = Aligner(Alignment("learn", steps=12, examples=32), workspace)
    judge = Learner(workspace, StraightThrough).judge

    def learned(refusals: int) -> float:
        refused = []

        def check(*words: Any) -> float | None:
            if len(refused) < refusals:
                refused.append(words[1])
                raise RoundsTooMuch("the function would not stay the same")
            return check_acted(*words)

        monkeypatch.setattr("starcli.alignment.aligner.check_acted", check)
        monkeypatch.setattr("starcli.alignment.learned.learn_element.MILDER", (1.05, 1.02))
        with sc.no_cache():
            found = aligner.match(a, b)
        assert len(refused) == refusals
        assert found.midpoint_loss == pytest.approx(judge.loss(a, found.symmetry.apply(b)), rel=1e-4)
        return float(found.midpoint_loss or 0.0)

    free, less, start = map(learned, (0, 1, 3))
    assert free < less < start


def test_milder_matrices_have_bounded_singular_values() -> None:
    workspace, a, _ = opened("vit")
    element = Element.random(workspace.kinds, torch.Generator().manual_seed(1))
    found = milder(element, 1.5)
    for name, matrix in invertible(found).items():
        values = torch.linalg.svdvals(matrix)
        assert 1 / 1.5 - 1e-12 < float(values.min()) < float(values.max()) < 1.5 + 1e-12
        assert not torch.allclose(matrix, element.matrices[name])
    torch.testing.assert_close(dict(milder(element, 1e9).apply(a)), dict(element.apply(a)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs(workspace, found.apply(a)), outputs(workspace, a), rtol=1e-3, atol=1e-3)


def test_what_was_learned_is_learned_on_from_where_it_is() -> None:
    workspace, a, b = opened("mlp")
    aligner = Aligner(Alignment("learn", steps=30, examples=32), workspace)
    first = aligner.match(a, b)
    [again] = aligner.match_all(a, [b], seeds=[0], restarts=1, starts=[first.symmetry])
    assert first.midpoint_loss is not None
    assert again.midpoint_loss is not None
    assert again.midpoint_loss <= first.midpoint_loss * (1 + 1e-6)
    assert again.sweeps == 0


def test_where_units_only_permute_it_is_straight_through() -> None:
    arguments = {**MLP, "activation": "gelu"}
    models = [sc.train("mlp", "digits", limit=200, epochs=4, seed=seed, arch_args=arguments) for seed in (0, 1)]
    workspace = new_workspace(Choices(arch="mlp", arch_args=arguments, data="digits", limit=200))
    a, b = (model.tensors for model in models)
    [note] = Alignment("learn", lr=0.1).notes_in(workspace)
    assert note == "lr (--align-lr) has no effect: the units of this network only permute"
    assert Alignment("learn").notes_in(workspace) == []
    aligners = [Aligner(Alignment(name, steps=20, examples=32), workspace) for name in ("learn", "straight-through")]
    found, expected = (aligner.match(a, b) for aligner in aligners)
    assert aligners[0].kinds is None
    assert found.element is None
    assert found.permutation.moved(expected.permutation) == 0


def test_titles_and_settings() -> None:
    assert Alignment("learn").title == "learn, 1 restart, 256 examples, 1000 steps"
    assert Alignment("learn", lr=0.1).title == "learn, 1 restart, 256 examples, 1000 steps, learning rate 0.1"
    alone = Alignment("learn", kinds="permutation")
    assert alone.title == "learn, 1 restart, 256 examples, 1000 steps, permutations alone"
    assert alone.lr is None  # it is of what is continuous
    assert Alignment("learn").reads_data
    for wrong in (0.0, 2.0):
        with pytest.raises(StarcliError, match="above 0, at most 1"):
            Alignment("learn", lr=wrong)
    with pytest.raises(StarcliError, match="is of learn"):
        Alignment("straight-through", lr=0.1)


def test_on_the_command_line(starcli, solutions, tmp_path: Path) -> None:
    steps = ["--align-steps", "3", "--align-lr", "0.01"]
    ran = starcli("align", *solutions.some(0, 1), "--method", "learn", *steps, "-o", tmp_path / "b.safetensors")
    assert ran.status == 0, ran.err
    recorded = starcli("inspect", tmp_path / "b.safetensors").rows[0]
    assert {name: recorded["recipe"]["align"][name] for name in ("steps", "lr")} == {"steps": 3, "lr": 0.01}
    apart = starcli("barrier", solutions[0], tmp_path / "b.safetensors", "--points", "3").rows[0]
    at_once = starcli("barrier", *solutions.some(0, 1), "--align", "learn", *steps, "--points", "3", "--no-cache").rows[
        0
    ]
    assert at_once["train"] == apart["train"]
    assert at_once["alignment"] == "learn, 1 restart, 256 examples, 3 steps, learning rate 0.01"


def test_a_star_that_learns(starcli, solutions, tmp_path: Path) -> None:
    words = ["--sources", *solutions.some(0, 1), "--align", "learn", "--align-steps", "10", "--epochs", "2"]
    ran = starcli("star", *words, "-o", tmp_path / "a.safetensors")
    assert ran.status == 0, ran.err
    assert (
        ran.rows[0]["alignment"]
        == "learn, 1 restart, 256 examples, 10 steps, then weight, 1 restart, all kinds each epoch"
    )
