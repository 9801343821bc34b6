"""Networks of the user's own: what they print, what they keep in buffers, what they cannot do; and `-` for stdin."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from support.program import run_here

from starcli.checkpoints import checkpoint
from starcli.checkpoints.hashes import file_sha256

pytestmark = pytest.mark.usefixtures("own_cache")

MINE = '''
import torch
from torch import nn

class Talks(nn.Module):
    """Prints, and divides by a running size of its inputs that is no BatchNorm statistic."""

    def __init__(self):
        super().__init__()
        print("hello from build")
        self.layer, self.head = nn.Linear(64, 6), nn.Linear(6, 10)
        self.register_buffer("size", torch.ones(()))

    def forward(self, x):
        print("hello from forward")
        x = x.flatten(1)
        if self.training:
            self.size.mul_(0.9).add_(0.1 * x.detach().square().mean())
        return self.head((self.layer(x) / self.size).relu())

class Chooses(nn.Sequential):
    def forward(self, x):
        x = self[0](x.flatten(1))
        if x.sum() > 0:
            x = x * 2
        return self[1](x)

def chooses():
    return Chooses(nn.Linear(64, 6), nn.Linear(6, 10))

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

def complex():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10, dtype=torch.complex64))

def half():
    return nn.Sequential(nn.Flatten(), Half(), nn.Linear(6, 10))

class Half(nn.Linear):
    def __init__(self):
        super().__init__(64, 6, dtype=torch.bfloat16)

    def forward(self, x):
        return super().forward(x.bfloat16()).float()

def certain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))

def wide(num_classes=12):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12))

def compiled():
    return torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10)))

def momentless():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6, momentum=None), nn.Linear(6, 10))
'''
DIGITS = ("--data", "digits", "--limit", 200, "--epochs", 1)


@pytest.fixture
def mine(place):
    (place / "mine12.py").write_text(MINE)
    return place


def test_what_a_network_prints_does_not_get_among_the_results(mine):
    ran = run_here("train", "--arch", "mine12:Talks", *DIGITS, "-o", "-")
    assert "hello from build" in ran.err
    assert "hello from forward" in ran.err
    [row] = run_here("eval", "-", "--arch", "mine12:Talks", stdin=ran.stdout).rows
    assert row["type"] == "eval"
    derived = run_here("spec", "derive", "--arch", "mine12:Talks", "--data", "digits", "-o", "-")
    assert derived.out.startswith("format: 1") or "\nformat: 1" in derived.out


def test_buffers_that_are_no_statistics_are_averaged_and_named(mine):
    for seed in (0, 1):
        run_here("train", "--arch", "mine12:Talks", *DIGITS, "--seed", seed, "-o", f"{seed}.safetensors")
    words = ("--align", "none", "--arch", "mine12:Talks")
    for command in (("barrier",), ("interpolate", "--t", 0.5, "-o", "no.safetensors")):
        refused = run_here(*command, "0.safetensors", "1.safetensors", *words)
        assert refused.status == 1
        assert "size, of Talks" in refused.err
        assert "--average-buffers" in refused.err
    refused = run_here(
        "align", "0.safetensors", "1.safetensors", *words[2:], "--method", "learn", "-o", "no.safetensors"
    )
    assert refused.status == 1
    assert "size, of Talks" in refused.err
    assert "--average-buffers" not in refused.err  # it has no such option
    assert not (mine / "no.safetensors").exists()
    words = (*words, "--average-buffers")
    ran = run_here("interpolate", "0.safetensors", "1.safetensors", "--t", 0.25, 1, "-o", "t{t}.safetensors", *words)
    assert "averaged like weights: size" in ran.err
    first, last, between = (
        checkpoint.read(mine / f"{name}.safetensors").tensors["size"] for name in ("0", "1", "t0.25")
    )
    torch.testing.assert_close(between, 0.75 * first + 0.25 * last)
    assert checkpoint.read(mine / "t1.safetensors").tensors["size"] == last
    models = ("0.safetensors", "1.safetensors")
    there, back = (run_here("barrier", *order, *words, "--points", 3).rows[0] for order in (models, models[::-1]))
    assert there["test"]["loss"][1] == pytest.approx(back["test"]["loss"][1], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [("lazy", "lazy layers"), ("complex", "complex parameters"), ("half", "does not admit inputs of 1x8x8")],
)
def test_networks_that_cannot_be_trained_are_one_line(mine, name, message):
    ran = run_here("train", "--arch", f"mine12:{name}", *DIGITS, "-o", "x.safetensors")
    assert ran.status == 1
    assert message in ran.err.splitlines()[0]
    assert not (mine / "x.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("certain", "the network outputs probabilities, and they are taken as logits: leave out its softmax"),
        ("wide", "the network has 12 logits for 10 classes of the data"),
    ],
)
def test_outputs_that_are_hardly_logits_are_noted_once(mine, name, note):
    words = ("--arch", f"mine12:{name}")
    ran = run_here("train", *words, *DIGITS, "--recipe", "default", "-o", "x.safetensors")
    assert ran.err.splitlines().count(f"note: {note}") == 1
    assert run_here("eval", "x.safetensors", *words).err.splitlines().count(f"note: {note}") == 1
    said = run_here("eval", "x.safetensors", *words, *(("--arch-arg", "num_classes=12") if name == "wide" else ()))
    assert (note in said.err) == (name == "certain")  # a number of classes that was said is meant


def test_a_compiled_network_is_the_one_that_was_compiled(mine):
    words = ("--arch", "mine12:compiled")
    run_here("train", *words, *DIGITS, "--recipe", "default", "-o", "0.safetensors")
    names = {"1.weight", "1.bias", "3.weight", "3.bias"}
    assert checkpoint.read(mine / "0.safetensors").tensors.keys() == names
    state = {f"_orig_mod.{name}": tensor for name, tensor in checkpoint.read(mine / "0.safetensors").tensors.items()}
    torch.save(state, mine / "1.pt")
    [row] = run_here("barrier", "0.safetensors", "1.pt", *words, "--points", 3, "--align", "weight").rows
    assert row["test"]["loss_barrier"] == 0


def test_networks_that_cannot_be_stacked_say_so(mine):
    words = ("--arch", "mine12:momentless", *DIGITS, "--stacked", "--seeds", "0-1")
    ran = run_here("train", *words, "-o", "{seed}.safetensors")
    assert ran.status == 1
    assert "leave out --stacked" in ran.err


def test_a_network_that_cannot_be_traced_names_the_line(mine):
    ran = run_here("train", "--arch", "mine12:chooses", *DIGITS, "--recipe", "default", "-o", "0.safetensors")
    assert ran.err == "note: no permutation spec is recorded: the network cannot be traced\n"
    run_here("train", "--arch", "mine12:chooses", *DIGITS, "--seed", 1, "-o", "1.safetensors")
    ran = run_here("align", "0.safetensors", "1.safetensors", "-o", "a.safetensors", "--arch", "mine12:chooses")
    assert ran.status == 1
    assert "at mine12.py:24: if x.sum() > 0:" in ran.err
    assert "--align none" in ran.err
    assert len(ran.err.splitlines()) == 4


def test_inspect_reads_stdin(solutions):
    content = solutions[0].read_bytes()
    [there] = run_here("inspect", solutions[0], "--verify").rows
    [piped] = run_here("inspect", "-", "--verify", stdin=content).rows
    assert piped == {**there, "file": "stdin"}
    assert "not a whole safetensors file" in run_here("inspect", "-", stdin=content[:500]).err


def test_weights_that_come_back_do_not_descend_from_themselves(solutions, place):
    run_here("permute", solutions[0], "--random", "--seed", 1, "-o", "there.safetensors")
    run_here("align", solutions[0], "there.safetensors", "-o", "back.safetensors")
    assert file_sha256(place / "back.safetensors") == file_sha256(solutions[0])
    run_here("interpolate", "back.safetensors", solutions[1], "--t", 0.5, "-o", "half.safetensors", "--align", "none")
    ran = run_here("inspect", "half.safetensors", "--lineage")
    assert ran.status == 0
    assert json.loads(ran.out)["file"] == "half.safetensors"


def test_a_folder_of_other_sources_is_refused(solutions, star, place):
    (place / "kept").mkdir()
    for number in (0, 3):
        words = ("-o", place / "kept" / f"{number}.safetensors")
        run_here("align", solutions[1], solutions[number], *words)
    words = ("--star", star, "--sources", *solutions.some(0, 2), "--held-out", solutions[4])
    ran = run_here("barrier", *words, "--aligned-sources", "kept")
    assert ran.status == 1
    assert "no model there was made from 2.safetensors" in ran.err


def test_stdout_takes_one_file(solutions):
    ran = run_here("align", *solutions.some(0, 1), "-o", "-", "--permutation", "-")
    assert (ran.status, ran.stdout) == (1, b"")


def test_more_outputs_than_classes_are_admitted_by_all_commands(place):
    images = np.random.RandomState(0).rand(30, 5).astype(np.float32)
    np.savez(place / "three.npz", images=images, labels=np.arange(30) % 3)
    network = ("--arch", "mlp", "--arch-arg", "depth=1", "hidden_dim=4", "num_classes=10")
    ran = run_here(
        "train", *network, "--data", "three.npz", "--epochs", 1, "--seeds", "0-1", "-o", "{seed}.safetensors"
    )
    assert ran.status == 0, ran.err
    models = ("0.safetensors", "1.safetensors")
    for line in (
        ("eval", models[0]),
        ("barrier", *models, "--points", 3, "--align", "weight"),
        ("star", "--sources", *models, "-o", "star.safetensors"),
        ("bma", "--star", "star.safetensors", "--sources", *models),
    ):
        ran = run_here(*line, "--data", "three.npz")
        assert ran.status == 0, ran.err


def test_notes_on_a_folder_are_said(place):
    for name in ("train/cat", "train/dog", "val/cat", "val/dog", "extra"):
        (place / "pets" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 6), (60 * number, 0, 0)).save(place / "pets" / name / f"{number}.png")
    words = ("--arch", "mlp", "--arch-arg", "depth=1", "hidden_dim=4", "--data", "folder:pets", "--epochs", 1)
    ran = run_here("train", *words, "-o", "x.safetensors")
    assert "note: pets: left unread: extra/\n" in ran.err
    assert "note: pets/train: images of 8 x 6 are resized to squares of 6 x 6; --image-size" in ran.err
    assert "left unread: extra/" in run_here("eval", "x.safetensors", "--data", "folder:pets").err


OTHERS = """
import torch
from torch import nn

def double():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10)).double()

class Output(dict):
    __getattr__ = dict.__getitem__

class Named(nn.Linear):
    def forward(self, x):
        return Output(logits=super().forward(x.flatten(1)))

def named():
    return Named(64, 10)

def old():
    import warnings
    warnings.warn("an old layer", FutureWarning)
    return double()

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.hidden, self.head = nn.Embedding(9, 6), nn.Linear(6, 5), nn.Linear(5, 9)

    def forward(self, x):
        return self.head(self.hidden(self.table(x)).relu())
"""


@pytest.fixture
def others(place):
    """A module of networks, and two states of each as torch writes them."""
    (place / "others12.py").write_text(OTHERS)
    made: dict = {}
    exec(OTHERS, made)
    for seed in (0, 1):
        torch.manual_seed(seed)
        for name in ("double", "named", "Tokens"):
            torch.save(made[name]().state_dict(), place / f"{name}{seed}.pt")
    return place


def test_a_network_in_float64_is_built_in_float32(others):
    words = ("--arch", "others12.py:double")
    ran = run_here("train", *words, *DIGITS, "-o", "t.safetensors")
    assert ran.status == 0, ran.err
    [row] = run_here("align", "double0.pt", "double1.pt", *words, "--input", "1,1,8,8", "-o", "a.safetensors").rows
    assert row["distance_after"] < row["distance_before"]
    assert {tensor.dtype for tensor in checkpoint.read(others / "a.safetensors").tensors.values()} == {torch.float64}
    [row] = run_here("eval", "double0.pt", *words, "--data", "digits").rows
    assert 0 <= row["accuracy"] <= 1


def test_a_network_whose_output_has_logits_is_told_to_be_wrapped(others):
    ran = run_here("eval", "named0.pt", "--arch", "others12.py:named", "--data", "digits")
    assert ran.status == 1
    assert "outputs Output for inputs of 1x8x8, expected 10 logits" in ran.err
    assert ran.err.endswith("wrap it in a module whose forward returns this output's logits alone\n")


def test_a_warning_of_a_builder_is_shown_once(others):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        run_here("eval", "double0.pt", "--arch", "others12.py:old", "--data", "digits")
        run_here("align", "double0.pt", "double1.pt", "--arch", "others12.py:old", "--data", "digits", "-o", "a")
    assert [str(each.message) for each in shown if each.category is FutureWarning] == ["an old layer"]


def test_tokens_are_named_where_floats_fail_and_taken_from_the_model_that_records_them(others):
    words = ("--arch", "others12.py:Tokens")
    for command in (("align", "Tokens0.pt", "Tokens1.pt", "-o", "a.safetensors"), ("spec", "check")):
        ran = run_here(*command, *words, "--input", "1,4")
        assert ran.status == 1
        assert ran.err.endswith("  it takes integers: --input-dtype int64 says that inputs are tokens\n")
    tokens = ("--input", "1,4", "--input-dtype", "int64")
    assert run_here("permute", "Tokens1.pt", *words, *tokens, "--random", "-o", "p.safetensors").status == 0
    for pair in (("Tokens1.pt", "p.safetensors"), ("p.safetensors", "Tokens1.pt")):
        [row] = run_here("align", *pair, *words, "-o", "a.safetensors", "--force").rows
        assert row["distance_after"] < 1e-5 < row["distance_before"]


def test_predict_asks_for_data_where_nothing_says_what_an_input_is(others):
    np.savez("images.npz", images=np.zeros((3, 8, 8, 1), np.uint8))
    words = ("predict", "double0.pt", "--arch", "others12.py:double", "--data", "images.npz", "-o", "p.csv")
    ran = run_here(*words)
    assert ran.status == 1
    assert ran.err.startswith("starcli: --train-data is needed: what goes into others12:double\n")
    assert "--input" not in ran.err
    assert run_here(*words, "--train-data", "digits").status == 0
