"""starcli permute: permutations that apply again and invert, random ones that aligning undoes."""

import torch
from safetensors.torch import load_file
from support.program import run_here

from starcli.checkpoints.checkpoint import read_metadata


def equal(first, second):
    one, two = load_file(first), load_file(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_permutations_apply_again_and_invert(place, solutions):
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors", "--permutation", "p.safetensors")
    run_here("permute", solutions[1], "--by", "p.safetensors", "-o", "again.safetensors")
    assert equal("again.safetensors", "b.safetensors")
    run_here("permute", "b.safetensors", "--by", "p.safetensors", "--invert", "-o", "back.safetensors")
    assert equal("back.safetensors", solutions[1])
    assert read_metadata(place / "p.safetensors")[1].kind == "permutation"


def test_random_permutations_are_undone_by_aligning(solutions):
    ran = run_here("permute", solutions[0], "--random", "--seed", 5, "-o", "r.safetensors")
    assert ran.rows[0]["moved"] > 0
    assert not equal("r.safetensors", solutions[0])
    [row] = run_here("align", solutions[0], "r.safetensors", "-o", "r0.safetensors", "--restarts", 5).rows
    assert row["distance_after"] < 1e-6 * row["distance_before"]


def test_a_permutation_of_another_network_is_refused(place, solutions):
    other = ("--arch", "mlp", "--arch-arg", "depth=1", "hidden_dim=5", "--epochs", 1, "--limit", 50)
    run_here("train", *other, "--seeds", "0-1", "-o", "o{seed}.safetensors")
    run_here("align", "o0.safetensors", "o1.safetensors", "-o", "x.safetensors", "--permutation", "p.safetensors")
    ran = run_here("permute", solutions[0], "--by", "p.safetensors", "-o", "y.safetensors")
    assert ran.status == 1
    assert "another network" in ran.err
