"""starcli star and fuse: what they write, inherit, log, keep and show."""

import json

import pytest
from conftest import run_here
from safetensors.torch import load_file

from starcli.checkpoint import read_metadata


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_star_says_what_it_was_made_from(star, solutions):
    _, metadata = read_metadata(star)
    assert metadata.kind == "star"
    assert metadata.statistics == "recalibrated"
    assert [read_metadata(solutions[n])[1].weights_sha256 for n in range(3)] == metadata.parents
    assert {ancestor.name for ancestor in metadata.ancestors} == {f"{n}.safetensors" for n in range(3)}
    assert metadata.recipe["epochs"] == 3  # the sources' own
    assert metadata.recipe["star"]["method"] == "weight"


def test_permuted_sources_are_kept_with_the_same_function(star, solutions):
    kept = sorted((star.parent / "aligned").iterdir())
    assert [path.name for path in kept] == ["0.safetensors", "1.safetensors", "2.safetensors"]
    [own] = run_here("eval", solutions[1]).rows
    [permuted] = run_here("eval", kept[1]).rows
    assert permuted["nll"] == pytest.approx(own["nll"], abs=1e-6)
    assert sorted(load_file(kept[1])["fc1.bias"].tolist()) == sorted(load_file(solutions[1])["fc1.bias"].tolist())
    aligned = read_metadata(kept[1])[1].aligned_to
    assert aligned is not None
    assert aligned.reference == read_metadata(star)[1].weights_sha256


def test_seeds_epochs_and_the_log(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--held-out", solutions[3], "--eval-every", 1)
    ran = run_here(*words, "--epochs", 2, "--seeds", "0-1", "-o", "s{seed}.safetensors")
    assert ran.status == 0, ran.err
    assert [(row["seed"], row["sources"], row["alignment"]) for row in ran.rows] == [
        (0, 2, "weight, 1 restart"), (1, 2, "weight, 1 restart"),
    ]  # fmt: skip
    rows = [json.loads(line) for line in (place / "s0.metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"loss", "moved", "held_out"} <= set(rows[0])
    again = run_here(*words, "--epochs", 2, "--seeds", "0-1", "-o", "s{seed}.safetensors")
    assert again.out == ran.out


def test_measuring_held_out_models_changes_no_weight(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--epochs", 1)
    run_here(*words, "-o", "plain.safetensors")
    run_here(*words, "--held-out", solutions[3], "--eval-every", 1, "-o", "watched.safetensors")
    hashes = {read_metadata(place / f"{name}.safetensors")[1].weights_sha256 for name in ("plain", "watched")}
    assert len(hashes) == 1


def test_each_setting_counts(solutions, place):
    words = ("star", "--sources", *solutions.some(0, 1), "--epochs", 1, "-o", "x.safetensors")
    assert run_here(*words).status == 0
    for more, expected in (
        (("--sampling", "beta"), "star sampling: uniform there, beta asked for"),
        (("--realign-every", "never"), "star realign_every"),
        (("--align", "none"), "star method"),
        (("--init", solutions[2]), "star init"),
    ):
        ran = run_here(*words, *more)
        assert ran.status == 1
        assert expected in ran.err
    ran = run_here("star", "--sources", *solutions.some(0, 2), "--epochs", 1, "-o", "x.safetensors")
    assert "made from: 0.safetensors, 1.safetensors there, 0.safetensors, 2.safetensors asked for" in ran.err


def test_sources_trained_differently_need_a_recipe(solutions, place):
    network = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--limit", 300, "--val-fraction", 0.2)
    run_here("train", *network, "--epochs", 1, "-o", "short.safetensors")
    words = ("star", "--sources", solutions[1], "short.safetensors", "-o", "s.safetensors")
    ran = run_here(*words)
    assert ran.status == 1
    assert "epochs" in ran.err
    assert "--recipe" in ran.err
    assert run_here(*words, "--recipe", "default", "--epochs", 1).status == 0


def test_fuse(solutions, place):
    words = ("fuse", "--sources", *solutions.some(0, 1), "--epochs", 2, "-o", "f.safetensors")
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    assert read_metadata(place / "f.safetensors")[1].kind == "fused"
    test = [row for row in ran.rows if row["split"] == "test"]
    assert [row["model"] for row in test] == ["fused", "source", "source", "best_source", "ensemble", "aligned_mean"]
    validation = [row for row in ran.rows if row["split"] == "validation"]
    best = min((row for row in validation if row["model"] == "source"), key=lambda row: row["loss"])
    chosen = next(row for row in validation if row["model"] == "best_source")
    assert (chosen["name"], chosen["selected_on"]) == (best["name"], "validation")
    assert all({"model", "split", "accuracy", "loss"} <= set(row) for row in ran.rows)
    assert run_here(*words).out == ran.out


def test_bma(solutions, star, place):
    words = ("bma", "--star", star, "--sources", *solutions.some(0, 1, 2), "--samples", 4, "--repeats", 2)
    ran = run_here(*words, "--plot", "b.png")
    assert ran.status == 0, ran.err
    found = [(row["posterior"], row["samples"]) for row in ran.rows]
    expected = [("single", 1), *(("star", k) for k in (2, 3, 4)), *(("ensemble", k) for k in (2, 3))]
    assert sorted(found) == sorted(expected)
    metrics = {"errors", "accuracy", "nll", "brier", "ece", "auroc_max_prob", "auroc_entropy", "aurc"}
    for row in ran.rows:
        assert metrics | {f"{name}_std" for name in metrics} <= set(row)
    assert (place / "b.png").exists()
    assert run_here(*words).out == ran.out


def test_a_star_on_stdout(solutions):
    ran = run_here("star", "--sources", *solutions.some(0, 1), "--epochs", 1, "-o", "-")
    assert ran.status == 0, ran.err
    assert '"type": "star"' in ran.err
    [row] = run_here("eval", "-", stdin=ran.stdout).rows
    assert row["model"] == "stdin"
