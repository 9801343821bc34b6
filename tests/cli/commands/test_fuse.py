"""starcli fuse: the fused model beside its sources, the best of them, their ensemble and their mean."""

from pathlib import Path

from support.program import run_here
from support.refused import refused

from starcli.checkpoints.checkpoint import read_metadata
from starcli.checkpoints.hashes import file_sha256


def test_fuse(solutions, place):
    words = ("fuse", "--sources", *solutions.some(0, 1), "--epochs", 2, "-o", "f.safetensors")
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    assert read_metadata(place / "f.safetensors")[1].kind == "fused"
    test = [row for row in ran.rows if row["split"] == "test"]
    means = ["mean", "aligned_mean", "joint_mean"]
    assert [row["model"] for row in test] == ["fused", "source", "source", "best_source", "ensemble", *means]
    validation = [row for row in ran.rows if row["split"] == "validation"]
    best = min((row for row in validation if row["model"] == "source"), key=lambda row: row["loss"])
    chosen = next(row for row in validation if row["model"] == "best_source")
    assert (chosen["name"], chosen["selected_on"]) == (best["name"], "validation")
    assert all({"model", "split", "accuracy", "loss"} <= set(row) for row in ran.rows)
    used = {row["model"]: row["weights"] for row in ran.rows}
    assert len(used["ensemble"]) == 2
    assert all(used[mean] == used["ensemble"] for mean in means)
    assert used["best_source"][0] in used["ensemble"]
    assert used["fused"] == [file_sha256(Path("f.safetensors"))[:12]]
    assert all(row["data"]["name"] == "digits" and row["program"] for row in ran.rows)
    assert run_here(*words).out == ran.out
    table = run_here(*words, "--format", "markdown").out
    assert table.count("\n| source |") == 2  # a line for each model, its splits side by side
    assert f"| {best['loss']:.4f} | {best['accuracy']:.2%} |" in table
    assert "| best source |" in table
    assert run_here(*words, "--split", "validation").rows == validation


def test_means_are_of_the_sources_as_they_are_and_aligned_jointly(solutions, place):
    """They are what align, interpolate and eval make of them, with the alignment that was asked for."""
    sources, how = solutions.some(0, 1, 2), ("--restarts", 2)
    ran = run_here("fuse", "--sources", *sources, "--epochs", 1, *how, "-o", "f.safetensors", "--split", "test")
    found = {row["model"]: row for row in ran.rows}
    run_here("align", *sources, "--joint", *how, "-o", "a{name}.safetensors")
    for kind, models in {"mean": sources, "joint_mean": [sources[0], "a1.safetensors", "a2.safetensors"]}.items():
        made = run_here("interpolate", *models, "--weights", *[1 / 3] * 3, "-o", f"{kind}.safetensors")
        assert made.status == 0, made.err
        [row] = run_here("eval", f"{kind}.safetensors").rows
        assert found[kind]["loss"] == row["nll"]
    ran = run_here("fuse", "--sources", *sources, "--epochs", 1, "--align", "none", "-o", "g.safetensors")
    means = {row["model"]: row["loss"] for row in ran.rows if row["split"] == "test" and "mean" in row["model"]}
    assert means == dict.fromkeys(("aligned_mean", "mean"), found["mean"]["loss"])


def test_a_split_that_is_not_there_is_refused_before_the_search(solutions, place):
    ran = run_here("fuse", "--sources", *solutions.some(0, 1), "-o", "f.safetensors", "--split", "validation",
                   "--val-fraction", 0)  # fmt: skip
    refused(ran, "there is no validation split")
    assert list(place.iterdir()) == []


def test_an_infinite_weight_is_refused(solutions, place):
    refused(run_here("fuse", "--sources", *solutions.some(0, 1), "--mu", "inf", "-o", "f.safetensors"), "mu is")
    assert list(place.iterdir()) == []
