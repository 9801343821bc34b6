"""Images become the inputs that the model's own processor makes of them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface.conftest import pretrained, transformers
from PIL import Image
from support.program import run_here

from starcli.errors import StarcliError
from starcli.huggingface.image_settings import ImageSettings

SIZE = {"height": 8, "width": 8}
BYTES = {"image_mean": [100.0, 110.0, 120.0], "image_std": [50.0, 60.0, 70.0]}
THREE = {"image_mean": [0.25, 0.5, 0.75], "image_std": [0.5, 0.4, 0.3]}


@pytest.fixture
def pictures(tmp_path):
    """A folder of images of 8 x 8, as large as the networks take them: there is nothing to resize."""
    place = tmp_path / "new"
    place.mkdir()
    for n in range(4):
        Image.fromarray(np.random.RandomState(n).randint(0, 256, (8, 8, 3), dtype="uint8")).save(place / f"{n}.png")
    return place


def probabilities(model: Path, images: Path) -> torch.Tensor:
    ran = run_here("predict", model, "--data", images, "-o", "-")
    assert ran.status == 0, ran.err
    rows = list(csv.DictReader(ran.out.splitlines()))
    return torch.tensor([[float(row[f"probability_{label}"]) for label in range(10)] for row in rows])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ViTImageProcessor", THREE),
        ("ViTImageProcessor", {**THREE, "do_normalize": False}),
        ("ViTImageProcessor", {**THREE, "rescale_factor": 1 / 127.5}),
        ("ViTImageProcessor", {**BYTES, "do_rescale": False}),
        ("EfficientNetImageProcessor", THREE),
        ("EfficientNetImageProcessor", {**THREE, "rescale_factor": 1 / 127.5, "rescale_offset": True}),
    ],
)
def test_predictions_are_those_behind_the_models_own_processor(saved, pictures, tmp_path, kind, said):
    place = Path(shutil.copytree(saved("colours"), tmp_path / "model"))
    processor = getattr(transformers, kind)(size=SIZE, **said)
    processor.save_pretrained(place)
    images = [Image.open(file) for file in sorted(pictures.iterdir())]
    with torch.no_grad():
        logits = pretrained(place)(**processor(images, return_tensors="pt")).logits
    torch.testing.assert_close(probabilities(place, pictures), logits.softmax(-1), rtol=1e-4, atol=1e-5)


def test_settings_within_those_of_a_whole_processor_are_read_first(saved, pictures, tmp_path):
    plain, nested = (Path(shutil.copytree(saved("colours"), tmp_path / name)) for name in ("plain", "nested"))
    plain.joinpath("preprocessor_config.json").write_text(json.dumps(THREE))
    nested.joinpath("processor_config.json").write_text(json.dumps({"image_processor": THREE}))
    nested.joinpath("preprocessor_config.json").write_text(json.dumps(BYTES))
    torch.testing.assert_close(probabilities(nested, pictures), probabilities(plain, pictures))


def test_images_have_the_size_that_the_settings_say_where_the_config_says_none(pictures, tmp_path):
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=10
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = transformers.ResNetForImageClassification(config)
    network.save_pretrained(tmp_path / "model")
    processor = transformers.ViTImageProcessor(size=SIZE, **THREE)
    processor.save_pretrained(tmp_path / "model")
    images = [Image.open(file) for file in sorted(pictures.iterdir())]
    with torch.no_grad():
        logits = network.eval()(**processor(images, return_tensors="pt")).logits
    found = probabilities(tmp_path / "model", pictures)
    torch.testing.assert_close(found, logits.softmax(-1), rtol=1e-4, atol=1e-5)


def test_channels_in_another_order_are_noted(saved, pictures, tmp_path):
    place = Path(shutil.copytree(saved("colours"), tmp_path / "model"))
    content = {"do_flip_channel_order": True, "image_mean": [0.5], "image_std": [0.5], "do_rescale": True}
    place.joinpath("preprocessor_config.json").write_text(json.dumps(content))
    ran = run_here("predict", place, "--data", pictures, "-o", "-")
    assert (ran.status, "blue, green, red (do_flip_channel_order)" in ran.err) == (0, True), ran.err
    found = probabilities(place, pictures)
    place.joinpath("preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    torch.testing.assert_close(found, probabilities(place, pictures))  # its processors never normalise


@pytest.mark.parametrize(
    ("said", "side"),
    [
        ({"size": 16}, 16),
        ({"size": {"shortest_edge": 16}}, 16),
        ({"size": {"height": 16, "width": 24}}, None),
        ({"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}, "do_center_crop": True}, 16),
        ({"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}, "do_center_crop": False}, 20),
        ({"size": 16, "do_resize": False}, None),
        ({"size": {"longest_edge": 16}}, None),
        ({"size": [16, 16]}, None),
        ({}, None),
    ],
)
def test_the_side_of_images(said, side):
    assert ImageSettings(said).side == side


@pytest.mark.parametrize(
    "said",
    [{}, {"image_mean": [0.5]}, {"do_normalize": True}, {**THREE, "do_normalize": False, "do_rescale": False}],
)
def test_settings_that_do_not_tell_how_images_are_normalised(said):
    assert ImageSettings(said).normalise is None


def test_images_that_were_scaled_before_have_the_mean_as_it_is():
    assert ImageSettings({"image_mean": [0.5], "image_std": 0.25, "do_rescale": False}).normalise == "0.5:0.25"


def test_a_mean_of_words_is_refused():
    with pytest.raises(StarcliError, match="expected numbers"):
        _ = ImageSettings({"image_mean": ["half"], "image_std": [1]}).normalise


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("ViTImageProcessor", THREE),
        ("ViTImageProcessor", {**BYTES, "do_rescale": False}),
        ("ViTImageProcessor", {**THREE, "do_normalize": False}),
        ("EfficientNetImageProcessor", {**THREE, "rescale_factor": 1 / 127.5, "rescale_offset": True}),
    ],
)
def test_a_model_trained_with_another_normalisation_has_a_processor_that_does_it(
    saved, pictures, tmp_path, kind, said, nested
):
    place, made = Path(shutil.copytree(saved("colours"), tmp_path / "model")), tmp_path / "made"
    getattr(transformers, kind)(size=SIZE, **said).save_pretrained(place)
    if nested:
        file = place / "preprocessor_config.json"
        place.joinpath("processor_config.json").write_text(
            json.dumps({"image_processor": json.loads(file.read_text())})
        )
        file.unlink()
    line = ("train", "--init", place, "--data", "digits", "--limit", 32, "--normalise", "0.2,0.3,0.4:0.5,0.6,0.7")
    ran = run_here(*line, "--epochs", 1, "-o", f"{made}/")
    assert ran.status == 0, ran.err
    written = json.loads(made.joinpath("processor_config.json" if nested else "preprocessor_config.json").read_text())
    processor = getattr(transformers, kind)(**(written["image_processor"] if nested else written))
    images = [Image.open(file) for file in sorted(pictures.iterdir())]
    with torch.no_grad():
        logits = pretrained(made)(**processor(images, return_tensors="pt")).logits
    torch.testing.assert_close(probabilities(made, pictures), logits.softmax(-1), rtol=1e-4, atol=1e-5)
    assert ImageSettings(processor.to_dict()).side == 8


def test_settings_of_a_run_that_was_stopped_before_its_weights_are_not_in_the_way(saved, tmp_path):
    place, made = Path(shutil.copytree(saved("colours"), tmp_path / "model")), tmp_path / "made"
    transformers.ViTImageProcessor(size=SIZE, **THREE).save_pretrained(place)
    line = ("train", "--init", place, "--data", "digits", "--limit", 32, "--normalise", "0.2,0.3,0.4:0.5,0.6,0.7")
    assert run_here(*line, "--epochs", 1, "-o", f"{made}/").status == 0
    made.joinpath("model.safetensors").unlink()
    ran = run_here(*line, "--epochs", 1, "-o", f"{made}/")
    assert ran.status == 0, ran.err
    made.joinpath("model.safetensors").unlink()
    transformers.ViTImageProcessor(size={"height": 9, "width": 9}, **THREE).save_pretrained(made)
    ran = run_here(*line, "--epochs", 1, "-o", f"{made}/")
    assert "is of another model" in ran.err
