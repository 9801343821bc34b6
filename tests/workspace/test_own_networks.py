"""Networks that a user's own code builds, on the command line: of tokens, edited, configured by files, with words."""

import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.program import run_here

from starcli.checkpoints.checkpoint import read

pytestmark = pytest.mark.usefixtures("place")

LM = """
import torch
from torch import nn

class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head = nn.Linear(8, 11)

    def forward(self, x):
        return self.head(self.block(self.words(x)))

def build():
    return LM()
"""
TOKENS = ("--arch", "lm_of_ours:build", "--input", "1,6", "--input-dtype", "int64")


def test_networks_of_tokens_are_aligned_permuted_and_averaged(place):
    (place / "lm_of_ours.py").write_text(LM)
    sys.path.append(str(place))
    from lm_of_ours import build

    for seed in (0, 1):
        torch.manual_seed(seed)
        save_file(build().state_dict(), f"{seed}.safetensors")
    assert run_here("permute", "0.safetensors", "--random", *TOKENS, "-o", "p.safetensors").status == 0
    record = read(place / "p.safetensors").metadata
    assert record.data is None
    assert record.architecture.input_dtype == "int64"
    # what is recorded needs not be said again, but code is named each time
    for pair in (("0.safetensors", "p.safetensors"), ("p.safetensors", "0.safetensors")):  # whichever says so
        ran = run_here("align", *pair, *TOKENS[:2], "-o", "back.safetensors", "--force")
        assert ran.rows[0]["distance_after"] == pytest.approx(0.0, abs=1e-6)
    ran = run_here("interpolate", "0.safetensors", "1.safetensors", "--t", "0.5", *TOKENS, "-o", "mean.safetensors")
    assert ran.status == 0
    one, two, mean = (load_file(name) for name in ("0.safetensors", "1.safetensors", "mean.safetensors"))
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, (one[name] + two[name]) / 2)
    tokens = torch.randint(11, (3, 6))
    outputs = []
    for name in ("0.safetensors", "p.safetensors"):
        network = build().double().eval()
        network.load_state_dict({key: tensor.double() for key, tensor in load_file(name).items()})
        outputs.append(network(tokens))
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    assert not torch.equal(*(load_file(name)["words.weight"] for name in ("0.safetensors", "p.safetensors")))
    for wrong in (["--input", "1,6"], ["--input", "1,6", "--input-dtype", "float32"]):
        ran = run_here("permute", "0.safetensors", "--random", *TOKENS[:2], *wrong, "-o", "x.safetensors")
        assert (ran.status, "does not admit inputs of 6" in ran.err) == (1, True)
    ran = run_here("eval", "p.safetensors", *TOKENS[:2])
    assert (ran.status, "--data is needed" in ran.err) == (1, True)
    ran = run_here("align", "p.safetensors", "0.safetensors", *TOKENS[:2], "--data", "digits", "-o", "x.safetensors")
    assert ran.status == 1


@pytest.mark.slow
def test_an_edit_of_a_network_is_not_hidden_by_what_was_kept(place):
    layers = "nn.Flatten(), nn.Linear(5, 4), nn.{}(), nn.Linear(4, 3)"
    source = f"from torch import nn\ndef build():\n    return nn.Sequential({layers})\n"
    words = ("--arch", "edited:build", "--data", "a.npz")
    (place / "edited.py").write_text(source.format("ReLU"))
    assert run_here("train", *words, "--seeds", "0-1", "--epochs", 1, "-o", "{seed}.safetensors").status == 0
    barrier = ("barrier", "0.safetensors", "1.safetensors", *words, "--points", 3, "--align", "none")
    before = run_here(*barrier).rows[0]["train"]["loss"]
    assert run_here(*barrier).rows[0]["train"]["loss"] == before
    (place / "edited.py").write_text(source.format("Sigmoid"))
    del sys.modules["edited"]  # as in a new process
    assert run_here(*barrier).rows[0]["train"]["loss"] != before


CONFIGURED = """
import os, pathlib
from torch import nn

class Net(nn.Module):
    def __init__(self, skip):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.skip = skip

    def forward(self, x):
        h = self.first(x.flatten(1)).relu()
        g = self.second(h).relu()
        return self.last(g + h if self.skip else g)

def build():
    return Net(pathlib.Path("net.cfg").read_text() == "skip")
"""


def test_a_network_that_a_file_configures_is_not_taken_for_another(place):
    """The same builder, code and tensors; the hidden layers may change places apart, or only together."""
    (place / "configured.py").write_text(CONFIGURED)
    words = ("--arch", "configured:build", "--data", "a.npz")
    (place / "net.cfg").write_text("plain")
    assert run_here("train", *words, "--seeds", "0-1", "--epochs", 1, "-o", "{seed}.safetensors").status == 0
    barrier = ("barrier", "0.safetensors", "1.safetensors", *words, "--points", 3, "--align", "none")
    assert run_here("convert", "1.safetensors", "--plain", "-o", "plain.safetensors").status == 0  # records no spec
    assert run_here("align", "0.safetensors", "plain.safetensors", *words, "-o", "x.safetensors").status == 0
    before = run_here(*barrier).rows[0]["train"]["loss"]

    (place / "net.cfg").write_text("skip")
    assert run_here(*barrier).rows[0]["train"]["loss"] != before
    assert run_here("convert", "0.safetensors", "--plain", "-o", "zero.safetensors").status == 0
    ran = run_here("align", "zero.safetensors", "plain.safetensors", *words, "-o", "y.safetensors")
    assert ran.status == 0, ran.err
    kept, moved = (run_here("eval", file, *words).rows[0]["nll"] for file in ("plain.safetensors", "y.safetensors"))
    assert moved == pytest.approx(kept, rel=1e-5)

    (place / "net.cfg").write_text("plain")
    assert run_here(*barrier).rows[0]["train"]["loss"] == before


def test_words_of_a_file_reach_no_code(place):
    (place / "worded.py").write_text(
        "from torch import nn\ndef build(path='a', width=4):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 3))\n"
    )
    words = ("--arch", "worded:build", "--data", "a.npz")
    said = ("--arch-arg", "path=secrets", "width=6")
    assert run_here("train", *words, *said, "--epochs", 1, "-o", "w.safetensors").status == 0
    for line in (["eval", "w.safetensors", *words], ["spec", "check", "w.safetensors", *words[:2]]):
        ran = run_here(*line)
        assert (ran.status, "--arch-arg path=secrets" in ran.err) == (1, True)
    assert run_here("eval", "w.safetensors", *words, *said[:2]).status == 0
