"""starcli curve, barrier --curve and interpolate --curve: what they write, inherit, refuse and show."""

from pathlib import Path

import pytest
from support.program import run_here
from support.refused import refused

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata
from starcli.training.run import TrainingRun


@pytest.fixture
def bend(solutions, place):
    ran = run_here("curve", *solutions.some(0, 1), "--epochs", 2, "--align", "weight", "-o", "bend.safetensors")
    assert ran.status == 0, ran.err
    return place / "bend.safetensors"


def test_a_bend_is_a_model_that_says_of_which_curve_it_is(bend, solutions):
    metadata = read_metadata(bend)[1]
    assert (metadata.kind, metadata.statistics) == ("bend", "recalibrated")
    assert metadata.parents == [read_metadata(solutions[n])[1].weights_sha256 for n in (0, 1)]
    curve = metadata.recipe["curve"]
    assert (curve["form"], curve["bends"], curve["bend"], curve["align"]["method"]) == ("bezier", 1, 1, "weight")
    [row] = run_here("eval", bend, "--split", "train").rows
    assert row["nll"] == pytest.approx(metadata.metrics["train"]["loss"], abs=1e-6)
    a, b = (str(solutions[n]) for n in (0, 1))
    [found] = sc.curve(a, b, epochs=2, alignment="weight")
    assert found.sha256 == metadata.weights_sha256
    assert found.metadata.run_id == metadata.run_id


def test_the_ends_of_a_curve_are_those_of_the_line(bend, solutions):
    ends = solutions.some(0, 1)
    [line] = run_here("barrier", *ends, "--align", "weight", "--points", 5).rows
    [curve] = run_here("barrier", *ends, "--curve", bend, "--points", 5, "--plot", "c.svg").rows
    assert (line["path"], curve["path"], curve["bends"]) == ("line", "bezier", ["bend.safetensors"])
    assert line["alignment"] == curve["alignment"] == "weight, 1 restart"
    for split in ("train", "test"):
        assert [line[split]["loss"][n] for n in (0, -1)] == [curve[split]["loss"][n] for n in (0, -1)]
    assert "Bezier curve by way of bend" in Path("c.svg").read_text()
    # aligned before, the ends are the same, and need no word of alignment
    run_here("align", *ends, "-o", "b.safetensors")
    [same] = run_here("barrier", ends[0], "b.safetensors", "--curve", bend, "--points", 5).rows
    assert same["train"]["loss"] == pytest.approx(curve["train"]["loss"], abs=1e-6)
    assert sc.barrier(*map(str, ends), curve=str(bend), points=5).curves["train"].loss == tuple(curve["train"]["loss"])


def test_the_ends_of_a_curve_are_not_said_to_need_alignment(solutions):
    """Aligned, they would not be its ends; of another model it is said."""
    ends = solutions.some(0, 1)
    assert "never aligned" in run_here("curve", *ends, "--epochs", 1, "-o", "plain.safetensors").err
    path = ("--curve", "plain.safetensors", "--points", 3)
    assert "never aligned" not in run_here("barrier", *ends, *path).err
    assert "2.safetensors was never aligned to 0" in run_here("plane", *solutions.some(0, 1, 2), *path).err


def test_a_point_of_a_curve_is_what_barrier_measures(bend, solutions):
    ends = solutions.some(0, 1)
    [row] = run_here("interpolate", *ends, "--curve", bend, "--t", 0.25, "-o", "p.safetensors").rows
    assert (row["weights"], row["curve"]) == ([0.5625, 0.375, 0.0625], "bezier")
    [curve] = run_here("barrier", *ends, "--curve", bend, "--points", 5).rows
    [point] = run_here("eval", "p.safetensors").rows
    assert point["nll"] == pytest.approx(curve["test"]["loss"][1], abs=1e-5)
    assert (
        sc.interpolate(*map(str, ends), curve=str(bend), t=0.25).sha256
        == read_metadata(Path("p.safetensors"))[1].weights_sha256
    )


def test_several_bends_have_a_file_each_and_one_that_is_lost_comes_back(solutions, place):
    words = ("curve", *solutions.some(0, 1), "--epochs", 1, "--form", "polygon", "--bends", 2)
    refused(run_here(*words, "-o", "bend.safetensors"), "a template with {k}")
    ran = run_here(*words, "-o", "bend-{k}.safetensors")
    assert [row["output"] for row in ran.rows] == ["bend-1.safetensors", "bend-2.safetensors"]
    lost = Path("bend-2.safetensors").read_bytes()
    Path("bend-2.safetensors").unlink()
    again = run_here(*words, "-o", "bend-{k}.safetensors")
    assert again.out == ran.out
    assert Path("bend-2.safetensors").read_bytes() == lost
    bends = ("--curve", "bend-2.safetensors", "bend-1.safetensors")  # in any order
    [row] = run_here("barrier", *solutions.some(0, 1), *bends, "--points", 4).rows
    for number in (1, 2):
        [own] = run_here("eval", f"bend-{number}.safetensors", "--recalibrate").rows
        assert own["nll"] == pytest.approx(row["test"]["loss"][number], abs=1e-6)


@pytest.mark.parametrize("finished", [(), (1,)], ids=["all are made", "the second was lost"])
def test_the_first_bend_that_is_made_has_log_and_state_of_the_run(solutions, place, monkeypatch, finished):
    ends, how = solutions.some(0, 1), ("--epochs", 2, "--form", "polygon", "--bends", 2)
    words = ("curve", *ends, *how, "-o", "b-{k}.safetensors")
    whole = run_here(*words)
    kept = [Path(f"b-{k}.safetensors").read_bytes() for k in (1, 2)]
    for k in {1, 2} - {*finished}:
        Path(f"b-{k}.safetensors").unlink()
        Path(f"b-{k}.metrics.jsonl").unlink(missing_ok=True)
    end_epoch, ended = TrainingRun._end_epoch, []

    def stop_after_one(self):
        end_epoch(self)
        ended.append(1)
        if len(ended) == 1:
            self.progress.stop_signal = 2

    monkeypatch.setattr(TrainingRun, "_end_epoch", stop_after_one)
    assert run_here(*words).status == 130
    first = 1 + len(finished)
    assert len(Path(f"b-{first}.metrics.jsonl").read_text().splitlines()) == 1
    assert [path.name for path in place.glob("b-*.state*")] == [f"b-{first}.safetensors.state"]
    assert run_here(*words).out == whole.out
    assert len(ended) == 2  # it went on from the state
    assert kept == [Path(f"b-{k}.safetensors").read_bytes() for k in (1, 2)]
    assert not list(place.glob("b-*.state*"))


def test_other_ends_than_its_own_are_refused(bend, solutions):
    for models in (solutions.some(1, 0), solutions.some(0, 2), [*solutions.some(0, 1), "--align", "none"]):
        ran = run_here("barrier", *models, "--curve", bend, "--points", 3)
        refused(ran, "are not the ends of this curve", "aligned: weight, 1 restart")
    refused(run_here("barrier", *solutions.some(0, 1, 2), "--curve", bend), "--curve is measured between two models")
    words = ("interpolate", *solutions.some(0, 1), "--curve", bend, "-o", "x.safetensors")
    for line in (("barrier", *words[1:4], bend), ("plane", *words[1:4], bend), (*words, "--t", 0.5)):
        refused(
            run_here(*line, "--restarts", 7), "only how it would be done: --restarts", "as when the curve was trained"
        )
    ran = run_here("plane", *words[1:4], bend, "--ends", 3, "--align-share", 0.3)
    refused(ran, "done: --align-share, --ends", "as when")
    refused(run_here(*words), "--curve takes points at --t")
    refused(run_here(*words, "--t", 1.5), "from t = 0 to t = 1, found 1.5")


def test_a_star_is_a_bend_of_two_straight_lines(solutions):
    ran = run_here("barrier", *solutions.some(0, 1), "--curve", solutions[2], "--points", 5)
    assert "note: no bend of a trained curve: 2.safetensors (model); straight lines" in ran.err
    [row] = ran.rows
    [first] = run_here("barrier", *solutions.some(0, 2), "--points", 3).rows
    assert (row["path"], row["bends"]) == ("polygon", ["2.safetensors"])
    assert row["train"]["loss"][:3] == pytest.approx(first["train"]["loss"], abs=1e-6)


def test_a_dry_run_writes_nothing(solutions, place):
    before = sorted(place.iterdir())
    ran = run_here("curve", *solutions.some(0, 1), "-o", "x.safetensors", "--dry-run")
    assert ran.status == 0, ran.err
    assert any("steps of" in row["what"] for row in ran.rows)
    assert sorted(place.iterdir()) == before
