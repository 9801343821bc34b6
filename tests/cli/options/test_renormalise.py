"""--renormalise and --renormalise-logits: what is measured is what is written, said in results, and kept apart."""

from pathlib import Path

import pytest
from support.program import run_here
from support.refused import refused
from support.tensors import same

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata

pytestmark = pytest.mark.usefixtures("own_cache")

REPAIR = ("--renormalise", "repair")
WITH_LOGITS = (*REPAIR, "--renormalise-logits")


def test_written_points_have_the_losses_that_were_measured(solutions, place):
    [row] = run_here("barrier", *solutions.some(0, 1), "--points", 5, "--align", "weight", *WITH_LOGITS).rows
    assert row["renormalise"] == "repair, logits"
    run_here(
        "interpolate", *solutions.some(0, 1), "--align", "weight", "--t", *row["t"], *WITH_LOGITS,
        "-o", "{t}.safetensors",
    )  # fmt: skip
    for position, t in enumerate(row["t"]):
        for split in ("train", "test"):
            [found] = run_here("eval", f"{t:g}.safetensors", "--split", split, "--recalibrate").rows
            assert found["nll"] == pytest.approx(row[split]["loss"][position], rel=1e-6)
            assert found["accuracy"] == row[split]["accuracy"][position]
        recipe = read_metadata(place / f"{t:g}.safetensors")[1].recipe
        assert recipe["interpolate"]["renormalise"] == "repair, logits"
    [stored] = run_here("eval", "0.5.safetensors", "--split", "test").rows
    assert stored["nll"] == pytest.approx(row["test"]["loss"][2], rel=1e-6)


def test_the_default_says_nothing_in_files_and_all_are_kept_apart(solutions, place):
    words = ("barrier", *solutions.some(0, 1), "--points", 3)
    ran = [run_here(*words, *more) for more in ((), REPAIR, WITH_LOGITS, ("--renormalise-logits",))]
    rows = [each.rows[0] for each in ran]
    assert [row["renormalise"] for row in rows] == ["recalibrate", "repair", "repair, logits", "recalibrate, logits"]
    assert len({row["train"]["loss"][1] for row in rows}) == 4
    assert len({row["train"]["loss"][0] for row in rows}) == 1
    again = [run_here(*words, *more).rows[0] for more in ((), REPAIR, WITH_LOGITS, ("--renormalise-logits",))]
    assert again == rows
    assert "note: repaired: fc1\n" in ran[1].err
    assert "note: repaired: fc1 and the logits, of fc2\n" in ran[2].err
    run_here("interpolate", *solutions.some(0, 1), "-o", "usual.safetensors")
    run_here("interpolate", *solutions.some(0, 1), "--renormalise", "recalibrate", "-o", "said.safetensors")
    assert Path("usual.safetensors").read_bytes() == Path("said.safetensors").read_bytes()
    assert "renormalise" not in read_metadata(Path("usual.safetensors"))[1].recipe["interpolate"]


def test_tables_say_what_is_not_the_default(solutions):
    words = ("barrier", *solutions.some(0, 1), "--points", 3, "--format", "table")
    assert "renormalised" not in run_here(*words).out
    assert "renormalised: repair, logits" in run_here(*words, *WITH_LOGITS).out


def test_a_star_its_pairs_and_averages(solutions, star):
    roles = ("--sources", *solutions.some(0, 1, 2), "--held-out", *solutions.some(3, 4), "--align", "weight")
    rows = run_here("barrier", "--star", star, *roles, "--points", 3, *WITH_LOGITS).rows
    assert {row["renormalise"] for row in rows} == {"repair, logits"}
    assert {row["type"] for row in rows} == {"barrier", "summary", "star"}
    rows = run_here(
        "barrier", *solutions.some(0, 1, 2), "--all-pairs", "--align", "weight", "--points", 3, *REPAIR
    ).rows
    assert {row["renormalise"] for row in rows} == {"repair"}
    words = ("bma", "--star", star, "--sources", *solutions.some(0, 1, 2), "--samples", 2, "--repeats", 2)
    usual, repaired = run_here(*words).rows, run_here(*words, *WITH_LOGITS).rows
    for one, other in zip(usual, repaired, strict=True):
        between = "repair, logits" if one["posterior"] == "star" else "recalibrate"  # there are points of a star alone
        assert (one["renormalise"], other["renormalise"]) == ("recalibrate", between)
        assert (one["nll"] == other["nll"]) == (one["posterior"] != "star")
    assert run_here(*words).rows == usual


@pytest.mark.filterwarnings("ignore:repaired")
def test_the_library_says_the_same(solutions):
    a, b = sc.load(*solutions.some(0, 1))
    [row] = run_here("barrier", *solutions.some(0, 1), "--points", 3, *WITH_LOGITS).rows
    with sc.no_cache():
        found = sc.barrier(a, b, points=3, alignment=None, renormalise="repair", renormalise_logits=True)
    assert found.curves["train"].loss == tuple(row["train"]["loss"])
    run_here("interpolate", *solutions.some(0, 1), *REPAIR, "-o", "mean.safetensors")
    sc.save(sc.interpolate(a, b, alignment=None, renormalise="repair"), "mine.safetensors")
    assert Path("mine.safetensors").read_bytes() == Path("mean.safetensors").read_bytes()
    with pytest.raises(sc.StarcliError, match="repiar"):
        sc.barrier(a, b, renormalise="repiar")
    with pytest.raises(sc.StarcliError, match="renormalise repair and renormalise_logits are for points between"):
        sc.interpolate(a, perturb=1.0, renormalise="repair")


@pytest.mark.parametrize("words", [("--perturb", 1), ("--t", 1.5), ("--weights", -1, 2)])
def test_points_that_lie_between_no_models_are_refused(solutions, words):
    models = solutions.some(0) if words[0] == "--perturb" else solutions.some(0, 1)
    refused(run_here("interpolate", *models, *words, *REPAIR, "-o", "x.safetensors"), "points between models")
    assert not Path("x.safetensors").exists()


def test_predictions_of_a_star_domain_are_those_of_its_average(solutions, star):
    roles = ("--star", star, "--sources", *solutions.some(0, 1, 2), "--samples", 2)
    [row] = run_here("predict", *roles, *WITH_LOGITS, "-o", "p.csv").rows
    averaged = [
        each for each in run_here("bma", *roles, "--repeats", 1, *WITH_LOGITS).rows if each["posterior"] == "star"
    ]
    assert (row["renormalise"], row["accuracy"]) == ("repair, logits", averaged[0]["accuracy"])
    [usual] = run_here("predict", *roles, "-o", "u.csv").rows
    assert "renormalise" not in usual
    assert usual["entropy"] != row["entropy"]
    refused(run_here("predict", solutions[0], *REPAIR, "-o", "x.csv"), "--star")


def test_means_beside_a_fused_model(solutions):
    words = ("fuse", "--sources", *solutions.some(0, 1, 2), "--epochs", 1, "-o", "fused.safetensors")
    before, after = run_here(*words).rows, run_here(*words, *REPAIR).rows
    for one, other in zip(before, after, strict=True):
        is_mean = one["model"].endswith("mean")
        assert (one["renormalise"], other["renormalise"]) == ("recalibrate", "repair" if is_mean else "recalibrate")
        assert (one["loss"] == other["loss"]) != is_mean
    run_here("interpolate", *solutions.some(0, 1, 2), *REPAIR, "-o", "mean.safetensors")
    [written] = run_here("eval", "mean.safetensors", "--split", "test", "--recalibrate").rows
    [shown] = [row for row in after if row["model"] == "mean" and row["split"] == "test"]
    assert shown["loss"] == pytest.approx(written["nll"], rel=1e-6)


def test_lines_of_a_star_in_its_log(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--epochs", 1)
    refused(run_here(*words, *REPAIR, "-o", "x.safetensors"), "--held-out")
    held_out = ("--held-out", solutions[2])
    run_here(*words, *held_out, "-o", "usual.safetensors")
    assert run_here(*words, *held_out, *WITH_LOGITS, "-o", "repaired.safetensors").status == 0
    one, other = sc.load("usual.safetensors", "repaired.safetensors")
    assert same(one.tensors, other.tensors)
    usual, repaired = (read_metadata(Path(f"{name}.safetensors"))[1] for name in ("usual", "repaired"))
    assert repaired.recipe["star"] == {**usual.recipe["star"], "renormalise": "repair, logits"}
    usual, repaired = (Path(f"{name}.metrics.jsonl").read_text() for name in ("usual", "repaired"))
    assert '"renormalise": "repair, logits"' in repaired
    assert "renormalise" not in usual
    refused(run_here(*words, *held_out, *WITH_LOGITS, "-o", "usual.safetensors"), "usual.safetensors")  # another log


@pytest.mark.filterwarnings("ignore:repaired")
def test_a_mean_is_fused_as_its_row_shows(solutions, place):
    words = ("fuse", "--sources", *solutions.some(0, 1, 2), "--method", "mean", "--split", "test")
    rows = run_here(*words, *REPAIR, "-o", "mean.safetensors").rows
    losses = {row["model"]: row["loss"] for row in rows}
    repaired = {row["model"] for row in rows if row["renormalise"] == "repair"}
    assert repaired == {"fused", "mean", "aligned_mean", "joint_mean"}
    assert losses["fused"] == pytest.approx(losses["joint_mean"], rel=1e-6)
    assert read_metadata(Path("mean.safetensors"))[1].recipe["fused"]["renormalise"] == "repair"
    sources = sc.load(*solutions.some(0, 1, 2))
    sc.save(sc.fuse(sources, method="mean", renormalise="repair"), "mine.safetensors")
    assert Path("mine.safetensors").read_bytes() == Path("mean.safetensors").read_bytes()
    run_here(*words, "-o", "usual.safetensors")
    assert "renormalise" not in read_metadata(Path("usual.safetensors"))[1].recipe["fused"]
