"""starcli barrier: the three questions, the keys of its objects, what alignment it says, figures, and its cache."""

from pathlib import Path

import numpy as np
import pytest
from support.program import run_here

from starcli.checkpoints.checkpoint import read, write
from starcli.evaluation.evaluator import Evaluator
from starcli.version import __version__

pytestmark = pytest.mark.usefixtures("own_cache")

KEYS = {"schema", "type", "a", "b", "kinds", "points", "alignment", "statistics", "renormalise", "t", "train", "test"}
KEYS |= {"path", "weights", "architecture", "data", "precision", "program"}
CURVE = {"loss", "accuracy", "loss_barrier", "accuracy_barrier", "loss_max", "t_max"}


def test_a_pair(solutions):
    ran = run_here("barrier", *solutions.some(0, 1), "--points", 5)
    [row] = ran.rows
    assert set(row) == KEYS
    assert row["t"] == [0, 0.25, 0.5, 0.75, 1]
    assert (row["a"], row["b"], row["alignment"]) == ("0.safetensors", "1.safetensors", "none")
    for split in ("train", "test"):
        curve = row[split]
        assert set(curve) == CURVE
        line = [(1 - t) * curve["loss"][0] + t * curve["loss"][-1] for t in row["t"]]
        rise = max(loss - at for loss, at in zip(curve["loss"], line, strict=True))
        assert curve["loss_barrier"] == pytest.approx(rise)
        assert curve["accuracy_barrier"] >= 0
    assert "never aligned" in ran.err
    assert "starcli align" in ran.err
    assert "--align weight" in ran.err


def test_a_pair_on_the_validation_split(solutions):
    """The key is `validation`; the losses of the ends are those of eval."""
    words = ("barrier", *solutions.some(0, 1), "--points", 3, "--statistics", "own-ends")
    on_test, [row] = run_here(*words).rows[0], run_here(*words, "--split", "validation").rows
    assert set(row) == KEYS - {"test"} | {"validation"}
    assert row["train"] == on_test["train"]
    ends = run_here("eval", *solutions.some(0, 1), "--split", "validation").rows
    for position, end in zip((0, -1), ends, strict=True):
        assert row["validation"]["loss"][position] == pytest.approx(end["nll"], rel=1e-6)
    assert run_here(*words, "--split", "validation").rows == [row]  # from the cache
    assert run_here(*words).rows == [on_test]
    refused = run_here(*words, "--split", "validation", "--val-fraction", 0)
    assert (refused.status, refused.out) == (1, "")
    assert "there is no validation split" in refused.err


def test_groups_on_the_validation_split(solutions, star):
    words = ("--points", 3, "--align", "weight", "--split", "validation", "--plot", "v.svg")
    ran = run_here("barrier", *solutions.some(0, 1, 2), "--all-pairs", *words)
    [summary] = [row for row in ran.rows if row["type"] == "summary"]
    assert set(summary["matrix"]) == {"train", "validation"}
    assert summary["validation"]["count"] == 3
    ran = run_here("barrier", "--star", star, "--sources", *solutions.some(0, 1, 2), "--held-out", solutions[3], *words)
    assert ran.status == 0, ran.err
    assert all("test" not in row for row in ran.rows)
    [judged] = [row for row in ran.rows if row["type"] == "star"]
    assert set(judged["star_loss"]) == set(judged["differences"]) == {"train", "validation"}


def test_two_points_are_too_few_for_a_barrier(solutions):
    ran = run_here("barrier", *solutions.some(0, 1), "--points", 2)
    assert ran.status == 2
    assert "--points" in ran.err
    assert ran.out == ""


def test_a_model_that_alignment_gives_back_has_no_barrier(solutions):
    [model] = solutions.some(0)
    run_here("permute", model, "--random", "-o", "shuffled.safetensors")
    run_here("align", model, "shuffled.safetensors", "-o", "back.safetensors")
    found = run_here("barrier", model, "back.safetensors", "--points", "3").rows[0]
    assert found["train"]["loss_barrier"] == found["test"]["loss_barrier"] == 0.0


@pytest.mark.usefixtures("own_cache")
def test_alignment_here_equals_alignment_before(solutions):
    [here] = run_here("barrier", *solutions.some(0, 1), "--align", "weight", "--restarts", 2).rows
    run_here("align", *solutions.some(0, 1), "--restarts", 2, "-o", "b.safetensors")
    ran = run_here("barrier", solutions[0], "b.safetensors")
    [before] = ran.rows
    assert here["alignment"] == "weight, 2 restarts"
    assert before["alignment"] == "recorded"
    assert ran.err == ""
    assert here["train"] == before["train"]
    assert here["test"] == before["test"]


def test_a_star_that_is_no_solution_is_named(solutions, star, place):
    found = read(star)
    tensors = {name: -5 * value if value.is_floating_point() else value for name, value in found.tensors.items()}
    write(Path("weak.safetensors"), tensors, found.metadata)
    sources, held_out = solutions.some(0, 1), solutions.some(3)
    table = ("--points", 3, "--format", "table")
    for given, notes in ((star, 0), ("weak.safetensors", 1)):
        judged = run_here("barrier", "--star", given, "--sources", *sources, "--held-out", *held_out, *table)
        assert "regular-regular less star-held-out" in judged.out
        assert "loss of the sources" in judged.out
        assert judged.err.count("is hardly a solution: its training loss is") == notes, judged.err


def test_settings_of_no_alignment_name_what_is_missing(solutions):
    ran = run_here("barrier", *solutions.some(0, 1), "--align-kinds", "all")
    assert ran.status == 1
    assert "no alignment is asked for" in ran.err
    assert "needs a method: weight, learn (--align)" in ran.err
    ran = run_here("barrier", *solutions.some(0, 1), "--restarts", 7)
    assert (ran.status, ran.out) == (1, "")
    assert "restarts (--restarts) needs a method: any (--align)" in ran.err


def hashes(*paths):
    from starcli.checkpoints.hashes import file_sha256

    return [file_sha256(path)[:12] for path in paths]


def test_results_say_what_they_rest_on(solutions, star):
    three = solutions.some(0, 1, 2)
    *rows, summary = run_here("barrier", *three, "--align", "none", "--points", 3).rows
    assert [row["weights"] for row in rows] == [hashes(three[0], other) for other in three[1:]]
    assert summary["weights"] == hashes(*three)
    [evaluated] = run_here("eval", solutions[0]).rows
    averaged = run_here("bma", "--star", star, "--sources", *three, "--samples", 2, "--repeats", 1).rows
    used = {row["posterior"]: row["weights"] for row in averaged}
    assert evaluated["weights"] == hashes(solutions[0])
    assert used == {"star": hashes(star, *three), "ensemble": hashes(*three), "single": hashes(*three)}
    everything = [*rows, summary, evaluated, *averaged]
    assert {row["program"] for row in everything} == {__version__}
    assert {row["data"]["name"] for row in everything} == {"digits"}
    assert {len(row["data"]["fingerprint"]) for row in everything} == {12}


def test_pipe(solutions):
    aligned = run_here("align", *solutions.some(0, 1), "-o", "-")
    [row] = run_here("barrier", solutions[0], "-", stdin=aligned.stdout).rows
    assert (row["b"], row["alignment"]) == ("stdin", "recorded")


@pytest.mark.usefixtures("own_cache")
def test_said_to_be_meant_there_is_no_note(solutions):
    assert run_here("barrier", *solutions.some(0, 1), "--align", "none").err == ""
    assert run_here("barrier", *solutions.some(0, 1), "--quiet").err == ""


def test_one_to_each(solutions):
    *rows, summary = run_here("barrier", *solutions.some(0, 1, 2), "--align", "none").rows
    assert [row["b"] for row in rows] == ["1.safetensors", "2.safetensors"]
    assert summary["type"] == "summary"
    assert summary["count"] == 2
    values = [row["test"]["loss_barrier"] for row in rows]
    assert summary["test"]["mean"] == pytest.approx(sum(values) / 2)
    assert {"mean", "std", "min", "max", "interval"} <= set(summary["train"])


def test_tolerances_that_are_none_are_refused(solutions):
    for wrong in ("-1", "nan", "inf"):
        ran = run_here("barrier", *solutions.some(0, 1), f"--epsilon={wrong}")
        assert (ran.status, f"--epsilon {wrong}: a tolerance is a number from 0 up" in ran.err) == (1, True), ran.err
    ran = run_here("barrier", *solutions.some(0, 1), "--epsilon", 0.1)
    assert (ran.status, "among --all-pairs, which is missing" in ran.err) == (1, True), ran.err


def test_all_pairs_with_a_quoted_pattern(solutions):
    pattern = solutions.directory / "[0-3].safetensors"
    *rows, summary = run_here("barrier", pattern, "--all-pairs", "--align", "weight", "--epsilon", 0.001, 100).rows
    assert len(rows) == 6
    assert all(row["alignment"] == "weight, 1 restart" for row in rows)
    assert summary["star_share"] == {"0.001": 0.0, "100": 1.0}
    matrix = summary["matrix"]["train"]
    assert matrix[1][0] == matrix[0][1] == rows[0]["train"]["loss_barrier"]
    assert matrix[2][2] == 0


def test_a_star(solutions, star, place):
    words = ("--star", star, "--sources", *solutions.some(0, 1, 2), "--held-out", *solutions.some(3, 4))
    ran = run_here(
        "barrier", *words, "--aligned-sources", star.parent / "aligned", "--align", "weight", "--plot", "s.svg"
    )
    assert ran.status == 0, ran.err
    rows = {kind: [row for row in ran.rows if row["type"] == kind] for kind in ("barrier", "summary", "star")}
    groups = {row["group"]: row for row in rows["summary"]}
    assert {"regular-regular", "star-source", "star-source (training)", "star-held-out"} <= set(groups)
    assert groups["star-source"]["count"] == groups["star-source (training)"]["count"] == 3
    assert groups["star-held-out"]["count"] == 2
    assert groups["star-source (training)"]["alignment"] == "training's own"
    assert len([row for row in rows["barrier"] if row["group"] == "star-held-out"]) == 2
    for group, summary in groups.items():  # of accuracy: what the rows of its lines say
        drops = [row["test"]["accuracy_barrier"] for row in rows["barrier"] if row["group"] == group]
        found = summary["test"]["accuracy_barriers"]
        assert (found["count"], found["min"], found["max"]) == (len(drops), min(drops), max(drops))
        assert (found["mean"], found["std"]) == pytest.approx((np.mean(drops), np.std(drops, ddof=1)))
    low, high = groups["star-source"]["test"]["accuracy_barriers"]["interval"]  # Student's: a source has one line
    drops = [row["test"]["accuracy_barrier"] for row in rows["barrier"] if row["group"] == "star-source"]
    half = 4.302653 * np.std(drops, ddof=1) / np.sqrt(3)
    assert (low, high) == pytest.approx((max(np.mean(drops) - half, 0), np.mean(drops) + half), rel=1e-5)
    [verdict] = rows["star"]
    assert {"star_loss", "regular_loss", "differences"} <= set(verdict)
    assert (place / "s.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("method", ["weight", "none"])
def test_aligned_sources_are_those_of_this_star(method, solutions, place):
    sources = ("--sources", *solutions.some(0, 1))
    for seed in (0, 1):
        words = ("--align", method, "--seed", seed, "--epochs", 1, "--aligned-sources", f"kept{seed}")
        assert run_here("star", *sources, *words, "-o", f"s{seed}.safetensors").status == 0
    words = ("barrier", *sources, "--held-out", solutions[3], "--align", "none", "--points", 3, "--star")
    assert run_here(*words, "s1.safetensors", "--aligned-sources", "kept1").status == 0
    ran = run_here(*words, "s1.safetensors", "--aligned-sources", "kept0")
    assert ran.status == 1
    assert "kept0: not aligned to s1.safetensors: 0.safetensors, 1.safetensors" in ran.err


def test_a_summary_says_all_alignments_that_occur(solutions, star):
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors")
    models = (solutions[0], "b.safetensors", solutions[2])
    *rows, summary = run_here("barrier", *models, "--all-pairs", "--align", "none", "--points", 3).rows
    assert [row["alignment"] for row in rows] == ["recorded", "none", "none"]
    assert summary["alignment"] == "none, recorded"
    sources = ("--star", star, "--sources", star.parent / "aligned" / "0.safetensors", solutions[1])
    words = ("barrier", *sources, "--held-out", solutions[3], "--align", "none", "--points", 3)
    groups = {row["group"]: row["alignment"] for row in run_here(*words).rows if row["type"] == "summary"}
    assert groups == {"regular-regular": "none", "star-source": "none, recorded", "star-held-out": "none"}
    assert run_here(*words).rows[-1]["alignment"] == "none, recorded"
    found = run_here("bma", *sources, "--align", "none", "--samples", 2, "--repeats", 1).rows
    assert {row["alignment"] for row in found} == {"none, recorded"}


def test_measured_pairs_are_kept(solutions, monkeypatch):
    words = ("barrier", *solutions.some(0, 1, 2), "--all-pairs", "--align", "none")
    first = run_here(*words)
    monkeypatch.setattr(Evaluator, "scores", lambda _: pytest.fail("measured again"))
    assert run_here(*words).out == first.out
    assert run_here("barrier", *solutions.some(0, 2), "--align", "none").rows[0]["test"] == first.rows[1]["test"]


def test_other_settings_are_measured_anew(solutions):
    one = run_here("barrier", *solutions.some(0, 1), "--points", 3).rows[0]
    other = run_here("barrier", *solutions.some(0, 1), "--points", 3, "--statistics", "own-ends").rows[0]
    assert one["train"]["loss"][1] == other["train"]["loss"][1]
    assert one["train"]["loss"][0] != other["train"]["loss"][0]


def test_tables_say_which_statistics_ends_have(solutions):
    """Only of networks that have some."""
    words = ("barrier", *solutions.some(0, 1), "--points", 3, "--format", "table")
    said = "BatchNorm statistics of the ends: "
    assert f"{said}re-estimated, as of all between" in run_here(*words).out
    assert f"{said}their own" in run_here(*words, "--statistics", "own-ends").out
    train = ("train", "--arch", "mlp", "--data", "digits", "--limit", 50, "--epochs", 1)
    assert run_here(*train, "--seeds", "0-1", "-o", "{seed}.safetensors").status == 0
    plain = run_here("barrier", "0.safetensors", "1.safetensors", *words[3:])
    assert plain.status == 0, plain.err
    assert "statistics" not in plain.out


def test_a_model_against_itself_under_another_name_has_no_barrier(solutions):
    run_here("permute", solutions[0], "--random", "-o", "r.safetensors")
    [row] = run_here("barrier", solutions[0], "r.safetensors", "--align", "weight", "--restarts", 3).rows
    assert row["train"]["loss_barrier"] < 1e-4


def test_table_on_a_terminal(solutions, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    ran = run_here("barrier", *solutions.some(0, 1, 2), "--align", "none", tty=True)
    assert "train barrier" in ran.out
    assert any(block in ran.out for block in "▁█")
    assert ".safetensors" not in ran.out.split("barriers")[0]
    assert run_here("barrier", *solutions.some(0, 1), "--json", tty=True).rows[0]["type"] == "barrier"


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_figures(kind, solutions, place):
    assert run_here("barrier", *solutions.some(0, 1), "--plot", f"f.{kind}").status == 0
    head = {"png": b"\x89PNG", "pdf": b"%PDF"}[kind]
    assert (place / f"f.{kind}").read_bytes().startswith(head)
