"""Lists of modules that change places, from the command line: a network and a spec of the user's own."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.networks import lists
from support.program import run_here
from support.tensors import same
from torch import nn

BUILD = """from torch import nn
from lists import Mixture


def build():
    network = nn.Sequential(nn.Flatten(), Mixture(inputs=64))
    network[1].out = nn.Linear(6, 10)
    return network
"""
SPEC = "\n".join(f"  1.{line.strip()}" if line.startswith("  ") else line for line in lists.MIXTURE.splitlines())
PLAIN = """format: 1
tensors:
  1.read.*: [stream]
  1.router.weight: [_, stream]
  1.router.bias: []
  1.experts.{l}.0.weight: ["unit.{l}", stream]
  1.experts.{l}.0.bias: ["unit.{l}"]
  1.experts.{l}.2.weight: [stream, "unit.{l}"]
  1.experts.{l}.2.bias: [stream]
  1.out.weight: [_, stream]
  1.out.bias: []
"""
NETWORK = ("--arch", "mine.py:build", "--spec", "spec.yaml")
FILES = ("0.safetensors", "1.safetensors")


@pytest.fixture
def models(place: Path) -> Path:
    """A directory with two models, their network, and a spec; a spec without stacks, too."""
    (place / "mine.py").write_text(BUILD)
    shutil.copy(lists.__file__, place / "lists.py")
    (place / "spec.yaml").write_text(SPEC)
    (place / "plain.yaml").write_text(PLAIN)
    ran = run_here("train", *NETWORK, "--data", "digits", "--limit", 300, "--epochs", 2, "--seeds", "0-1", "-o",
                   "{seed}.safetensors")  # fmt: skip
    assert ran.status == 0, ran.err
    return place


def test_a_mixture_from_training_to_a_barrier(models: Path) -> None:
    ran = run_here("align", *FILES, *NETWORK, "-o", "b.safetensors", "--permutation", "p.safetensors")
    assert ran.status == 0, ran.err
    assert ran.rows[0]["distance_after"] < ran.rows[0]["distance_before"]
    own, aligned = load_file("1.safetensors"), load_file("b.safetensors")
    assert own.keys() == aligned.keys()
    assert not same(own, aligned)
    run_here("permute", FILES[1], "--by", "p.safetensors", *NETWORK, "-o", "again.safetensors")
    assert same(load_file("again.safetensors"), aligned)
    run_here("permute", "b.safetensors", "--by", "p.safetensors", "--invert", *NETWORK, "-o", "back.safetensors")
    assert same(load_file("back.safetensors"), own)
    measured = run_here("eval", FILES[1], "b.safetensors", "--arch", "mine.py:build").rows
    before, after = (row for row in measured if row.get("split") == "test")
    assert after["nll"] == pytest.approx(before["nll"], rel=1e-5)
    [line] = run_here("barrier", FILES[0], "b.safetensors", *NETWORK).rows
    [other] = run_here("barrier", *FILES, *NETWORK, "--align", "weight").rows
    assert line["train"]["loss"] == pytest.approx(other["train"]["loss"], rel=1e-5)
    run_here("permute", FILES[0], "--random", *NETWORK, "-o", "r.safetensors")
    [row] = run_here("align", FILES[0], "r.safetensors", *NETWORK, "-o", "undone.safetensors").rows
    assert row["distance_after"] < 1e-6 * row["distance_before"]
    # what a file records is enough
    ran = run_here("star", "--sources", *FILES, "--arch", "mine.py:build", "--epochs", 1, "-o", "star.safetensors")
    assert ran.status == 0, ran.err
    network: nn.Module = nn.Sequential(nn.Flatten(), lists.Mixture(inputs=64))
    network[1].out = nn.Linear(6, 10)
    network.load_state_dict(load_file("star.safetensors"))
    assert network(torch.zeros(1, 64)).isfinite().all()


def test_specs_of_a_mixture_are_checked_explained_and_compared(models: Path) -> None:
    network = ("--arch", "mine.py:build", "--data", "digits")
    [row] = run_here("spec", "check", "spec.yaml", *network).rows
    assert row["proved"]
    assert row["tensors"] == len(load_file("0.safetensors"))
    named = {"1.experts.[].0.weight", "1.router.weight", "1.router.bias"}
    [expert] = [row for row in run_here("spec", "explain", "spec.yaml", *network).rows if row.get("group") == "expert"]
    assert named <= set(expert["tensors"])
    Path("shown.yaml").write_text(run_here("spec", "show", "0.safetensors").out)
    assert run_here("spec", "diff", "spec.yaml", "shown.yaml", *network).status == 0
    ran = run_here("spec", "diff", "spec.yaml", "plain.yaml", *network)
    assert ran.status == 1
    found = [row["difference"] for row in ran.rows]
    assert len(found) == 2 + 4
    assert all("group" in each for each in found)
