"""Grey images for networks of RGB images: repeated by three means, as torchvision's Grayscale(3) and Normalize do."""

import numpy as np
import pytest
import torch
from support.program import run_here
from torchvision.transforms import v2

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata
from starcli.data.dataset import Dataset, open_data
from starcli.data.joined import joined_data
from starcli.data.normalise_option import IMAGENET_MEAN, IMAGENET_STD
from starcli.reports.rebuilt_line import rebuilt_line

PIXELS = np.random.RandomState(5).randint(0, 256, (24, 6, 6)).astype(np.uint8)
LABELS = np.arange(24) % 3
SMALL = ("--arch", "mlp", "--arch-arg", "hidden_dim=4", "--epochs", 1)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez("grey.npz", train_images=255 - PIXELS, train_labels=LABELS, test_images=PIXELS, test_labels=LABELS)
    np.savez("alone.npz", images=PIXELS)
    return tmp_path


def as_torchvision(pixels: np.ndarray, mean, std) -> torch.Tensor:
    how = v2.Compose([v2.Grayscale(3), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    return how(torch.from_numpy(pixels)[:, None])


def inputs_of(data: Dataset, **how) -> torch.Tensor:
    return torch.cat([inputs for inputs, _ in data.test.batches(7, **how)])


@pytest.mark.parametrize("how", ["imagenet", "0.5,0.4,0.3:0.2", "0.5,0.5,0.5:0.5,0.5,0.5", "0,0,0:1,1,1"])
def test_three_means_make_rgb_of_grey_images(files, how):
    mean, std = {
        "imagenet": (IMAGENET_MEAN, IMAGENET_STD), "0.5,0.4,0.3:0.2": ((0.5, 0.4, 0.3), (0.2,) * 3),
        "0,0,0:1,1,1": ((0.0,) * 3, (1.0,) * 3),
    }.get(how, ((0.5,) * 3, (0.5,) * 3))  # fmt: skip
    data = open_data("grey.npz", normalise=how)
    expected = as_torchvision(PIXELS, mean, std)
    assert (data.input_shape, "repeated as red, green and blue" in data.notes[-1]) == ((3, 6, 6), True)
    for layout in (False, True):
        torch.testing.assert_close(inputs_of(data, channels_last=layout), expected, rtol=1e-5, atol=1e-6)
    generator = torch.Generator().manual_seed(0)
    moved = inputs_of(data, augmentation=("pad-crop", "flip"), generator=generator, channels_last=True)
    assert moved.shape == expected.shape
    assert torch.equal(*(((moved * torch.tensor(std).view(3, 1, 1))[:, n] + mean[n]).mul(255).round() for n in (0, 2)))
    some = data.test.subset(torch.tensor([3, 1]))
    torch.testing.assert_close(torch.cat([x for x, _ in some.batches(2)]), expected[[3, 1]], rtol=1e-5, atol=1e-6)
    # and back again
    assert data.normalised((0.5,), (0.5,)).input_shape == open_data("grey.npz", normalise="0.5:0.5").input_shape


def test_sources_on_grey_and_on_rgb_images_are_of_one_shape(files):
    colours = np.repeat(PIXELS[:, None], 3, axis=1)
    np.savez("rgb.npz", train_images=colours, train_labels=LABELS, test_images=colours, test_labels=LABELS)
    parts = [open_data(name, normalise="imagenet") for name in ("grey.npz", "rgb.npz")]
    both = inputs_of(joined_data([("a", parts[0]), ("b", parts[1])]))
    assert torch.equal(both[:24], both[24:])


def test_what_is_made_of_them_agrees(files):
    for seed in (0, 1):
        line = ("train", *SMALL, "--data", "grey.npz", "--normalise", "imagenet", "--seed", seed)
        ran = run_here(*line, "-o", f"{seed}.safetensors")
        assert ran.status == 0, ran.err
        assert "note: arrays: grey images are repeated as red, green and blue, for --normalise imagenet" in ran.err
    model = sc.module("0.safetensors")
    with torch.no_grad():
        logits = model(as_torchvision(PIXELS, IMAGENET_MEAN, IMAGENET_STD))
    expected = pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABELS))), rel=1e-4)
    assert run_here("eval", "0.safetensors", "--data", "grey.npz").rows[0]["nll"] == expected
    lines = run_here("barrier", "0.safetensors", "1.safetensors", "--data", "grey.npz", "--points", 3).rows[0]
    assert lines["test"]["loss"][0] == expected
    # other grey images, and some without labels, are read alike
    np.savez("other.npz", train_images=255 - PIXELS, train_labels=LABELS[::-1], test_images=PIXELS, test_labels=LABELS)
    ran = run_here("eval", "0.safetensors", "--data", "other.npz")
    assert (ran.rows[0]["nll"], "normalised as those were, grey images as RGB" in ran.err) == (expected, True)
    probabilities = torch.softmax(logits, 1).double().numpy()
    for data in ("grey.npz", "alone.npz"):
        assert run_here("predict", "0.safetensors", "--data", data, "-o", "p.npz", "--force").status == 0
        np.testing.assert_allclose(np.load("p.npz")["probabilities"], probabilities, rtol=1e-4)


def test_a_network_of_rgb_images_is_told_how(files):
    line = ("train", "--arch", "torchvision:resnet18", "--data", "digits", "--epochs", 1, "-o", "r.safetensors")
    ran = run_here(*line, "--dry-run")
    assert (ran.status, "does not admit inputs of 1x8x8" in ran.err) == (1, True)
    assert "--normalise imagenet, or MEAN:STD with three means" in ran.err


@pytest.mark.parametrize("how", [(), ("--normalise", "none"), ("--normalise", "imagenet"), ("--normalise", "0,0,0:1")])
def test_the_line_of_a_report_normalises_data_by_name_as_the_model_does(files, how):
    assert run_here("train", *SMALL, "--data", "digits", *how, "-o", "m.safetensors").status == 0
    line = rebuilt_line("m.safetensors", read_metadata(files / "m.safetensors")[1])
    assert line is not None
    assert ("--normalise" in line) == bool(how)
    assert "finished already with these settings" in run_here(*line.split()[1:]).err
