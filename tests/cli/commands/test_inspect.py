"""starcli inspect: what a checkpoint records, its ancestors, and whether its bytes are those of its hash."""

import pytest
import torch
from safetensors.torch import save_file
from support.disk import files_of_at_most
from support.program import run_here

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata


def test_inspect(star, solutions):
    [row] = run_here("inspect", star).rows
    assert row["kind"] == "star"
    assert row["architecture"]["name"] == "mlp"
    assert row["weights_sha256"] == read_metadata(star)[1].weights_sha256
    assert row["proved"] is True
    tree = run_here("inspect", star, "--lineage", tty=True).out
    for number in range(3):
        assert f"{number}.safetensors" in tree


def test_inspect_verifies(solutions, place):
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors")
    assert run_here("inspect", "b.safetensors", "--verify").status == 0
    content = bytearray((place / "b.safetensors").read_bytes())
    content[-1] ^= 1
    (place / "b.safetensors").write_bytes(bytes(content))
    ran = run_here("inspect", "b.safetensors", "--verify")
    assert ran.status == 1
    assert "b.safetensors" in ran.err


def test_what_records_no_hash_is_not_verified(solutions, place):
    run_here("convert", solutions[0], "--plain", "-o", "plain.safetensors")
    ran = run_here("inspect", "plain.safetensors", "--verify")
    assert ran.status == 0
    assert ran.rows[0]["verified"] is None
    assert "records no hash" in ran.err
    whole = run_here("inspect", solutions[0], "--verify")
    assert whole.rows[0]["verified"] is True
    assert whole.err == ""
    assert run_here("inspect", "plain.safetensors").err == ""


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_files_of_pytorch_are_shown_as_safetensors_are(suffix, place):
    """What a trainer keeps beside the weights is noted, and only the weights are counted."""
    tensors = {"w": torch.ones(3, 4), "half": torch.ones(5).half(), "count": torch.tensor(3)}
    save_file(tensors, "theirs.safetensors")
    torch.save({"state_dict": tensors, "epoch": 3, "optimizer": {"momentum": torch.ones(7)}}, f"theirs{suffix}")
    [expected] = run_here("inspect", "theirs.safetensors").rows
    ran = run_here("inspect", f"theirs{suffix}")
    [row] = ran.rows
    assert (row["tensors"], row["parameters"], row["kind"]) == (3, 17, "model")
    assert {**row, "file": "", "command": ""} == {**expected, "file": "", "command": ""}
    shown = run_here("inspect", f"theirs{suffix}", "--lineage", tty=True)
    assert "17 in 3 tensors" in shown.out
    found = sc.describe(f"theirs{suffix}")
    assert found.header.tensors["half"].shape == (5,)
    assert sc.describe(f"theirs{suffix}", verify=True).sha256 == sc.describe("theirs.safetensors", verify=True).sha256
    assert "records no hash" in run_here("inspect", f"theirs{suffix}", "--verify").err


def test_a_file_of_pytorch_without_weights_is_named(place):
    torch.save({"epoch": 3}, "none.pt")
    ran = run_here("inspect", "none.pt")
    assert (ran.status, ran.rows) == (1, [])
    assert "none.pt: no state dict in it" in ran.err
    torch.save({}, "none.pt")
    assert "  found nothing; looked for state_dict" in run_here("inspect", "none.pt").err


def test_a_temporary_file_that_cannot_be_written_is_told(solutions):
    with files_of_at_most(0):
        ran = run_here("inspect", "-", stdin=solutions[0].read_bytes())
    assert (ran.status, ran.err) == (1, "starcli: stdin: cannot be copied to a temporary file: File too large\n")
