"""Sources of different data: each one's own, opened as it was trained with, and what is measured on instead."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.program import run_here
from support.refused import refused
from support.training import Stopping

import starcli as sc
from starcli.checkpoints.checkpoint import read
from starcli.data.dataset import Dataset, open_data
from starcli.workspace.choices import Choices
from starcli.workspace.source_data import workspace_of_sources

SMALL = ("--arch", "mlp", "--arch-arg", "hidden_dim=4", "batch_norm=none", "--epochs", 1)


@pytest.fixture
def sources(place: Path) -> list[Any]:
    """Models of a.npz and of b.npz, both normalised in the same way."""
    for name in ("a", "b"):
        ran = run_here("train", *SMALL, "--data", f"{name}.npz", "--normalise", "0.5:2", "-o", f"{name}.safetensors")
        assert ran.status == 0, ran.err
    return [read(Path(f"{name}.safetensors")) for name in "ab"]


def inputs_of(dataset: Dataset) -> torch.Tensor:
    return torch.cat([inputs for inputs, _ in dataset.train.batches(50)])


def test_each_source_has_the_data_of_its_record_normalised_as_it_was_trained(sources: list[Any]) -> None:
    workspace, models, own = workspace_of_sources(sources, [], Choices(), ["a.npz", "b.npz"])
    expected = [open_data(f"{name}.npz", normalise="0.5:2") for name in "ab"]
    for found, wanted in zip(own, expected, strict=True):
        assert torch.equal(inputs_of(found), inputs_of(wanted))
    assert torch.equal(inputs_of(workspace.dataset), torch.cat(list(map(inputs_of, expected))))
    assert [model.metadata for model in models] == [model.metadata for model in sources]
    assert workspace.data is not None
    assert workspace.data.mean == [0.5]


def test_data_that_are_named_take_the_place_of_all_joined(sources: list[Any]) -> None:
    found, _, own = workspace_of_sources(sources, [], Choices(data="b.npz"), ["a.npz", "b.npz"])
    assert torch.equal(inputs_of(found.dataset), inputs_of(own[1]))
    same, _, none = workspace_of_sources([sources[0]] * 2, [], Choices(data="a.npz"))
    assert none == ()
    assert same.dataset.fingerprint == own[0].fingerprint


def test_the_same_data_are_opened_once(sources: list[Any]) -> None:
    workspace, _, own = workspace_of_sources([*sources, sources[0]], [], Choices(), ["a.npz", "b.npz", "./a.npz"])
    assert own[0] is own[2]
    assert len(workspace.dataset.train) == 60
    alone, _, own = workspace_of_sources([sources[0]] * 2, [], Choices(), ["a.npz", "a.npz"])
    assert alone.dataset is own[0] is own[1]


def test_data_of_names_are_opened_without_more_words(place: Path) -> None:
    for limit in (40, 60):
        ran = run_here("train", *SMALL, "--data", "digits", "--limit", limit, "-o", f"{limit}.safetensors")
        assert ran.status == 0, ran.err
    models = [read(Path(f"{limit}.safetensors")) for limit in (40, 60)]
    _, _, own = workspace_of_sources(models, [], Choices())
    assert [len(each.train) for each in own] == [40, 60]
    _, _, own = workspace_of_sources(models, [], Choices(limit=30))  # which is then the same for all
    assert own == ()


def test_what_is_missing_or_does_not_go_together_is_said(sources: list[Any], place: Path) -> None:
    fuse = ("fuse", "--method", "fisher", "--sources", "a.safetensors", "b.safetensors", "-o", "f.safetensors")
    refused(run_here(*fuse), "--source-data is needed", "b.safetensors: was trained on data of a file")
    refused(run_here(*fuse, "--source-data", "a.npz"), "--source-data: 1 data set for 2 sources")
    refused(run_here(*fuse, "--source-data", "a.npz", "x.npz"), "x.npz")
    star = ("fuse", "--sources", "a.safetensors", "b.safetensors", "--source-data", "a.npz", "b.npz")
    refused(run_here(*star, "-o", "s.safetensors"), "--method star has no use for --source-data")
    leaking = run_here(*fuse, "--source-data", "a.npz", "b.npz", "--data", "a.npz", "--val-fraction", 0.2)
    refused(leaking, "a.safetensors records no validation split")
    wide = np.zeros((6, 7), np.float32)
    np.savez("wide.npz", x_train=wide, y_train=np.arange(6) % 3, x_test=wide, y_test=np.arange(6) % 3)
    refused(run_here(*fuse, "--source-data", "a.npz", "wide.npz"), "shape of an input: (5,) of a", "(7,) of b")


def test_classes_of_other_names_are_refused(place: Path) -> None:
    """One output cannot be a cat in the one and a car in the other."""
    for folder, classes in (("animals", ("cat", "dog")), ("cars", ("bus", "van"))):
        for split in ("train", "test"):
            for number, name in enumerate(classes):
                Path(folder, split, name).mkdir(parents=True)
                for shade in (50, 150):
                    Image.new("RGB", (8, 8), (shade, 90 * number, len(folder))).save(
                        Path(folder, split, name, f"{shade}.png")
                    )
        ran = run_here("train", *SMALL, "--data", folder, "-o", f"{folder}.safetensors")
        assert ran.status == 0, ran.err
    words = ("fuse", "--method", "regmean", "--sources", "animals.safetensors", "cars.safetensors")
    ran = run_here(*words, "--source-data", "animals", "cars", "-o", "f.safetensors")
    refused(ran, "classes: cat, dog of animals.safetensors, bus, van of cars.safetensors")


def test_folders_of_the_same_names_are_not_the_same_data(place: Path) -> None:
    for folder, shade in (("one", 50), ("two", 51)):
        for part in ("train", "test"):
            for number, name in enumerate(("cat", "dog")):
                Path(folder, part, name).mkdir(parents=True)
                for k in range(2):
                    image = Image.new("L", (8, 8), shade + 90 * number + 20 * k)
                    image.save(Path(folder, part, name, f"{k}.png"))
        ran = run_here("train", *SMALL, "--data", folder, "-o", f"{folder}.safetensors")
        assert ran.status == 0, ran.err
    models = [read(Path(f"{folder}.safetensors")) for folder in ("one", "two")]
    assert models[0].metadata.data == models[1].metadata.data
    workspace, _, own = workspace_of_sources(models, [], Choices(), ["one", "two"])
    assert not torch.equal(inputs_of(own[0]), inputs_of(own[1]))
    assert len(workspace.dataset.train) == 8


def test_models_in_memory_know_their_own_data(place: Path) -> None:
    data = [dict(np.load(f"{name}.npz")) for name in "ab"]
    given = [{s: (each[f"{s}_images"], each[f"{s}_labels"]) for s in ("train", "test")} for each in data]
    how: Any = {"arch_args": {"hidden_dim": 4, "batch_norm": "none"}, "epochs": 1, "progress": Stopping()}
    models = [sc.train("mlp", each, seed=seed, **how) for seed, each in enumerate(given)]
    quiet: Any = {"method": "regmean", "alignment": None, "progress": Stopping()}
    known = sc.fuse(models, **quiet)
    bare = [dict(model.tensors) for model in models]
    said = sc.fuse(bare, arch="mlp", arch_args=how["arch_args"], source_data=["a.npz", given[1]], **quiet)
    for name, tensor in known.tensors.items():
        assert torch.equal(said.tensors[name], tensor)
    assert sorted({row["data_of"][0] for row in known.comparison}) == ["mlp-0", "mlp-1"]
