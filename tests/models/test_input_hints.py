"""Inputs that a network does not admit: the error says the `--input` that it takes, and that is taken."""

import re

import pytest
import torch
from support.program import run_here
from support.refused import refused
from torch import nn

import starcli as sc
from starcli.errors import StarcliError

NETWORKS = """
from torch import nn

class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.convolution(x).relu().mean((2, 3)))

class Grey(Images):
    def forward(self, x):
        (n, height, width) = x.shape
        return super().forward(x[:, None])

class One(Images):
    def forward(self, x):
        return super().forward(x[None])[0]
"""


@pytest.fixture
def networks(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hinted.py").write_text(NETWORKS)


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize(
    ("network", "typed"),
    [("Images", "1,8,8"), ("Images", "8,8"), ("Grey", "8,8"), ("Grey", "1,1,8,8")],
    ids=str,
)
def test_the_line_that_is_named_is_taken(network: str, typed: str) -> None:
    words = ("spec", "derive", "--arch", f"hinted.py:{network}", "--input")
    ran = run_here(*words, typed)
    refused(ran, "does not admit inputs of", "is taken, whose first size is the batch")
    [line] = re.findall(r"--input (\S+) is taken", ran.err)
    assert line == ("1,1,8,8" if network == "Images" else "1,8,8")
    assert run_here(*words, line).status == 0


@pytest.mark.usefixtures("networks")
def test_a_network_of_one_input_at_a_time_is_told_of_several() -> None:
    single = "it takes one input at a time: forward gets several, (N, 1, 8, 8)"
    refused(run_here("spec", "derive", "--arch", "hinted.py:One", "--input", "1,1,8,8"), single)
    refused(run_here("train", "--arch", "hinted.py:One", "--data", "digits", "-o", "m.safetensors"), single)
    # what it lacks is something else than a batch
    assert "at a time" not in run_here("spec", "derive", "--arch", "hinted.py:Images", "--input", "1,2,8,8").err


def test_the_batch_of_networks_of_the_registry() -> None:
    refused(run_here("spec", "derive", "--arch", "resnet", "--input", "1,8,8"), "for example --input 1,3,32,32, whose")
    refused(run_here("spec", "derive", "--arch", "mlp", "--input", "64"), "--input 1,64 says vectors")
    assert run_here("spec", "derive", "--arch", "mlp", "--input", "1,64").status == 0


def test_python_is_told_of_its_keyword() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    torch.manual_seed(0)
    with pytest.raises(StarcliError, match=r"input_shape=\(1, 8, 8\) is taken, without the batch"):
        sc.align(network, network, input_shape=(1, 1, 8, 8))
