"""Alignment by activations: planted permutations come back, the objective is what it says, settings that make sense."""

import gc
import re
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tensors import same
from torch import nn

from starcli.alignment.activations import INPUT, Activations, _batch_size
from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.alignment.method_settings import SETTINGS
from starcli.alignment.objective import inner_product
from starcli.errors import StarcliError
from starcli.symmetry.permutation import Permutation
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Workspace, new_workspace

NETWORKS = {
    "mlp": {"hidden_dim": 12, "depth": 2},
    "resnet": {"width": 4},
    "densenet40-12": {"depth": 7, "growth_rate": 4},
    "vit": {"dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24, "patch_size": 4},
}


@cache
def opened(arch: str) -> Workspace:
    return new_workspace(Choices(arch=arch, arch_args=NETWORKS[arch], data="digits", limit=300))


def generic(workspace: Workspace, seed: int) -> dict[str, torch.Tensor]:
    """A network in which no two units are alike, and no bias is zero."""
    generator = torch.Generator().manual_seed(seed)
    tensors = workspace.network(seed).state()
    return {
        name: tensor + 0.3 * torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("arch", NETWORKS)
def test_a_planted_permutation_comes_back(arch: str, share: float) -> None:
    workspace = opened(arch)
    aligner = Aligner(Alignment("activation", examples=64, share=share), workspace)
    model = generic(workspace, 0)
    planted = Permutation.random(aligner.spec, torch.Generator().manual_seed(1))
    found = aligner.permuted(model, planted.apply(model))
    assert same(found, model)


def test_one_layer_against_an_assignment_by_scipy() -> None:
    """With activations alone, a perceptron of one hidden layer is matched by their inner products, and nothing else."""
    from scipy.optimize import linear_sum_assignment

    workspace = new_workspace(Choices(arch="mlp", arch_args={"hidden_dim": 12, "depth": 1}, data="digits", limit=300))
    a, b = generic(workspace, 0), generic(workspace, 1)
    aligner = Aligner(Alignment("activation", examples=300, share=1.0), workspace)
    [inputs] = [inputs for inputs, _ in workspace.dataset.train.batches(300)]
    hidden = []
    for tensors in (a, b):
        network = workspace.network()
        network.load(tensors)
        head = [name for name, module in network.network.named_modules() if isinstance(module, nn.Linear)][-1]
        seen: list[torch.Tensor] = []
        network.network.get_submodule(head).register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        with torch.no_grad():
            network.network.eval()(inputs)
        hidden.append(seen[0].double())
    _, order = linear_sum_assignment((hidden[0].T @ hidden[1]).numpy(), maximize=True)
    [index] = aligner.match(a, b).permutation.index.values()
    assert index.tolist() == order.tolist()


def test_what_a_model_reads_is_kept_by_its_weights_as_far_as_memory_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = opened("mlp")
    a, *others = (generic(workspace, seed) for seed in range(3))
    aligner = Aligner(Alignment("activation"), workspace)
    first = [aligner.match(a, other) for other in others]
    monkeypatch.setattr("starcli.alignment.activations.layer_inputs", None)
    again = [aligner.match(dict(a), dict(other)) for other in others]
    assert [match.objective for match in again] == [match.objective for match in first]
    with pytest.raises(TypeError):
        aligner.match(a, {**others[0], "fc1.bias": others[0]["fc1.bias"] + 1})
    monkeypatch.undo()
    monkeypatch.setattr("starcli.alignment.activations.KEPT_ACTIVATION_BYTES", 0)
    fresh = Aligner(Alignment("activation"), workspace)
    assert [fresh.match(a, other).objective for other in others] == [match.objective for match in first]


def test_many_are_matched_as_one_is_and_the_objective_is_of_the_weights() -> None:
    workspace = opened("resnet")
    a, *others = (generic(workspace, seed) for seed in range(3))
    aligner = Aligner(Alignment("activation"), workspace)
    found = aligner.match_all(a, others, seeds=[0, 0], restarts=1, starts=[None, None])
    for match, other in zip(found, others, strict=True):
        alone = aligner.match(a, other)
        assert same(match.permutation.index, alone.permutation.index)
        assert match.objective == alone.objective == inner_product(aligner.spec, a, alone.permutation.apply(other))


def test_one_example_is_too_few_for_batchnorm() -> None:
    one = Choices(arch="mlp", arch_args=NETWORKS["mlp"], data="digits", limit=1)
    workspace = new_workspace(one)
    model = generic(workspace, 0)
    with pytest.raises(StarcliError, match="BatchNorm need at least 2 training examples, found 1"):
        Aligner(Alignment("activation"), workspace).match(model, model)
    plain = new_workspace(replace(one, arch_args={**NETWORKS["mlp"], "batch_norm": "none"}))
    model = generic(plain, 0)
    assert Aligner(Alignment("activation"), plain).match(model, model).moved == 0


def test_no_batch_is_of_one_example() -> None:
    counts = range(2, 4000)
    for shape in ((3, 224, 224), (3, 32, 32), (64,)):
        sizes = [_batch_size(count, shape) for count in counts]
        assert all(count % size != 1 for count, size in zip(counts, sizes, strict=True))


def test_batches_of_texts_are_as_large_as_their_length_allows(tmp_path: Path) -> None:
    tokens = torch.randint(9, (70, 4096), generator=torch.Generator().manual_seed(0))
    np.savez(tmp_path / "texts.npz", train_input_ids=tokens.numpy(), test_input_ids=tokens[:2].numpy())
    arguments = {"dim": 4, "heads": 1, "depth": 1, "mlp_dim": 4}
    workspace = new_workspace(Choices(arch="gpt", arch_args=arguments, data=str(tmp_path / "texts.npz")))
    batches = Activations(workspace, Alignment("activation", examples=70))._inputs(0)
    assert [len(batch) for batch in batches] == [35, 35]  # of at most 64, which are 2^18 tokens


def test_a_layer_is_seen_in_every_batch_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starcli.alignment.activations.POSITIONS", 3)
    monkeypatch.setattr("starcli.alignment.activations._batch_size", lambda count, shape: 4)
    workspace = opened("mlp")
    aligner = Aligner(Alignment("activation", examples=20, share=1.0), workspace)
    model = generic(workspace, 0)
    [compared] = aligner.compared([model])
    assert {tensor.shape[-1] for name, tensor in compared.items() if name.startswith(INPUT)} == {5}


def test_of_many_draws_of_examples_only_the_first_and_the_last_are_held() -> None:
    activations = Activations(opened("mlp"), Alignment("activation", examples=8))
    assert activations.drawn(0) is activations
    drawn = [weakref.ref(activations.drawn(number)) for number in range(1, 5)]
    gc.collect()
    assert [each() is None for each in drawn] == [True, True, True, False]
    assert activations.drawn(4) is drawn[-1]()
    first, again = activations.drawn(1), activations.drawn(1)
    assert first is again
    assert not torch.equal(first._batches[0], activations._batches[0])


def test_noise_is_normal_and_that_of_its_draw() -> None:
    one, other = (Activations(opened("mlp"), Alignment("activation", examples="noise")) for _ in range(2))
    first, third = (torch.cat(one._inputs(number)) for number in (0, 3))
    assert torch.equal(torch.cat(other._inputs(3)), third)
    assert not torch.equal(first, third)
    assert first.shape == (int(SETTINGS["examples"].default), 1, 8, 8)
    assert (float(first.mean()), float(first.std())) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.03))


def test_noise_needs_no_data() -> None:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.checkpoints.metadata import Metadata
    from starcli.workspace.workspace import workspace_of

    tensors = generic(opened("resnet"), 0)
    choices = Choices(arch="resnet", arch_args=NETWORKS["resnet"] | {"in_channels": 1}, input="1,1,8,8")
    workspace, [model] = workspace_of([Checkpoint(tensors, Metadata(), "a")], choices, data=False)
    aligner = Aligner(Alignment("activation", examples="noise"), workspace)
    planted = Permutation.random(aligner.spec, torch.Generator().manual_seed(1))
    found = aligner.permuted(model.tensors, planted.apply(model.tensors))
    assert same(found, model.tensors)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            {"method": "weight", "examples": 10},
            "examples (--align-examples) is of activation, straight-through, sinkhorn",
        ),
        (
            {"method": None, "share": 0.5, "gains": "correlation"},
            "gains (--align-gains) needs a method: activation",
        ),
        ({"method": "activation", "examples": 1}, "at least 2, or noise, found 1"),
        ({"method": "activation", "examples": "few"}, "found few"),
        ({"method": "activation", "share": 1.5}, "above 0, at most 1, found 1.5"),
        ({"method": "activation", "share": 0}, "above 0, at most 1, found 0"),
        ({"method": "activation", "gains": "cosine"}, "least-squares or correlation, found cosine"),
        (
            {"method": "learn", "kinds": "permutation", "lr": 0.5},
            "lr (--align-lr) is of rotations, matrices and scales",
        ),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, object], reason: str) -> None:
    with pytest.raises(StarcliError, match=re.escape(reason)):
        Alignment(**given)


def test_more_examples_than_there_are_are_refused_but_for_the_default() -> None:
    workspace = new_workspace(Choices(arch="mlp", arch_args=NETWORKS["mlp"], data="digits", limit=100))
    a, b = generic(workspace, 0), generic(workspace, 1)
    with pytest.raises(StarcliError, match="101 examples to compare on"):
        Aligner(Alignment("activation", examples=101), workspace).match(a, b)
    fewer = Aligner(Alignment("activation", examples=100), workspace).match(a, b)
    assert Aligner(Alignment("activation"), workspace).match(a, b).objective == fewer.objective


def test_titles_name_what_is_not_the_default() -> None:
    assert Alignment("activation", restarts=10).title == "activation, 10 restarts, 256 examples"
    found = Alignment("activation", examples="noise", share=0.75, gains="correlation").title
    assert found == "activation, 1 restart, noise, share 0.75, correlation"


def test_on_the_command_line(starcli, solutions, tmp_path: Path) -> None:
    words = [solutions[0], solutions[1], "--method", "activation", "--align-examples", "64"]
    ran = starcli("align", *words, "-o", tmp_path / "b.safetensors")
    assert ran.status == 0, ran.err
    assert ran.rows[0]["method"] == "activation"
    recorded = starcli("inspect", tmp_path / "b.safetensors").rows[0]
    assert recorded["recipe"]["align"] | {"examples": 64, "share": 0.5} == recorded["recipe"]["align"]
    apart = starcli("barrier", solutions[0], tmp_path / "b.safetensors", "--points", "3").rows[0]
    at_once = starcli(
        "barrier", solutions[0], solutions[1], "--align", "activation", "--align-examples", "64", "--points", "3"
    ).rows[0]
    assert at_once["train"]["loss_barrier"] == apart["train"]["loss_barrier"]
    assert at_once["alignment"] == "activation, 1 restart, 64 examples"
    refused = starcli("barrier", *solutions.some(0, 1), "--align", "weight", "--align-share", "0.5")
    assert refused.status == 1
    assert "share (--align-share) is of activation, straight-through, sinkhorn" in refused.err


def test_a_star_by_activations(starcli, solutions, tmp_path: Path) -> None:
    words = ["--sources", *solutions.some(0, 1), "--align", "activation", "--align-examples", "32", "--epochs", "2"]
    for name in ("a", "b"):
        ran = starcli("star", *words, "-o", tmp_path / f"{name}.safetensors", "--aligned-sources", tmp_path / name)
        assert ran.status == 0, ran.err
        assert ran.rows[0]["alignment"] == "activation, 1 restart, 32 examples"
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    kept = starcli("inspect", *sorted((tmp_path / "a").iterdir())).rows
    assert len(kept) == 2
    assert all(row["aligned_to"] for row in kept)
