"""The data of a command beside those that its models record: the same, other ones, other splits, none at all."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.data import write_idx
from support.program import run_here

from starcli.checkpoints.checkpoint import read
from starcli.checkpoints.metadata import DataRecord
from starcli.workspace.data_notes import statistics_note

pytestmark = pytest.mark.usefixtures("place")

SMALL = ("--arch", "mlp", "--arch-arg", "hidden_dim=4", "--epochs", 1)


@pytest.fixture
def two(place):
    words = ("--data", "a.npz", "--normalise", "0.5:2", "--seeds", "0-1", "-o", "{seed}.safetensors")
    assert run_here("train", *SMALL, *words).status == 0
    return [place / "0.safetensors", place / "1.safetensors"]


def test_other_data_are_measured_on_with_a_note_and_the_models_own_normalisation(two):
    own = run_here("eval", two[0], "--data", "a.npz")
    other = run_here("eval", two[0], "--data", "b.npz")
    assert own.status == other.status == 0
    assert "not the data that 0.safetensors was trained on" in other.err
    assert "not the data" not in own.err
    data, tensors = np.load("b.npz"), read(two[0]).tensors
    record = read(two[0]).metadata.data
    assert (record.mean, record.std) == ([0.5], [2.0])
    inputs = (torch.from_numpy(data["test_images"]) - 0.5) / 2
    hidden = (inputs.float() @ tensors["fc1.weight"].T + tensors["fc1.bias"]).relu()
    logits = hidden @ tensors["fc2.weight"].T + tensors["fc2.bias"]
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data["test_labels"]))
    assert other.rows[0]["nll"] == pytest.approx(float(expected), rel=1e-5)
    as_trained = run_here("eval", two[0], "--data", "b.npz", "--normalise", "data")
    assert as_trained.rows[0]["nll"] == other.rows[0]["nll"]
    otherwise = "was trained on, and normalised otherwise than those were"
    assert otherwise in run_here("eval", two[0], "--data", "b.npz", "--normalise", "none").err


@pytest.mark.parametrize("fingerprint", ["own", "other"])
@pytest.mark.parametrize("norm", [torch.nn.BatchNorm1d(2), torch.nn.LayerNorm(2)], ids=str)
def test_whose_statistics_points_have_is_said_where_data_are_others(norm, fingerprint):
    own = DataRecord(name="arrays", fingerprint="own", num_classes=2, input_shape=[2], mean=[0.0], std=[1.0])
    other = own.model_copy(update={"name": "folder", "fingerprint": fingerprint})
    noted = isinstance(norm, torch.nn.BatchNorm1d) and fingerprint == "other"
    assert bool(statistics_note(torch.nn.Sequential(norm), other, own)) is noted


@pytest.mark.parametrize(
    "words",
    [
        ["star", "--sources", "0.safetensors", "1.safetensors", "--epochs", 1, "-o", "s.safetensors"],
        ["align", "0.safetensors", "1.safetensors", "-o", "s.safetensors"],
        ["interpolate", "0.safetensors", "1.safetensors", "--t", "0.5", "-o", "s.safetensors"],
    ],
    ids=lambda words: words[0],
)
def test_nothing_is_written_of_models_and_other_data(two, place, words):
    ran = run_here(*words, "--data", "b.npz")
    assert ran.status == 1
    assert "not the data that 0.safetensors was trained on" in ran.err
    assert not (place / "s.safetensors").exists()


def test_renaming_needs_no_data(two, place):
    (place / "a.npz").unlink()
    for words in (["align", *two], ["permute", two[0], "--random"], ["interpolate", *two, "--t", "0.5"]):
        ran = run_here(*words, "-o", f"{words[0]}.safetensors")
        assert ran.status == 0, ran.err
        assert read(place / f"{words[0]}.safetensors").metadata.data == read(two[0]).metadata.data
    assert "--data is needed" in run_here("eval", "align.safetensors").err or run_here("eval", two[0]).status == 1


def test_a_validation_split_must_not_hold_what_a_model_was_trained_on(solutions):
    leaking = run_here("eval", solutions[0], "--val-fraction", "0.5", "--split", "validation")
    assert leaking.status == 1
    assert "--val-fraction: 0.2 there, 0.5 here" in leaking.err
    assert "--limit: 300 there, 50 here" in run_here("eval", solutions[0], "--limit", 50).err
    assert run_here("eval", solutions[0], "--val-fraction", "0.2", "--split", "validation").status == 0
    assert run_here("eval", solutions[0], "--val-fraction", "0").status == 0


def test_a_model_that_records_no_validation_split_is_not_said_to_have_another(two):
    asked = ("eval", two[0], "--data", "a.npz", "--val-fraction", "0.5", "--temperature", "fit")
    assert "0.safetensors records no validation split: one would hold examples" in run_here(*asked).err
    save_file(dict(read(two[0]).tensors), "bare.safetensors")
    how = (*SMALL[:4], *asked[2:6])
    assert run_here("convert", "bare.safetensors", *how, "-o", "c.safetensors").status == 0
    assert run_here(*("eval", "c.safetensors", *asked[2:])).status == 0


def test_weights_that_were_changed_are_refused_until_what_is_said_of_them_is_taken_away(solutions, place):
    tensors = load_file(solutions[0])
    with safe_open(solutions[0], "pt") as file:
        said = file.metadata()
    tensors["fc2.weight"] = -tensors["fc2.weight"]
    save_file(tensors, "changed.safetensors", said)
    ran = run_here("eval", "changed.safetensors")
    assert ran.status == 1
    assert "the weights are not those" in ran.err
    assert run_here("convert", "changed.safetensors", "--plain", "-o", "plain.safetensors").status == 0
    assert torch.equal(load_file("plain.safetensors")["fc2.weight"], tensors["fc2.weight"])


def test_inputs_are_said_of_networks_without_data_alone(two, place):
    ran = run_here("permute", two[0], "--random", "--input", "1,5", "-o", "x.safetensors")
    assert (ran.status, "--input" in ran.err) == (1, True)
    ran = run_here("permute", two[0], "--random", "--input-dtype", "int64", "--arch", "mlp", "-o", "x.safetensors")
    assert (ran.status, "--input" in ran.err) == (1, True)
    assert not (place / "x.safetensors").exists()


def test_statistics_are_taken_from_the_recorded_data_or_none(place):
    for name in ("one", "two"):
        write_idx(place / name / "MNIST" / "raw", bytes, "")
    labels = place / "two" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + bytes([1 - min(1, labels.read_bytes()[-1])]))
    words = ("--arch", "resnet", "--arch-arg", "width=2", "stages=2", "--data", "mnist", "--epochs", 1)
    ran = run_here("train", *words, "--data-dir", "one", "--seeds", "0-1", "-o", "{seed}.safetensors")
    assert ran.status == 0, ran.err
    line = ("interpolate", "0.safetensors", "1.safetensors", "--t", "0.5", "-o", "m.safetensors")
    ran = run_here(*line, "--data-dir", "two")
    assert (ran.status, "not the data" in ran.err) == (1, True)
    assert run_here(*line, "--data-dir", "one").status == 0


def test_a_star_is_judged_on_models_that_it_never_saw(solutions, place):
    ran = run_here("star", "--sources", *solutions.some(0, 1), "--epochs", 1, "-o", "star.safetensors")
    assert ran.status == 0, ran.err
    words = ("barrier", "--star", "star.safetensors", "--align", "none", "--points", 3)
    seen = run_here(*words, "--sources", *solutions.some(0, 1), "--held-out", *solutions.some(1, 2))
    assert seen.status == 1
    assert run_here("align", solutions[0], solutions[1], "-o", "aligned.safetensors").status == 0
    seen = run_here(*words, "--sources", *solutions.some(0, 2), "--held-out", solutions[3], "aligned.safetensors")
    assert (seen.status, "--held-out: star.safetensors was made from aligned" in seen.err) == (1, True)
    assert run_here("align", solutions[0], solutions[3], "-o", "moved.safetensors").status == 0
    ran = run_here(*words, "--sources", *solutions.some(0, 2), "--held-out", "moved.safetensors")
    assert ran.status == 0
    assert "was not made from 2.safetensors" in ran.err


def test_tolerances_below_what_bf16_can_tell_are_refused(solutions):
    pair = ("barrier", *solutions.some(0, 1), "--all-pairs", "--align", "none", "--points", 3, "--precision", "bf16")
    assert run_here(*pair, "--epsilon", "0.0001").status == 1
    assert run_here(*pair, "--epsilon", "0.01").status == 0


FITTING = """
from torch import nn

def thirty_two():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))

def ten():
    return nn.Linear(5, 10)

def digits():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def of_others(place):
    """Networks of a user's, their weights, a folder of images of 25 x 25, and labels from 1 to 10."""
    from PIL import Image

    (place / "fitting.py").write_text(FITTING)
    for number in range(12):
        folder = place / "imgs" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (25, 25), (20 * number, 0, 0)).save(folder / f"{number}.png")
    inputs = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    np.savez("counted.npz", images=inputs, labels=1 + np.arange(40) % 10)
    for name, shape in (("thirty_two", (2, 3072)), ("ten", (10, 5)), ("digits", (10, 64))):
        place_in = "" if name == "ten" else "1."
        state = {f"{place_in}weight": torch.randn(shape), f"{place_in}bias": torch.randn(shape[0])}
        torch.save(state, f"{name}.pt")
    return place


def arch(name: str) -> tuple[str, str]:
    return ("--arch", f"fitting.py:{name}")


def test_the_size_of_a_folders_images_is_chosen_recorded_and_found_again(of_others):
    words = ("thirty_two.pt", *arch("thirty_two"), "--data", "imgs")
    for command in (["eval"], ["convert", "-o", "x.safetensors"]):
        ran = run_here(command[0], *words, *command[1:])
        assert (ran.status, "does not admit inputs of 3x25x25" in ran.err) == (1, True)
        assert "images of the folder are 25 x 25 here; --image-size chooses their side" in ran.err
    assert run_here("eval", *words, "--image-size", 32).status == 0
    assert run_here("convert", *words, "--image-size", 32, "-o", "m.safetensors").status == 0
    assert read(of_others / "m.safetensors").metadata.data.input_shape == [3, 32, 32]
    later = ("eval", "m.safetensors", *arch("thirty_two"), "--data", "imgs")
    assert run_here(*later).rows[0]["nll"] == run_here(*later, "--image-size", 32).rows[0]["nll"]
    ran = run_here(*later, "--image-size", 30)
    assert (ran.status, "--image-size 30: 32 in the checkpoint" in ran.err) == (1, True)
    ran = run_here("convert", *words, "--input", "1,3,32,32", "-o", "y.safetensors")
    assert (ran.status, "--image-size" in ran.err) == (1, True)


def test_an_image_size_is_for_folders_alone(of_others):
    for data in ("digits", "a.npz"):
        ran = run_here("train", *SMALL, "--data", data, "--image-size", 9, "-o", "m.safetensors")
        assert (ran.status, "--image-size is for folders and shards of images" in ran.err) == (1, True)
        assert len(ran.err.splitlines()) == 1


def test_labels_from_one_are_told_where_a_network_has_too_few_outputs(of_others):
    for words in (["eval", "ten.pt"], ["convert", "ten.pt", "-o", "m.safetensors"], ["train", "-o", "m.safetensors"]):
        ran = run_here(*words, *arch("ten"), "--data", "counted.npz")
        assert (ran.status, "outputs (10,)" in ran.err, "expected 11 logits" in ran.err) == (1, True, True)
        assert "labels are 1 to 10: class 0 has no example (store labels - 1" in ran.err


def test_how_known_data_are_normalised_is_said_for_models_from_elsewhere(of_others):
    words = ("eval", "digits.pt", *arch("digits"), "--data", "digits")
    assert "digits: inputs are standardised, by 0.30" in (ran := run_here(*words)).err, ran.err
    assert "standardised" not in run_here(*words, "--normalise", "none").err
    assert run_here("train", *SMALL, "--data", "digits", "--limit", 50, "-o", "m.safetensors").status == 0
    assert "standardised" not in run_here("eval", "m.safetensors", "--data", "digits").err


@pytest.mark.parametrize(("scale", "said"), [(0.01, "0.01"), (1.0, None), (100.0, "100")])
def test_targets_far_from_a_usual_size_are_named_where_they_are_trained_on(place, scale, said):
    numbers = np.random.RandomState(0).randn(40)
    targets = scale * (numbers - numbers.mean()) / numbers.std()
    np.savez("y.npz", x=np.random.RandomState(1).randn(40, 5).astype(np.float32), y=targets)
    ran = run_here("train", *SMALL, "--data", "y.npz", "--lr", 1e-6, "--val-fraction", 0.25, "-o", "y.safetensors")
    assert ran.status == 0, ran.err
    words = [line for line in ran.err.splitlines() if "standard deviation" in line]
    if said is None:
        assert not words
        assert "a fifth is held out as the test split, 8 of 40" in ran.err
    else:
        deviation = float(words[0].partition("deviation of ")[2].partition(",")[0])
        assert deviation == pytest.approx(scale, rel=0.2)  # of the training part
    assert "standard deviation" not in run_here("eval", "y.safetensors", "--data", "y.npz").err


def test_targets_that_the_default_recipe_is_not_for_are_named_to_who_searches_a_star(place):
    """Models from elsewhere do not say how they were trained, and the default recipe diverges on such targets."""
    targets = 100 * np.random.RandomState(0).randn(40)
    np.savez("y.npz", x=np.random.RandomState(1).randn(40, 5).astype(np.float32), y=targets)
    for seed in (0, 1):
        words = ("--lr", 1e-6, "--seed", seed, "-o", f"{seed}.safetensors")
        assert run_here("train", *SMALL, "--data", "y.npz", *words).status == 0
        save_file(load_file(f"{seed}.safetensors"), f"bare{seed}.safetensors")
    line = ("star", "--data", "y.npz", "--epochs", 1, "--lr", 1e-6, "--align", "none", "-o")
    ran = run_here(*line, "s.safetensors", "--sources", "0.safetensors", "1.safetensors")
    assert (ran.status, "standard deviation" in ran.err) == (0, False)
    ran = run_here(*line, "b.safetensors", "--sources", "bare0.safetensors", "bare1.safetensors", *SMALL[:4])
    assert (ran.status, ran.err.count("targets have a standard deviation of")) == (0, 1), ran.err


def test_a_split_seed_that_draws_nothing_is_refused(two):
    for words in (("train", *SMALL, "-o", "m.safetensors"), ("eval", "0.safetensors")):
        ran = run_here(*words, "--data", "a.npz", "--split-seed", 3)
        assert (ran.status, "--split-seed 3: of a.npz no part is drawn by it" in ran.err) == (1, True)
        assert "--val-fraction says" in ran.err
    split = ("--data", "a.npz", "--split-seed", 3, "--val-fraction", 0.2)
    assert run_here("train", *SMALL, *split, "-o", "m.safetensors").status == 0
    # the file says that a part was drawn
    assert run_here("eval", "m.safetensors", "--data", "a.npz", "--split-seed", 3).status == 0
