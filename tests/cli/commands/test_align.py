"""starcli align and permute: the same function under other names, permutations that apply again and invert."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.program import run_here

from starcli.checkpoints.checkpoint import SpecRecord, read, read_metadata, write
from starcli.symmetry.archspec.validate import resolved_from_json

KEYS = {
    "schema", "type", "reference", "model", "output", "method", "restarts", "distance_before", "distance_after",
    "cosine_before", "cosine_after", "objective", "sweeps", "moved", "seconds",
}  # fmt: skip


def equal(first, second):
    one, two = load_file(first), load_file(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_align_writes_the_same_function_nearer_by(solutions):
    ran = run_here("align", *solutions.some(0, 1), "-o", "b.safetensors", "--restarts", 2)
    [row] = ran.rows
    assert set(row) == KEYS
    assert row["distance_after"] < row["distance_before"]
    assert row["cosine_after"] > row["cosine_before"]
    assert row["seconds"] > 0
    [before] = run_here("eval", solutions[1]).rows
    [after] = run_here("eval", "b.safetensors").rows
    assert after["nll"] == pytest.approx(before["nll"], abs=1e-6)
    metadata = read_metadata(solutions.directory / "0.safetensors")[1]
    aligned = read_metadata(Path("b.safetensors"))[1]
    assert aligned.aligned_to.reference == metadata.weights_sha256
    assert aligned.seed == 1
    assert [ancestor.name for ancestor in aligned.ancestors if ancestor.sha256 in aligned.parents]


def test_several_models_need_a_template(solutions):
    ran = run_here("align", *solutions.some(0, 1, 2), "-o", "x.safetensors")
    assert ran.status == 1
    assert "{name}" in ran.err
    ran = run_here("align", *solutions.some(0, 1, 2), "-o", "a{name}.safetensors")
    assert [row["output"] for row in ran.rows] == ["a1.safetensors", "a2.safetensors"]


def test_the_same_line_again_shows_the_same_but_the_seconds(solutions):
    words = ("align", *solutions.some(0, 1), "-o", "b.safetensors")
    first, second = run_here(*words).rows[0], run_here(*words).rows[0]
    assert first.pop("seconds") > 0
    assert second.pop("seconds") is None
    assert first == second


def test_permutations_apply_again_and_invert(place, solutions):
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors", "--permutation", "p.safetensors")
    run_here("permute", solutions[1], "--by", "p.safetensors", "-o", "again.safetensors")
    assert equal("again.safetensors", "b.safetensors")
    run_here("permute", "b.safetensors", "--by", "p.safetensors", "--invert", "-o", "back.safetensors")
    assert equal("back.safetensors", solutions[1])
    assert read_metadata(place / "p.safetensors")[1].kind == "permutation"


def test_a_missing_permutation_is_made_beside_a_finished_model(place, solutions):
    words = ("align", *solutions.some(0, 1), "-o", "b.safetensors", "--permutation", "p.safetensors")
    run_here(*words)
    content = (place / "p.safetensors").read_bytes()
    (place / "p.safetensors").unlink()
    assert run_here(*words).status == 0
    assert (place / "p.safetensors").read_bytes() == content


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


def test_pipes(place, solutions):
    """align - -o - | eval -: a checkpoint in, a checkpoint out, results on stderr."""
    ran = run_here("align", solutions[0], "-", "-o", "-", stdin=solutions[1].read_bytes())
    assert ran.status == 0, ran.err
    assert '"type": "align"' in ran.err
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors")
    [piped] = run_here("eval", "-", stdin=ran.stdout).rows
    [filed] = run_here("eval", "b.safetensors").rows
    assert piped.pop("model") == "stdin"
    filed.pop("model")
    assert piped == filed


def test_a_stranger_s_word_for_a_proof_is_not_taken(solutions):
    """A file whose spec leaves a bias out of its group, and which says that this was proved."""
    for seed in (0, 1):
        checkpoint = read(solutions.directory / f"{seed}.safetensors")
        forged = checkpoint.metadata.spec.resolved
        forged["tensors"]["fc1.bias"] = [str(forged["shapes"]["fc1.bias"][0])]
        proof = {"proved": True, "verdicts": dict.fromkeys(forged["groups"], "proved"), "reasons": {}}
        spec = SpecRecord(resolved=forged, sha256=resolved_from_json(forged).sha256, proof=proof)
        write(Path(f"{seed}.safetensors"), checkpoint.tensors, checkpoint.metadata.model_copy(update={"spec": spec}))
    ran = run_here("align", "0.safetensors", "1.safetensors", "-o", "b.safetensors")
    assert ran.status == 1
    assert "does not hold" in ran.err
    assert not Path("b.safetensors").exists()
