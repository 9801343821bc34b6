"""Of several ends the one of lowest midpoint loss is taken, and results say so."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tensors import same

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.joint import apply_jointly, match_jointly
from starcli.alignment.midpoint import MidpointJudge
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.star.settings import StarSettings
from starcli.symmetry.element import Element
from starcli.symmetry.normal_form import normal_element
from starcli.symmetry.permutation import Permutation
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return new_workspace(Choices(arch="resnet", arch_args={"width": 4}, data="digits", limit=300))


def states(workspace: Workspace) -> list[dict[str, torch.Tensor]]:
    """Two networks in which no two units are alike."""
    return [
        {name: t + 0.3 * torch.rand(t.shape) if t.is_floating_point() else t for name, t in network.state().items()}
        for network in (workspace.network(0), workspace.network(1))
    ]


def test_of_weight_the_seeds_are_tried_one_after_the_other(workspace: Workspace) -> None:
    torch.manual_seed(3)
    a, b = states(workspace)
    how = Alignment("weight", restarts=0, seed=5)
    ends = [Aligner(replace(how, seed=seed), workspace).match(a, b) for seed in range(5, 9)]
    losses = [MidpointJudge(workspace).loss(a, end.permutation.apply(b)) for end in ends]
    assert len(set(losses)) > 1, "nothing to choose"
    found = Aligner(replace(how, select="midpoint", ends=4), workspace).match(a, b)
    as_it_is = MidpointJudge(workspace).loss(a, b)
    assert found.midpoint_loss == min(*losses, as_it_is)
    assert min(losses) < as_it_is
    best = ends[losses.index(min(losses))].permutation
    assert same(found.permutation.index, best.index)
    assert found.sweeps == sum(end.sweeps for end in ends)


def test_of_activation_each_end_compares_on_other_examples(workspace: Workspace) -> None:
    torch.manual_seed(0)
    a, b = states(workspace)
    aligner = Aligner(Alignment("activation", examples=8, select="midpoint", ends=3), workspace)
    found = aligner.match(a, b)
    judge, losses = MidpointJudge(workspace), []
    for draw in range(3):
        match = aligner.alignment.match_method.one(
            *aligner.compared([a, b], draw=draw), aligner.compared_spec, seed=draw
        )
        losses.append(judge.loss(a, Permutation(aligner.spec, match.permutation.index).apply(b)))
    assert len(set(losses)) == 3, "the draws are the same"
    assert found.midpoint_loss == min(*losses, judge.loss(a, b))


def test_a_model_stays_as_it_is_where_nothing_is_better(workspace: Workspace) -> None:
    torch.manual_seed(0)
    [a, _] = states(workspace)
    found = Aligner(Alignment("weight", select="midpoint", ends=2), workspace).match(a, a)
    assert found.permutation.moved() == 0
    assert found.restarts == 1
    assert found.midpoint_loss == MidpointJudge(workspace).loss(a, a)


def test_the_default_leaves_no_trace() -> None:
    plain = Alignment("weight", select="objective")
    assert plain == Alignment("weight")
    assert plain.settings() == {"method": "weight", "restarts": 1, "seed": 0}
    assert not plain.reads_data
    chosen = Alignment("weight", select="midpoint")
    assert chosen.settings() == plain.settings() | {"select": "midpoint", "ends": 10}
    assert chosen.reads_data


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"ends": 3}, "goes with select"),
        ({"select": "objective", "ends": 3}, "goes with select"),
        ({"select": "loss"}, "unknown selection 'loss'"),
        ({"select": "midpoint", "ends": 0}, "at least 1, found 0"),
        ({"method": None, "select": "midpoint"}, "needs a method"),
    ],
)
def test_what_makes_no_sense(given: dict[str, object], reason: str) -> None:
    with pytest.raises(StarcliError, match=reason):
        Alignment(**given)


def test_of_several_models_the_end_whose_mean_is_best_is_kept(workspace: Workspace) -> None:
    models = [workspace.network(seed).state() for seed in range(3)]
    how = Alignment("activation", examples=32, select="midpoint", ends=3)
    found = match_jointly(Aligner(how, workspace), models)
    judge = MidpointJudge(workspace)

    def loss(permutations: Sequence[Permutation]) -> float:
        return judge.loss_of_mean([each.apply(model) for each, model in zip(permutations, models, strict=True)])

    assert found.midpoint_loss == loss(found.symmetries)
    plain = match_jointly(Aligner(replace(how, select=None, ends=None), workspace), models)
    assert found.midpoint_loss <= loss(plain.symmetries)
    assert found.midpoint_loss <= judge.loss_of_mean(models)
    alike = match_jointly(Aligner(how, workspace), [models[0]] * 3)
    assert all(each.is_identity() for each in alike.symmetries)


def test_models_that_are_aligned_together_tell_the_loss_of_their_mean(workspace: Workspace) -> None:
    checkpoints = [Checkpoint(workspace.network(seed).state(), Metadata(), f"m{seed}") for seed in range(3)]
    aligner = Aligner(Alignment("weight", select="midpoint", ends=2), workspace)
    found = apply_jointly(aligner, checkpoints[0], checkpoints[1:])
    loss = MidpointJudge(workspace).loss_of_mean([checkpoints[0].tensors, *(each.tensors for each in found)])
    assert [each.match.midpoint_loss for each in found] == pytest.approx([loss] * 2, rel=1e-5)


def test_the_mean_of_two_is_half_way_between_them(workspace: Workspace) -> None:
    a, b = (workspace.network(seed).state() for seed in range(2))
    judge = MidpointJudge(workspace)
    assert judge.loss_of_mean([a, b]) == pytest.approx(judge.loss(a, b), rel=1e-6)


def test_sources_of_a_star_are_not_selected_so() -> None:
    how = Alignment("weight", select="midpoint")
    with pytest.raises(StarcliError, match="these settings of a star") as caught:
        StarSettings(alignment=how)
    assert "aligned once" in caught.value.problems[0]


def test_on_the_command_line(starcli, solutions, tmp_path: Path) -> None:
    words = ["--select", "midpoint", "--ends", "2"]
    ran = starcli("align", solutions[0], solutions[1], *words, "-o", tmp_path / "b.safetensors")
    assert ran.status == 0, ran.err
    recorded = starcli("inspect", tmp_path / "b.safetensors").rows[0]
    assert recorded["recipe"]["align"] == {
        "method": "weight", "restarts": 1, "seed": 0, "select": "midpoint", "ends": 2,
    }  # fmt: skip
    assert recorded["metrics"]["align"]["midpoint_loss"] == ran.rows[0]["midpoint_loss"] > 0
    apart = starcli("barrier", solutions[0], tmp_path / "b.safetensors", "--points", "3").rows[0]
    at_once = starcli("barrier", solutions[0], solutions[1], "--align", "weight", *words, "--points", "3").rows[0]
    assert at_once["train"]["loss_barrier"] == apart["train"]["loss_barrier"]
    assert at_once["alignment"] == "weight, 1 restart, best of 2 by midpoint"


def test_by_all_kinds_objectives_are_of_normal_forms_whichever_end_is_kept() -> None:
    arguments = {"patch_size": 4, "dim": 8, "depth": 1, "heads": 2, "mlp_dim": 8}
    vit = new_workspace(Choices(arch="vit", arch_args=arguments, data="digits", limit=100))
    one, other = (vit.network(seed).state() for seed in (0, 1))
    how = Alignment("weight", kinds="all", select="midpoint", ends=1)
    itself = Aligner(how, vit).match(one, one)
    assert isinstance(itself.symmetry, Element)
    normal = [normal_element(vit.kinds, each).apply(each) for each in (one, other)]
    squares = sum(float(normal[0][name].double().square().sum()) for name in vit.kinds.spec.learnable())
    assert itself.objective == pytest.approx(squares, rel=1e-5)
    found = Aligner(how, vit).match(one, other)
    plain = sum(float((normal[0][name] * normal[1][name]).sum()) for name in vit.kinds.spec.learnable())
    assert found.objective >= plain - 1e-3 * abs(plain)
