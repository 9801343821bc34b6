"""starcli fuse: the fused model beside its sources, the best of them, their ensemble and their mean."""

import json
from pathlib import Path

import pytest
import torch
from support.program import run_here
from support.refused import refused

import starcli as sc
from starcli.checkpoints import checkpoint
from starcli.checkpoints.checkpoint import read_metadata
from starcli.checkpoints.hashes import file_sha256


def test_what_is_fused_is_called_so_unless_told(solutions, place):
    ran = run_here("fuse", "--method", "mean", "--align", "none", "--sources", *solutions.some(0, 1))
    assert ran.status == 0, ran.err
    assert {row["output"] for row in ran.rows} == {"fused.safetensors"}
    assert read_metadata(place / "fused.safetensors")[1].kind == "fused"


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
    run_here("align", *sources, "--joint", "--method", "activation", *how, "-o", "a{name}.safetensors")
    for kind, models in {"mean": sources, "joint_mean": [sources[0], "a1.safetensors", "a2.safetensors"]}.items():
        made = run_here("interpolate", *models, "--weights", *[1 / 3] * 3, "-o", f"{kind}.safetensors")
        assert made.status == 0, made.err
        [row] = run_here("eval", f"{kind}.safetensors").rows
        assert found[kind]["loss"] == row["nll"]
    ran = run_here("fuse", "--sources", *sources, "--epochs", 1, "--align", "none", "-o", "g.safetensors")
    means = {row["model"]: row["loss"] for row in ran.rows if row["split"] == "test" and "mean" in row["model"]}
    assert means == dict.fromkeys(("aligned_mean", "mean"), found["mean"]["loss"])


def test_a_fused_model_that_goes_to_stdout_is_called_so(solutions, place):
    words = ("fuse", "--sources", *solutions.some(0, 1), "--method", "mean", "--align", "none", "--split", "test")
    ran = run_here(*words, "-o", "-")
    [name] = {row["name"] for row in map(json.loads, ran.err.splitlines()) if row["model"] == "fused"}
    assert name == "stdout"


def test_a_split_that_is_not_there_is_refused_before_the_search(solutions, place):
    ran = run_here("fuse", "--sources", *solutions.some(0, 1), "-o", "f.safetensors", "--split", "validation",
                   "--val-fraction", 0)  # fmt: skip
    refused(ran, "there is no validation split")
    assert list(place.iterdir()) == []


def test_an_infinite_weight_is_refused(solutions, place):
    refused(run_here("fuse", "--sources", *solutions.some(0, 1), "--mu", "inf", "-o", "f.safetensors"), "mu is")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("method", ["mean", "greedy-soup", "distil"])
def test_other_methods_write_what_they_are_and_what_they_kept(solutions, place, method):
    sources = solutions.some(0, 1, 2)
    training = ["--epochs", 2] if method == "distil" else []
    words = ("fuse", "--sources", *sources, "--method", method, *training, "-o", "f.safetensors")
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    metadata = read_metadata(place / "f.safetensors")[1]
    assert (metadata.kind, metadata.statistics, len(metadata.parents)) == ("fused", "recalibrated", 3)
    assert metadata.recipe["fused"] == {
        "fusion": method, "method": "activation", "restarts": 1,
        "examples": 256, "share": 0.5, "gains": "least-squares",
    }  # fmt: skip
    test = {row["model"]: row for row in ran.rows if row["split"] == "test"}
    assert test["fused"]["loss"] == pytest.approx(metadata.metrics["test"]["loss"], rel=1e-6)
    assert {row["method"] for row in ran.rows} == {method}
    if method == "mean":
        assert test["fused"]["loss"] == test["joint_mean"]["loss"]
    if method == "greedy-soup":
        assert set(test["fused"]["kept"]) <= {"0.safetensors", "1.safetensors", "2.safetensors"}
        assert test["fused"]["selected_on"] == "validation"
    assert run_here(*words).out == ran.out
    fused = sc.fuse(sources, method=method, **({"epochs": 2} if training else {}))
    sc.save(fused, "mine.safetensors")
    assert (place / "mine.safetensors").read_bytes() == (place / "f.safetensors").read_bytes()
    [row] = [row for row in fused.comparison if (row["model"], row["split"]) == ("fused", "test")]
    assert row["loss"] == test["fused"]["loss"]


def test_options_without_use_are_refused_before_any_work(solutions, place):
    sources = ("--sources", *solutions.some(0, 1), "-o", "f.safetensors")
    for words, named in {
        ("--method", "mean", "--mu", 0.5, "--lr", 0.1): "--method mean has no use for --lr, --mu",
        ("--method", "greedy-soup", "--init", solutions[0]): "--method greedy-soup has no use for --init",
        ("--method", "distil", "--realign-every", "never"): "--method distil has no use for --realign-every",
        ("--method", "mean", "--align", "none", "--seed", 3): "--seed 3: --method mean of models as they are draws",
        ("--method", "linear", "--align", "none", "--seed", 1): "--seed 1: --method linear of models as they are",
    }.items():
        refused(run_here("fuse", *sources, *words), named)
    assert list(place.iterdir()) == []
    with pytest.raises(sc.StarcliError, match="method mean has no use for mu, epochs"):
        sc.fuse(solutions.some(0, 1), method="mean", mu=0.5, epochs=3)
    with pytest.raises(sc.StarcliError, match="did you mean mean"):
        sc.fuse(solutions.some(0, 1), method="means")


def test_a_star_domain_is_distilled_alike_in_the_library(solutions, place):
    star, *sources = solutions.some(0, 1, 2)
    words = ("--method", "distil", "--star", star, "--samples", 2, "--sampling", "beta:5,1", "--in-turn", "--epochs", 1)
    ran = run_here("fuse", "--sources", *sources, *words, "-o", "f.safetensors")
    assert ran.status == 0, ran.err
    metadata = read_metadata(place / "f.safetensors")[1]
    assert len(metadata.parents) == 3
    teacher = {"star": metadata.parents[2], "samples": 2, "sampling": "beta:5,1", "in_turn": True}
    assert metadata.recipe["fused"]["teacher"] == teacher
    how = {"samples": 2, "sampling": "beta:5,1", "in_turn": True, "epochs": 1}
    with pytest.warns(sc.StarcliWarning, match="is no star"):
        made = sc.fuse(sources, method="distil", star=star, **how)
    assert made.metadata.run_id == metadata.run_id
    assert made.sha256 == metadata.weights_sha256
    refused(run_here("fuse", "--sources", *sources, "--star", star, "-o", "g.safetensors"), "has no use for --star")


def test_a_mean_of_learned_elements(solutions, place):
    words = ("--sources", *solutions.some(0, 1, 2), "--method", "mean", "--align", "learn", "--align-steps", 3)
    ran = run_here("fuse", *words, "-o", "f.safetensors")
    assert ran.status == 0, ran.err
    aligned = sc.align_jointly(solutions[0], solutions.some(1, 2), method=sc.Alignment("learn", steps=3))
    models = [checkpoint.read(solutions[0]).tensors, *(each.tensors for each in aligned)]
    found = checkpoint.read(place / "f.safetensors").tensors
    for name in aligned[0].workspace.spec.resolved.learnable():
        assert torch.allclose(found[name], torch.stack([each[name] for each in models]).mean(0), atol=1e-6)


ACTIVATION, WEIGHT = "activation, 1 restart, 256 examples", "weight, 3 restarts"


def test_rows_and_tables_say_their_alignment(solutions, place):
    """Nothing is aligned for a source, an ensemble or the plain mean; a star is aligned to in each epoch."""
    plain = dict.fromkeys(("source", "best_source", "ensemble", "mean"), "none")
    words = ("fuse", "--sources", *solutions.some(0, 1), "--split", "test")
    for number, (more, own, others) in enumerate(
        [
            (("--epochs", 1), ACTIVATION, ACTIVATION),
            (("--epochs", 1, "--align", "weight", "--restarts", 3), f"{WEIGHT}, then 1 each epoch", WEIGHT),
            (("--method", "mean"), ACTIVATION, ACTIVATION),
            (("--method", "mean", "--align", "none"), "none", "none"),
        ]
    ):
        line = (*words, *more, "-o", f"{number}.safetensors")
        found = {row["model"]: row["alignment"] for row in run_here(*line).rows}
        joint = {} if others == "none" else {"joint_mean": others}
        assert found == {**plain, "fused": own, "aligned_mean": others, **joint}
        assert f"alignment: {own}\n" in run_here(*line, "--format", "table").out
    sources = sc.load(*solutions.some(0, 1))
    table = sc.fuse(sources, epochs=1, alignment=sc.Alignment("weight", restarts=3)).comparison
    assert table.column("alignment")[0] == f"{WEIGHT}, then 1 each epoch"


def test_sources_that_were_aligned_before_say_so(solutions, place):
    a, b = solutions.some(0, 1)
    run_here("align", a, b, "-o", "b.safetensors")
    words = ("fuse", "--sources", a, "b.safetensors", "--method", "mean", "--align", "none", "-o", "f.safetensors")
    found = {row["model"]: row["alignment"] for row in run_here(*words).rows}
    assert (found["fused"], found["mean"], found["source"]) == ("recorded", "recorded", "none")


def test_a_soup_of_one_source_is_not_renormalised(solutions, place):
    """A model of random weights only lowers the accuracy: the soup is the other one, as it is."""
    run_here("interpolate", solutions[1], "--perturb", 50, "-o", "random.safetensors")
    sources = [solutions[0], "random.safetensors"]
    words = ("fuse", "--sources", *sources, "--method", "greedy-soup", "--renormalise-logits", "-o", "f.safetensors")
    test = {row["model"]: row for row in run_here(*words, "--split", "test").rows}
    assert test["fused"]["kept"] == ["0.safetensors"]
    assert test["fused"]["loss"] == pytest.approx(test["best_source"]["loss"], rel=1e-6)
    assert test["fused"]["renormalise"] == "recalibrate"
    assert test["mean"]["renormalise"] == "recalibrate, logits"


def test_a_fused_star_is_not_renormalised_as_the_lines_to_held_out_models_are(solutions, place):
    words = ("fuse", "--sources", *solutions.some(0, 1), "--held-out", solutions[2], "--epochs", 1)
    rows = run_here(*words, "--renormalise-logits", "--split", "test", "-o", "f.safetensors").rows
    assert {row["model"]: row["renormalise"] for row in rows}["fused"] == "recalibrate"
