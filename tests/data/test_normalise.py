"""Normalisation: the same numbers as torchvision's ToTensor and Normalize, recorded, and found again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.data import refused, write_idx
from support.program import run_here
from torch import Tensor
from torchvision.transforms import functional as vision

import starcli as sc
from starcli.checkpoints.checkpoint import read
from starcli.checkpoints.metadata import DataRecord
from starcli.data.dataset import Dataset, open_data
from starcli.data.normalise_option import IMAGENET_MEAN, IMAGENET_STD, parse_normalise, same_statistics
from starcli.library.made_models import MadeModel

PIXELS = np.random.RandomState(3).randint(0, 256, (30, 3, 6, 5)).astype(np.uint8)
LABELS = np.arange(30) % 3
SMALL = ("--arch", "mlp", "--arch-arg", "hidden_dim=4", "--epochs", 1)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez("bytes.npz", train_images=PIXELS, train_labels=LABELS, test_images=PIXELS, test_labels=LABELS)
    floats = (PIXELS / 255).astype(np.float32)
    np.savez("floats.npz", train_images=floats, train_labels=LABELS, test_images=floats, test_labels=LABELS)
    np.savez("far.npz", x=np.float32(PIXELS), y=LABELS)
    return tmp_path


def inputs_of(data: Dataset) -> Tensor:
    return torch.cat([inputs for inputs, _ in data.test.batches(7)])


def as_torchvision(mean, std) -> Tensor:
    scaled = [vision.to_tensor(image.transpose(1, 2, 0)) for image in PIXELS]
    return torch.stack([vision.normalize(image, mean, std) for image in scaled])


HOW = {
    "none": ([0.0], [1.0]),
    "0.5:0.5": ([0.5], [0.5]),
    "-0.25:2": ([-0.25], [2.0]),
    "0.1,0.2,0.3:0.5": ([0.1, 0.2, 0.3], [0.5] * 3),
    "0.1,0.2,0.3:0.9,0.8,0.7": ([0.1, 0.2, 0.3], [0.9, 0.8, 0.7]),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "data": (
        (PIXELS / 255).mean((0, 2, 3)).tolist(),
        (PIXELS / 255).std((0, 2, 3)).tolist(),
    ),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["bytes.npz", "floats.npz"])
def test_as_torchvision_does(files, name, how):
    expected = as_torchvision(*HOW[how])
    torch.testing.assert_close(inputs_of(open_data(name, normalise=how)), expected, rtol=1e-5, atol=1e-6)


def test_what_is_done_unless_said(files):
    own = open_data("bytes.npz")
    torch.testing.assert_close(inputs_of(own), as_torchvision(*HOW["data"]), rtol=1e-5, atol=1e-6)
    assert "standardised by their own mean" in own.scaling
    floats = open_data("floats.npz")
    assert torch.equal(inputs_of(floats), torch.from_numpy(np.float32(PIXELS / 255)))
    assert floats.scaling == open_data("bytes.npz", normalise="data").scaling == open_data("digits").scaling == ""
    assert "from 0 to 255 are taken as they are" in open_data("far.npz").scaling
    torch.testing.assert_close(inputs_of(open_data("digits", normalise="none")).max(), torch.tensor(1.0))
    write_idx(files / "d", bytes, "")
    assert "their own" in open_data("idx:d").scaling


def test_the_whole_training_part_is_measured_whatever_is_left_of_it(files):
    some = open_data("bytes.npz", normalise="data", limit=6, val_fraction=0.3)
    assert (some.mean, some.std) == (open_data("bytes.npz").mean, open_data("bytes.npz").std)


@pytest.mark.parametrize(
    "text", ["", "imagnet", "0.5", "0.5:", ":1", "a:b", "0.5:0", "0.5:-1", "nan:1", "0:inf", "1,2:1,2,3", "1,,2:1"]
)
def test_what_is_no_normalisation(text):
    refused(lambda: parse_normalise(text), f"--normalise {text}: ")
    with pytest.raises(sc.StarcliError, match=re.escape(f"normalise {text}: ")):
        sc.train("mlp", "digits", normalise=text)


def test_another_number_of_channels(files):
    refused(lambda: open_data("bytes.npz", normalise="1,2:1"), "2 channels, arrays has 3 (3x6x5)")
    refused(lambda: open_data("digits", normalise="1,2:1"), "2 channels, digits has 1")
    np.savez("rows.npz", x=np.float32(PIXELS[:, 0, 0, :1]), y=LABELS)
    refused(lambda: open_data("rows.npz", normalise="imagenet"), "3 channels, arrays has 1")
    for count in (2, 4):  # equal numbers are as many
        text = ":".join(",".join([number] * count) for number in ("0.5", "0.25"))
        refused(lambda text=text: open_data("bytes.npz", normalise=text), f"{count} channels, arrays has 3")


def test_one_number_stands_for_all_channels(files):
    assert parse_normalise("0.5:2,2,2") == ((0.5,) * 3, (2.0,) * 3)
    said = [open_data("bytes.npz", normalise=text) for text in ("0.5:2", "0.5,0.5,0.5:2,2,2", "0.5,0.5,0.5:2")]
    assert [(data.mean, data.std) for data in said] == [((0.5,), (2.0,))] * 3
    assert not same_statistics(((0.5,), (1.0,)), ((0.5, 0.4), (1.0, 1.0)))


def train(data: str, output: str, *more) -> DataRecord:
    assert run_here("train", *SMALL, "--data", data, "-o", output, *more).status == 0
    record = read(Path(output)).metadata.data
    assert record is not None
    return record


def logits(file: str, inputs: Tensor) -> Tensor:
    tensors = {name: tensor.double() for name, tensor in read(Path(file)).tensors.items()}
    hidden = (inputs.double().flatten(1) @ tensors["fc1.weight"].T + tensors["fc1.bias"]).relu()
    return hidden @ tensors["fc2.weight"].T + tensors["fc2.bias"]


def loss(file: str, inputs: Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits(file, inputs), torch.from_numpy(LABELS)))


def test_it_is_recorded_restored_and_never_mixed(files):
    assert train("bytes.npz", "half.safetensors", "--normalise", "0.5:0.5").mean == [0.5]
    train("bytes.npz", "own.safetensors")
    ran = run_here("eval", "half.safetensors", "--data", "bytes.npz")
    assert ran.rows[0]["nll"] == pytest.approx(loss("half.safetensors", as_torchvision([0.5], [0.5])), rel=1e-5)
    assert "standardised" not in ran.err
    ran = run_here("eval", "half.safetensors", "--data", "bytes.npz", "--normalise", "none")
    assert ran.rows[0]["nll"] == pytest.approx(loss("half.safetensors", as_torchvision([0.0], [1.0])), rel=1e-5)
    assert "normalised otherwise than when half.safetensors was trained" in ran.err
    mixed = run_here("barrier", "half.safetensors", "own.safetensors", "--data", "bytes.npz")
    assert (mixed.status, "data mean: " in mixed.err) == (1, True)
    line = ("permute", "half.safetensors", "--random", "-o", "p.safetensors", "--data", "bytes.npz", "--normalise")
    ran = run_here(*line, "none")
    assert (ran.status, "MEAN:STD is 0:1 here, 0.5:0.5 in the checkpoint" in ran.err) == (1, True)
    assert run_here(*line, "0.5,0.5,0.5:0.5").status == 0
    assert read(Path("p.safetensors")).metadata.data == read(Path("half.safetensors")).metadata.data


def test_what_was_kept_is_of_one_normalisation(files):
    for seed in (0, 1):
        train("bytes.npz", f"{seed}.safetensors", "--seed", seed)
    line = ("barrier", "0.safetensors", "1.safetensors", "--data", "bytes.npz", "--points", 3, "--align", "none")
    own = run_here(*line).rows[0]["test"]["loss"]
    other = run_here(*line, "--normalise", "0.9:3").rows[0]["test"]["loss"]
    assert other[0] == pytest.approx(loss("0.safetensors", as_torchvision([0.9], [3.0])), rel=1e-5)
    assert own[0] == pytest.approx(loss("0.safetensors", as_torchvision(*HOW["data"])), rel=1e-5)
    assert run_here(*line).rows[0]["test"]["loss"] == own


def test_floats_that_were_standardised_unasked_stay_so_for_their_models(files):
    """What earlier versions wrote of floats: their mean and deviation over 255, and nothing of a span."""
    floats = inputs_of(open_data("floats.npz"))
    mean, std = floats.mean((0, 2, 3)).double(), floats.double().std((0, 2, 3), correction=0)
    record = train("floats.npz", "new.safetensors")
    assert (record.mean, record.std, record.span) == ([0.0], [1.0], 1.0)
    found = read(Path("new.safetensors"))
    metadata = json.loads(found.metadata.to_text())
    metadata["data"].pop("span")
    metadata["data"].update(mean=(mean / 255).tolist(), std=(std / 255).tolist())
    save_file(dict(found.tensors), "old.safetensors", {"starcli": json.dumps(metadata)})
    ran = run_here("eval", "old.safetensors", "--data", "floats.npz")
    standardised = (floats - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    assert ran.rows[0]["nll"] == pytest.approx(loss("old.safetensors", standardised), rel=1e-5)
    assert run_here("eval", "new.safetensors", "--data", "floats.npz").rows[0]["nll"] == pytest.approx(
        loss("new.safetensors", floats), rel=1e-5
    )
    mixed = run_here("barrier", "old.safetensors", "new.safetensors", "--data", "floats.npz")
    assert (mixed.status, "data span: " in mixed.err) == (1, True)
    # which of bytes or floats these statistics are of, no file says: other floats need it said
    ran = run_here("eval", "old.safetensors", "--data", "far.npz")
    assert (ran.status, "--normalise says how" in ran.err) == (1, True)
    assert run_here("eval", "old.safetensors", "--data", "far.npz", "--normalise", "data").status == 0
    # a descendant is of the same data as its source
    assert run_here("permute", "old.safetensors", "--random", "-o", "p.safetensors").status == 0
    assert read(Path("p.safetensors")).metadata.data == read(Path("old.safetensors")).metadata.data


@pytest.mark.parametrize(("own", "other", "kind"), [("bytes", "floats", "floats"), ("floats", "bytes", "bytes")])
def test_data_of_another_type_need_their_normalisation_said(files, own, other, kind):
    train(f"{own}.npz", "m.safetensors", "--normalise", "0.5:0.5")
    ran = run_here("eval", "m.safetensors", "--data", f"{other}.npz")
    assert (ran.status, f"--normalise says how its {kind} are to be normalised" in ran.err) == (1, True)
    ran = run_here("eval", "m.safetensors", "--data", f"{other}.npz", "--normalise", "0.5:0.5")
    assert ran.rows[0]["nll"] == pytest.approx(loss("m.safetensors", as_torchvision([0.5], [0.5])), rel=1e-5)
    assert "0.5:0.5" in run_here("inspect", "m.safetensors", "--format", "table").out


def test_data_in_memory(files):
    images, labels = torch.from_numpy(PIXELS), torch.from_numpy(LABELS)
    settings = {"epochs": 1, "arch_args": {"hidden_dim": 4}}
    data = {"train": (images, labels), "test": (images, labels)}
    plain = sc.train("mlp", data, **settings)
    assert plain.metadata.data.mean == [0.0]
    half = sc.train("mlp", data, normalise="0.5:0.5", **settings)
    second = sc.train("mlp", data, seed=1, normalise="0.5:0.5", **settings)
    expected = loss_of(half, as_torchvision([0.5], [0.5]))
    # the same examples again are normalised as the model's, whether they are said again or not
    for where in ({}, {"data": data}, {"data": data, "normalise": "0.5:0.5"}):
        assert sc.evaluate(half, **where)[0]["nll"] == pytest.approx(expected, rel=1e-5)
    with pytest.warns(sc.StarcliWarning, match="normalised otherwise than when"):
        found = sc.evaluate(half, data=data, normalise="none")[0]["nll"]
    assert found == pytest.approx(loss_of(half, as_torchvision([0.0], [1.0])), rel=1e-5)
    with pytest.raises(sc.StarcliError, match="normalised otherwise than when"):
        sc.find_star([half, second], data=data, normalise="none", epochs=1)
    with pytest.warns(sc.StarcliWarning, match="all 30 test examples are training examples too"):
        named = sc.train("mlp", files / "bytes.npz", normalise="none", **settings)
    assert named.metadata.data.mean == [0.0]
    with pytest.raises(sc.StarcliError, match="normalise=3"):
        sc.train("mlp", "digits", normalise=3)  # type: ignore[arg-type]


def loss_of(model: MadeModel, inputs: Tensor) -> float:
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(model.module()(inputs), torch.from_numpy(LABELS)))
