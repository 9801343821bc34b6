"""Networks that begin at a model: on its data as it records them, or on others as a new network would read them."""

import numpy as np
import pytest
import torch
from support.program import run_here

from starcli.checkpoints.checkpoint import read

pytestmark = pytest.mark.usefixtures("place")

SMALL = ("--arch", "mlp", "--arch-arg", "hidden_dim=4", "--epochs", 1)


@pytest.fixture
def base(place):
    words = ("--data", "a.npz", "--val-fraction", 0.2, "-o", "base.safetensors")
    assert run_here("train", *SMALL, *words).status == 0
    return place / "base.safetensors"


def other_classes(name, count):
    data = dict(np.load("a.npz"))
    labels = np.arange(30) % count
    np.savez(name, **(data | {"train_labels": labels, "test_labels": labels[:12]}))


def test_other_classes_have_a_head_of_their_own(base, place):
    other_classes("five.npz", 5)
    line = ("train", "--init", base, "--data", "five.npz", "--lr", 0, "-o", "tuned.safetensors")
    ran = run_here(*line)
    assert ran.status == 1
    assert ran.err.count("fc2.weight: shape (3, 4), the network has (5, 4)") == 1
    assert "--reinit 'fc2.*' draws these anew" in ran.err
    assert run_here(*line, "--reinit", "fc2.*").status == 0
    tuned, model = read(place / "tuned.safetensors"), read(base)
    assert tuned.metadata.architecture.arguments["num_classes"] == 5
    assert tuned.metadata.data.num_classes == 5
    assert tuned.metadata.spec.proof["proved"]
    assert tuned.metadata.parents == [model.sha256]
    assert tuned.tensors["fc2.weight"].shape == (5, 4)
    assert torch.equal(tuned.tensors["fc1.weight"], model.tensors["fc1.weight"])  # at a rate of 0


def test_another_network_is_no_other_head(base):
    ran = run_here(
        "train", "--init", base, "--data", "a.npz", "--arch", "resnet", "--arch-arg", "width=2", "-o", "x.safetensors"
    )
    assert ran.status == 1
    assert "draws these anew" not in ran.err


def test_its_own_data_are_read_as_it_records_them(place):
    assert run_here("train", *SMALL, "--data", "digits", "--limit", 50, "-o", "base.safetensors").status == 0
    assert run_here("train", "--init", "base.safetensors", "-o", "tuned.safetensors").status == 0
    model, tuned = (read(place / f"{name}.safetensors").metadata for name in ("base", "tuned"))
    assert tuned.data == model.data
    assert tuned.recipe == model.recipe


def test_a_validation_split_holds_nothing_that_the_model_was_trained_on(base):
    line = ("train", "--init", base, "--data", "a.npz", "-o", "tuned.safetensors", "--val-fraction")
    ran = run_here(*line, 0.3)
    assert ran.status == 1
    assert "the validation split would hold examples that base.safetensors was trained on" in ran.err
    assert run_here(*line, 0.2).status == 0


def test_another_normalisation_has_a_note(base):
    line = ("train", "--init", base, "-o", "tuned.safetensors", "--force", "--data", "b.npz")
    assert "base.safetensors was trained on inputs" not in run_here(*line).err
    ran = run_here(*line, "--normalise", "0.5:2")
    assert "arrays: normalised by 0.5:2, base.safetensors was trained on inputs normalised by 0:1" in ran.err
    assert ran.status == 0


def test_weights_of_others_need_network_and_data(base, place):
    torch.save({f"module.{name}": tensor for name, tensor in read(base).tensors.items()}, "theirs.pt")
    ran = run_here("train", "--init", "theirs.pt", "-o", "tuned.safetensors")
    assert ran.status == 1
    assert "theirs.pt does not say what it was trained on" in ran.err
    named = ("--arch", "mlp", "--arch-arg", "hidden_dim=4", "--data", "a.npz", "--epochs", 1, "--lr", 0)
    ran = run_here("train", "--init", "theirs.pt", *named, "--reinit", "fc2.*", "-o", "tuned.safetensors")
    assert ran.status == 0
    assert "note: the default recipe is used" in ran.err
    tuned = read(place / "tuned.safetensors")
    assert torch.equal(tuned.tensors["fc1.weight"], read(base).tensors["fc1.weight"])
    assert not torch.equal(tuned.tensors["fc2.weight"], read(base).tensors["fc2.weight"])


def test_texts_are_made_into_the_same_tokens_of_the_same_length(place):
    (place / "a.csv").write_text("text\n" + "a star has many lines\n" * 20)
    (place / "b.csv").write_text("text,label\n" + "a star,x\nno star,y\n" * 10)
    gpt = ("--arch", "gpt", "--arch-arg", "dim=8", "depth=1", "heads=2", "mlp_dim=8")
    assert run_here("train", *gpt, "--data", "text:a.csv", "--length", 16, "--epochs", 1, "-o", "lm").status == 0
    line = ("train", "--init", "lm", "--data", "text:b.csv", "--reinit", "head.*", "-o", "classifier")
    assert run_here(*line).status == 0
    tuned = read(place / "classifier").metadata
    assert tuned.data.input_shape == [16]
    assert (tuned.data.task_name, tuned.architecture.arguments["next_token"]) == ("classes", False)
