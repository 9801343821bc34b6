"""Checkpoints as states of their network: whole files stay as they lie, and nothing large is built for small ones."""

from typing import Any

import pytest
import torch
from torch import nn

import starcli as sc
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import DataRecord, Metadata
from starcli.errors import StarcliError
from starcli.models.build import build_network, build_outline, runnable
from starcli.workspace.agreement import fitted, refuse_differences
from starcli.workspace.choices import Choices

ARGUMENTS = {"width": 4, "in_channels": 1, "num_classes": 3}


def never() -> nn.Module:
    raise AssertionError("a network is built")


def test_whole_files_stay_as_they_lie_and_no_network_is_built() -> None:
    state = build_network("resnet", **ARGUMENTS).state_dict()
    checkpoint = Checkpoint(state, Metadata(), "a", reopen=lambda: state)
    [found] = fitted([checkpoint], build_outline("resnet", **ARGUMENTS), never, "resnet")
    assert found.tensors is state
    assert found.fresh_tensors() is state
    assert found.sha256 == found.tensors_sha256 == checkpoint.sha256


def test_files_with_fewer_weights_than_the_network_are_refused_before_it_is_built() -> None:
    state = {"conv1.weight": torch.zeros(4, 1, 3, 2), "other": torch.zeros(1)}
    with pytest.raises(StarcliError) as caught:
        fitted([Checkpoint(state, Metadata(), "a")], build_outline("resnet", **ARGUMENTS), never, "resnet")
    unknown, misshapen, *missing, more = caught.value.problems
    assert unknown == "other: not in the network in a"
    assert misshapen == "conv1.weight: shape (4, 1, 3, 2), the network has (4, 1, 3, 3) in a"
    assert len(missing) == 10
    assert missing[0] == "bn1.bias: missing in a"
    assert more.startswith("and ")


def test_a_misfit_of_several_files_is_said_once() -> None:
    states = [{"conv1.weight": torch.zeros(4, 1, 3, size)} for size in (2, 2, 5)]
    given = [Checkpoint(state, Metadata(), name) for name, state in zip("abc", states, strict=True)]
    with pytest.raises(StarcliError) as caught:
        fitted(given, build_outline("resnet", **ARGUMENTS), never, "resnet")
    assert caught.value.problems[0] == "conv1.weight: shape (4, 1, 3, 2), the network has (4, 1, 3, 3) in a, b"
    assert caught.value.problems[1] == "bn1.bias: missing in a, b, c"
    assert "conv1.weight: shape (4, 1, 3, 5), the network has (4, 1, 3, 3) in c" not in caught.value.problems[:2]


def test_what_a_network_adds_is_beside_the_files_own_tensors_and_its_hash() -> None:
    state = build_network("resnet", **ARGUMENTS).double().state_dict()
    bare = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    given = [Checkpoint(each, Metadata(), "a", reopen=dict(each).copy) for each in (state, bare)]
    outline = build_outline("resnet", **ARGUMENTS)
    whole, found = fitted(given, outline, lambda: runnable(build_outline("resnet", **ARGUMENTS)), "resnet")
    assert found.tensors.keys() == found.fresh_tensors().keys() == whole.tensors.keys()
    assert all(found.tensors[name] is tensor for name, tensor in bare.items())
    assert all(found.fresh_tensors()[name].dtype == tensor.dtype for name, tensor in state.items())
    assert found.sha256 == given[1].sha256
    assert found.tensors_sha256 == whole.sha256
    assert torch.equal(found.tensors["bn1.num_batches_tracked"], torch.tensor(0))


def test_files_of_other_specs_go_together_by_one_that_is_said(solutions, tmp_path):
    """A later program may find more in a network, so that files from before and after record other specs."""
    first, second = solutions[0], solutions[1]
    fewer = tmp_path / "fewer.yaml"
    axes = dict.fromkeys(sc.load(first).tensors, "[]")
    axes |= {name: "[h]" for name in axes if name.startswith(("fc1.", "bn1.")) and "num_batches" not in name}
    axes |= {"hidden_layers.0.0.weight": "[_, h]"}
    fewer.write_text("format: 1\ntensors:\n" + "".join(f"  {name}: {each}\n" for name, each in axes.items()))
    moved = sc.align(first, second, spec=fewer)
    sc.save(moved, tmp_path / "b.safetensors")
    with pytest.raises(StarcliError, match="spec FILE says one for all of them"):
        sc.barrier(first, tmp_path / "b.safetensors", points=3)
    said = sc.barrier(first, tmp_path / "b.safetensors", points=3, spec=fewer, alignment=None)
    as_given = sc.barrier(first, second, points=3, alignment=None)
    assert said.curves["train"].loss[::2] == pytest.approx(as_given.curves["train"].loss[::2])


def on_data(name: str, **settings: Any) -> Checkpoint:
    facts: dict[str, Any] = {"num_classes": 2, "input_shape": [1], "mean": [0.0], "std": [1.0]}
    return Checkpoint({}, Metadata(data=DataRecord(name="digits", fingerprint="f", **facts, **settings)), name)


@pytest.mark.parametrize(
    ("settings", "chosen", "way"),
    [
        ({"val_fraction": 0.2}, {"val_fraction": 0.0}, "--val-fraction 0 "),
        ({"val_fraction": 0.2, "split_seed": 1}, {"val_fraction": 0.0}, "--val-fraction 0 "),
        ({"limit": 100}, {"limit": 100}, "--limit N "),
    ],
)
def test_a_setting_of_the_data_that_is_chosen_is_no_difference(
    settings: dict[str, Any], chosen: dict[str, Any], way: str
) -> None:
    models = [on_data("a"), on_data("b", **settings)]
    with pytest.raises(StarcliError) as caught:
        refuse_differences(models, Choices())
    line, hint = caught.value.problems
    assert line.startswith(f"data {next(iter(settings))}: ")
    assert hint.startswith(way)
    refuse_differences(models, Choices(**chosen))


def test_a_seed_that_splits_nothing_is_no_difference() -> None:
    refuse_differences([on_data("a"), on_data("b", split_seed=1)], Choices())
    with pytest.raises(StarcliError, match="do not belong"):
        refuse_differences([on_data("a", val_fraction=0.2), on_data("b", val_fraction=0.2, split_seed=1)], Choices())


def test_a_way_out_of_one_difference_is_not_said_where_there_are_others() -> None:
    with pytest.raises(StarcliError) as caught:
        refuse_differences([on_data("a"), on_data("b", limit=3, arguments={"num_train": 5})], Choices())
    assert not any(line.startswith("--") for line in caught.value.problems)


def test_no_models_examples_may_lie_in_the_split_that_is_chosen_for_all() -> None:
    how: dict[str, Any] = {"arch_args": {"hidden_dim": 4}, "limit": 100, "epochs": 1}
    held_back, whole = (sc.train("mlp", "digits", val_fraction=share, **how) for share in (0.2, 0.0))
    for models in ([held_back, whole], [whole, held_back]):
        with pytest.raises(StarcliError, match="records no validation split"):
            sc.evaluate(*models, data="digits", val_fraction=0.2)
        found = sc.evaluate(*models, data="digits", val_fraction=0.0)
        assert len(found) == 2
