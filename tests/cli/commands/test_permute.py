"""starcli permute: permutations and elements that apply again, compose and invert, random ones that aligning undoes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.program import run_here, start_process
from support.tensors import same

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata


def equal(first, second):
    return same(load_file(first), load_file(second))


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
    assert "it was made for mlp (" in ran.err
    assert "hidden_dim=5" in ran.err


def near(first, second):
    one, two = load_file(first), load_file(second)
    return one.keys() == two.keys() and all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_random_elements_keep_the_function_and_are_undone(solutions):
    words = ("--random", "--kinds", "all", "--seed", 5, "-o", "r.safetensors", "--permutation", "e.safetensors")
    [row] = run_here("permute", solutions[0], *words).rows
    assert row["moved"] > 0
    assert 0 < row["difference"] < 1e-5
    assert not near("r.safetensors", solutions[0])
    [before] = run_here("eval", solutions[0]).rows
    [after] = run_here("eval", "r.safetensors").rows
    assert after["nll"] == pytest.approx(before["nll"], abs=1e-5)
    [back] = run_here("permute", "r.safetensors", "--by", "e.safetensors", "--invert", "-o", "back.safetensors").rows
    assert near("back.safetensors", solutions[0])
    assert read_metadata(Path("e.safetensors"))[1].kind == "element"
    assert back["moved"] == row["moved"]
    [again] = run_here("permute", solutions[0], *words).rows
    assert again == row | {"difference": None}  # finished already
    [found] = run_here("inspect", "e.safetensors").rows
    assert (found["kind"], found["proved"]) == ("element", True)


def test_several_act_in_order_and_are_written_as_one(solutions):
    for seed, kinds in ((1, "permutation"), (2, "all"), (3, "permutation")):
        words = ("--random", "--seed", seed, "--kinds", kinds, "--permutation", f"{seed}.p.safetensors")
        run_here("permute", solutions[0], *words, "-o", f"{seed}.safetensors")
    run_here("permute", "1.safetensors", "--by", "2.p.safetensors", "-o", "apart.safetensors")
    by = ("--by", "1.p.safetensors", "2.p.safetensors")
    [row] = run_here("permute", solutions[0], *by, "-o", "both.safetensors", "--permutation", "one.safetensors").rows
    assert row["by"] == "1.p.safetensors, 2.p.safetensors"
    assert near("both.safetensors", "apart.safetensors")
    run_here("permute", solutions[0], "--by", "one.safetensors", "-o", "again.safetensors")
    assert equal("again.safetensors", "both.safetensors")
    run_here("permute", "both.safetensors", *by, "--invert", "-o", "back.safetensors")
    assert near("back.safetensors", solutions[0])
    by = ("--by", "1.p.safetensors", "--by", "3.p.safetensors")
    ran = run_here("permute", solutions[0], *by, "-o", "plain.safetensors", "--permutation", "p.safetensors")
    assert "difference" not in ran.rows[0]
    assert read_metadata(Path("p.safetensors"))[1].kind == "permutation"


def test_an_element_keeps_its_precision_whatever_the_type_of_the_model(solutions):
    words = ("--random", "--kinds", "all", "--dtype", "bfloat16", "--permutation", "e.safetensors")
    run_here("permute", solutions[0], *words, "-o", "r.safetensors")
    assert {tensor.dtype for tensor in load_file("r.safetensors").values()} == {torch.bfloat16, torch.int64}
    assert {tensor.dtype for tensor in load_file("e.safetensors").values()} == {torch.int64, torch.float64}


def test_scores_of_other_training_examples_are_left_out(solutions):
    """They were kept, and eval said that the model computes something else than when it was made."""
    a, b = solutions.some(0, 1)
    lines = (("permute", b, "--random"), ("align", a, b), ("align", b, "--normal-form"))
    for number, line in enumerate(lines):
        for more, kept in (((), True), (("--limit", 40, "--val-fraction", 0), False)):
            path = Path(f"{number}-{kept}.safetensors")
            assert run_here(*line, *more, "-o", path).status == 0
            found = read_metadata(path)[1].metrics
            before = read_metadata(b)[1].metrics
            assert {name: found.get(name) for name in before} == {
                name: value if kept or name == "test" else None for name, value in before.items()
            }
            ran = run_here("eval", path, "--split", "train")
            assert ran.rows[0]["nll"] > 0
            assert "computes something else" not in ran.err
    limited = sc.permute(b, seed=0, limit=40, val_fraction=0.0)
    assert limited.metadata.metrics == read_metadata(Path("0-False.safetensors"))[1].metrics


def test_words_that_make_no_sense_are_refused(solutions):
    run_here("permute", solutions[0], "--random", "-o", "r.safetensors", "--permutation", "p.safetensors")
    by = ("--by", "p.safetensors")
    for words, said in (
        ((), "one of --by FILE and --random"),
        ((*by, "--random"), "one of --by FILE and --random"),
        ((*by, "--kinds", "all"), "--kinds is of a random element"),
        (("--random", "--kinds", "rotation"), "unknown choice 'rotation'"),
        ((*by, "--permutation", "p.safetensors"), "is an input"),
        (("--by", "p.safetensors", "nothing.safetensors"), "nothing.safetensors: cannot read"),
    ):
        ran = run_here("permute", solutions[0], *words, "-o", "x.safetensors")
        assert ran.status in (1, 2)
        assert said in ran.err
        assert not Path("x.safetensors").exists()
    ran = run_here("permute", solutions[0], *by, "-o", "-", "--permutation", "-")
    assert "stdout takes one file" in ran.err
    ran = run_here("eval", "p.safetensors")
    assert "holds a permutation" in ran.err


@pytest.mark.slow
def test_elements_go_through_pipes(solutions):
    words = ("permute", solutions[0], "--random", "--kinds", "all", "-o", "r.safetensors", "--permutation", "-")
    made = run_here(*words)
    assert '"difference"' in made.err  # the rows make way for the file
    applying = start_process(("permute", solutions[0], "--by", "-", "-o", "again.safetensors"), stdin=-1)
    out, _ = applying.communicate(made.stdout, timeout=120)
    assert applying.returncode == 0, out
    assert equal("again.safetensors", "r.safetensors")
