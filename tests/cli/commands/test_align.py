"""starcli align: the same function, nearer by; templates, pipes, and no stranger's proof."""

from pathlib import Path

import pytest
from support.program import run_here

from starcli.checkpoints.checkpoint import read, read_metadata, write
from starcli.checkpoints.metadata import SpecRecord
from starcli.symmetry.archspec.validate import resolved_from_json

KEYS = {
    "schema", "type", "reference", "model", "output", "method", "restarts", "distance_before", "distance_after",
    "cosine_before", "cosine_after", "objective", "sweeps", "moved", "seconds", "alignment", "seed",
}  # fmt: skip


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


def test_a_permutation_goes_to_stdout_alone(solutions):
    ran = run_here("align", *solutions.some(0, 1), "-o", "b.safetensors", "--permutation", "-")
    Path("p.safetensors").write_bytes(ran.stdout)
    assert '"objective"' in ran.err
    [row] = run_here("permute", solutions[1], "--by", "p.safetensors", "-o", "again.safetensors").rows
    assert row["moved"] > 0
    assert read(Path("again.safetensors")).sha256 == read(Path("b.safetensors")).sha256


def test_jointly_aligned_files_say_so_and_with_whom(place, solutions):
    words = ("align", *solutions.some(0, 1, 2), "--joint", "-o", "{name}.safetensors")
    rows = run_here(*words, "--permutation", "p{name}.safetensors").rows
    assert [set(row) for row in rows] == [KEYS | {"joint"}] * 2
    assert [row["joint"] for row in rows] == [3, 3]
    first, second = (read_metadata(Path(f"{number}.safetensors"))[1] for number in (1, 2))
    assert first.aligned_to.joint == 3
    assert set(first.parents) == set(second.parents)
    assert len(first.parents) == 3
    [pair] = run_here("barrier", "1.safetensors", "2.safetensors").rows
    [to_reference] = run_here("barrier", solutions[0], "2.safetensors").rows
    assert pair["alignment"] == to_reference["alignment"] == "recorded (jointly)"
    run_here("align", *solutions.some(0, 2), "-o", "own.safetensors")
    assert run_here("barrier", "1.safetensors", "own.safetensors").rows[0]["alignment"].endswith("a third model)")
    run_here(*words[:-1], "other{name}.safetensors", "--method", "activation")
    assert run_here("barrier", "1.safetensors", "other2.safetensors").rows[0]["alignment"].endswith("a third model)")
    again = run_here(*words)
    assert [row["seconds"] for row in again.rows] == [None, None]
    alone = run_here("align", *solutions.some(0, 1), "-o", "1.safetensors")
    assert "align joint: 3 there, nothing asked for" in alone.err


def test_a_file_that_is_missing_of_a_joint_alignment_is_made_again_the_same(place, solutions):
    words = ("align", *solutions.some(0, 1, 2), "--joint", "-o", "{name}.safetensors")
    run_here(*words)
    content = (place / "2.safetensors").read_bytes()
    (place / "2.safetensors").unlink()
    assert run_here(*words).status == 0
    assert (place / "2.safetensors").read_bytes() == content


def test_the_same_line_again_shows_the_same_but_the_seconds(solutions):
    words = ("align", *solutions.some(0, 1), "-o", "b.safetensors")
    first, second = run_here(*words).rows[0], run_here(*words).rows[0]
    assert first.pop("seconds") > 0
    assert second.pop("seconds") is None
    assert first == second


def test_a_missing_permutation_is_made_beside_a_finished_model(place, solutions):
    words = ("align", *solutions.some(0, 1), "-o", "b.safetensors", "--permutation", "p.safetensors")
    run_here(*words)
    content = (place / "p.safetensors").read_bytes()
    (place / "p.safetensors").unlink()
    assert run_here(*words).status == 0
    assert (place / "p.safetensors").read_bytes() == content


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
