"""starcli bma: scores of averaged predictions, for stars, ensembles and single models."""

from pathlib import Path

import pytest
from support.program import run_here

import starcli as sc
from starcli.checkpoints.checkpoint import read, write
from starcli.files.cache import cache_directory


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
    assert run_here(*words).rows == ran.rows
    assert not [*(cache_directory() / "bma").glob("*")]  # parts of what is there as a whole


def test_a_star_that_is_no_solution_is_named(solutions, star, place):
    found = read(star)
    tensors = {name: -5 * value if value.is_floating_point() else value for name, value in found.tensors.items()}
    write(Path("weak.safetensors"), tensors, found.metadata)
    for given, notes in ((star, 0), ("weak.safetensors", 1)):
        ran = run_here("bma", "--star", given, "--sources", *solutions.some(0, 1), "--samples", 2, "--repeats", 1)
        assert ran.err.count("is hardly a solution: its training loss is") == notes, ran.err


def test_bma_chooses_on_validation_and_reports_on_test(solutions, star):
    words = ("bma", "--star", star, "--sources", *solutions.some(0, 1, 2), "--samples", 4, "--repeats", 2)
    plain = run_here(*words).rows
    on_validation = {(r["posterior"], r["samples"]): r for r in run_here(*words, "--split", "validation").rows}
    ran = run_here(*words, "--choose")
    *rows, star_row, ensemble_row = ran.rows
    for row, before in zip(rows, plain, strict=True):
        assert row.pop("validation_nll") == on_validation[row["posterior"], row["samples"]]["nll"]
        assert row == before
    for row in (star_row, ensemble_row):
        assert row.pop("selected_on") == "validation"
        others = [r for (name, k), r in on_validation.items() if name == row["posterior"] and k > 1]
        assert row.pop("validation_nll") == min(r["nll"] for r in others)
        assert row in rows
    assert {row["split"] for row in ran.rows} == {"test"}
    assert run_here(*words, "--choose").out == ran.out  # from the cache
    table = run_here(*words, "--choose", "--format", "table").out
    assert all(text in table for text in ("star, chosen", "ensemble, chosen", "split: test"))
    refused = run_here(*words, "--choose", "--split", "validation")
    assert refused.status == 1
    assert "leave out --split" in refused.err


def test_the_star_is_held_against_the_ensemble_of_as_many(solutions, star, monkeypatch):
    words = ("bma", "--star", star, "--sources", *solutions.some(0, 1), "--samples", 3, "--repeats", 2, "--in-turn")
    ran = run_here(*words, "--sampling", "beta:5,1", "--temperature", 2)
    star_rows = {row["samples"]: row for row in ran.rows if row["posterior"] == "star"}
    [ensemble] = [row for row in ran.rows if row["posterior"] == "ensemble"]
    assert [star_rows[k]["ensemble_samples"] for k in (2, 3)] == [2, 2]
    assert star_rows[3]["against_ensemble"]["nll"]["difference"] == pytest.approx(star_rows[3]["nll"] - ensemble["nll"])
    assert not {"against_ensemble", "ensemble_samples", "sampling", "in_turn", "fitted_on"} & ensemble.keys()
    row = star_rows[2]
    assert (row["sampling"], row["in_turn"]) == ("beta:5,1", True)
    assert {each["seed"] for each in ran.rows} == {0}
    for key, of in (
        ("against_ensemble", (row, ensemble)),
        ("scaled_against_ensemble", (row["scaled"], ensemble["scaled"])),
    ):
        for metric, found in row[key].items():
            assert found["difference"] == pytest.approx(of[0][metric] - of[1][metric], abs=1e-12)
            assert found["low"] <= found["difference"] <= found["high"]
    table = run_here(*words, "--sampling", "beta:5,1", "--format", "table").out
    assert all(word in table for word in ("than ensemble", "of 2, ", "\n t drawn: beta:5,1\n sources in turn: yes\n"))
    monkeypatch.setenv("COLUMNS", "80")
    narrow = run_here(*words, "--temperature", 2, "--format", "table").out
    assert "than" in narrow
    assert "than ensemble" not in narrow.partition("left out for width")[2]
    for said, problem in (("beta:1", "expected beta for t from Beta"), ("betta", "did you mean beta")):
        refused = run_here(*words, "--sampling", said)
        assert refused.status
        assert problem in refused.err


def test_a_temperature_is_that_of_the_average(solutions, star):
    """At T = 1 nothing changes; fitted, it lies where the validation loss of the pooled predictions is least."""
    words = ("bma", "--star", star, "--sources", *solutions.some(0, 1, 2), "--samples", 2, "--repeats", 1)
    for row in run_here(*words, "--temperature", 1).rows:
        for name in ("nll", "brier", "errors"):
            assert row["scaled"][name] == pytest.approx(row[name], rel=1e-9)
    fitted = {row["posterior"]: row for row in run_here(*words, "--temperature", "fit").rows}["star"]
    losses = {}
    for t in (0.9, 1.0, 1.1):
        ran = run_here(*words, "--split", "validation", "--temperature", t * fitted["temperature"])
        losses[t] = {row["posterior"]: row for row in ran.rows}["star"]["scaled"]["nll"]
    assert min(losses, key=losses.get) == 1.0


@pytest.mark.parametrize("words", [("--split", "validation"), ("--choose",), ("--temperature", "fit")])
def test_nothing_is_chosen_without_a_validation_split(solutions, words):
    """And nothing else is said, such as that the star is none."""
    models = ("--star", solutions[3], "--sources", *solutions.some(0, 1, 2))
    ran = run_here("bma", *models, "--val-fraction", 0, *words)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("starcli: there is no validation split\n")
    assert "--val-fraction" in ran.err


@pytest.mark.parametrize("sampling", ["ends", "constant:1"])
def test_nothing_is_renormalised_where_no_point_lies_between(solutions, star, place, sampling):
    """Rows said that points were repaired."""
    words = ("--star", star, "--sources", *solutions.some(0, 1), "--samples", 2, "--sampling", sampling)
    for line in (("bma", *words), ("predict", *words, "-o", "p.csv")):
        for how in (("--renormalise", "repair"), ("--renormalise-logits",)):
            ran = run_here(*line, *how)
            assert (ran.status, ran.out) == (1, "")
            assert f"--renormalise is for points between star and sources, and --sampling {sampling} draws" in ran.err
    assert not (place / "p.csv").exists()
    with pytest.raises(sc.StarcliError, match="renormalise is for points between"):
        sc.bma(star, solutions.some(0, 1), sampling=sampling, renormalise="repair")


def test_the_table_says_its_alignment(solutions, star):
    words = ("bma", "--star", star, "--sources", *solutions.some(0, 1), "--samples", 2, "--repeats", 1)
    for more in ("none", "weight"):
        ran = run_here(*words, "--align", more, "--format", "table")
        assert f"alignment: {'none' if more == 'none' else 'weight, 1 restart'}\n" in ran.out
