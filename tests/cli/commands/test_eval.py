"""starcli eval: scores on every split, as recorded when trained."""

import pytest
from support.program import run_here

from starcli.checkpoints.checkpoint import read, read_metadata, write


def test_eval(solutions):
    ran = run_here("eval", *solutions.some(0, 1))
    stored = read_metadata(solutions[0])[1].metrics["test"]
    assert ran.rows[0]["nll"] == pytest.approx(stored["loss"], abs=1e-6)
    assert ran.rows[0]["accuracy"] == pytest.approx(stored["accuracy"])
    metrics = {"errors", "accuracy", "nll", "brier", "ece", "auroc_max_prob", "auroc_entropy", "aurc"}
    assert metrics <= set(ran.rows[1])
    for split in ("train", "validation"):
        assert run_here("eval", solutions[0], "--split", split).rows[0]["split"] == split
    fresh = run_here("eval", solutions[0], "--recalibrate").rows[0]
    assert fresh["nll"] != ran.rows[0]["nll"]
    assert (fresh["statistics"], "statistics" in ran.rows[0]) == ("recalibrate", False)


def test_a_network_that_computes_something_else_since_is_noted(solutions, tmp_path):
    """As one whose code was changed: the same weights, with another activation."""
    others = [tmp_path / f"{number}.safetensors" for number in (0, 1)]
    for own, place in zip(solutions.some(0, 1), others, strict=True):
        model = read(own)
        network = model.metadata.architecture
        other = network.model_copy(update={"arguments": {**network.arguments, "activation": "tanh"}})
        write(place, model.tensors, model.metadata.model_copy(update={"architecture": other}))

    def noted(*line):
        ran = run_here(*line)
        assert ran.status == 0, ran.err
        return ran.err.count("and its file records")

    assert noted("eval", solutions[0]) == 0
    assert noted("eval", *others) == 2
    assert noted("eval", others[0], "--limit", 100, "--val-fraction", 0) == 0  # other data
    words = ("--points", 3, "--align", "none")
    assert noted("barrier", *others, *words, "--statistics", "own-ends") == 2
    assert noted("barrier", *others, *words) == 0  # statistics are others than those of the files


def test_eval_without_a_validation_split(solutions):
    ran = run_here("eval", solutions[0], "--split", "validation", "--val-fraction", 0)
    assert ran.status == 1
    assert "--val-fraction" in ran.err


def test_a_temperature_is_fitted_on_validation_and_reported_on_test(solutions):
    """Against a grid over T, from the probabilities themselves; and against the row at that number."""
    import starcli as sc

    [row] = run_here("eval", solutions[0], "--temperature", "fit").rows
    plain = run_here("eval", solutions[0]).rows[0]
    assert {key: row[key] for key in plain} == plain
    assert row["fitted_on"] == "validation"
    assert row["scaled"]["errors"] == row["errors"]
    on_validation = {
        t: run_here("eval", solutions[0], "--split", "validation", "--temperature", t).rows[0]["scaled"]["nll"]
        for t in (row["temperature"], 0.97 * row["temperature"], 1.03 * row["temperature"])
    }
    assert min(on_validation, key=on_validation.get) == row["temperature"]
    [given] = run_here("eval", solutions[0], "--temperature", row["temperature"]).rows
    assert given["scaled"] == row["scaled"]
    assert "fitted_on" not in given
    assert sc.evaluate(solutions[0], temperature="fit")[0]["temperature"] == row["temperature"]


@pytest.mark.parametrize("words", [("fit", "--val-fraction", 0), ("0",), ("cold",), ("inf",)])
def test_what_cannot_be_a_temperature_is_an_error(solutions, words):
    ran = run_here("eval", solutions[0], "--temperature", *words)
    assert ran.status == 1
    assert "--val-fraction" in ran.err or "expected a number above 0, or fit" in ran.err
    assert ran.out == ""


def test_a_diagram_that_a_task_does_not_have_is_refused_before_any_work(tmp_path, monkeypatch):
    import numpy as np

    draws = np.random.RandomState(0)
    np.savez(tmp_path / "n.npz", x=draws.randn(40, 3).astype("f4"), y=draws.randn(40, 2))
    model, data = tmp_path / "m.safetensors", ("--data", tmp_path / "n.npz")
    run_here("train", "--arch", "mlp", *data, "--epochs", "1", "-o", model)
    monkeypatch.setattr("starcli.evaluation.rows.evaluation_rows", None)
    ran = run_here("eval", model, *data, "--plot", tmp_path / "n.png")
    assert (ran.status, ran.rows) == (1, [])
    assert "--plot: reliability diagrams are of classes, and the task is regression" in ran.err


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_the_note_on_a_held_out_fifth_says_how_all_rows_are_measured(place, suffix):
    mark = {".csv": ",", ".tsv": "\t"}[suffix]
    rows = [(f"{number / 40}", f"{(7 * number % 40) / 40}", f"{number // 20}") for number in range(40)]
    text = "\n".join(mark.join(row) for row in [("a", "b", "label"), *rows])
    (place / f"new{suffix}").write_text(text)
    network = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=4", "--epochs", 1)
    assert run_here("train", *network, "--data", f"table:new{suffix}", "-o", "m.safetensors").status == 0

    def measured(data):
        ran = run_here("eval", "m.safetensors", "--data", data)
        return ran.err, sum(ran.rows[0]["reliability"]["count"])

    note = f"8 of 40; to measure on all of it, call it test{suffix}, alone in a folder"
    words, count = measured(f"table:new{suffix}")
    assert (note in words, count) == (True, 8)
    (place / "all").mkdir()
    (place / f"new{suffix}").rename(place / "all" / f"test{suffix}")
    assert measured("table:all")[1] == 40
