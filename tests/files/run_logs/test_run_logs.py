"""Logs for other programs: the curves of a run's own log, read back by what they are for."""

import csv
import json
import math
import threading

import pytest
from support.disk import files_of_at_most
from support.program import TRAIN, run_here
from support.refused import refused

from starcli.errors import StarcliError
from starcli.files.run_logs.csv_log import CsvLog
from starcli.files.run_logs.run_logs import RunLogs, curves_of
from starcli.files.run_logs.targets import LogTarget, RunFacts


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


def curves(path):
    """Curves of a run's own log, by name: (epoch, value) pairs."""
    found = {}
    for row in map(json.loads, path.read_text().splitlines()):
        for name, value in curves_of(row):
            found.setdefault(name, []).append((row["epoch"], value))
    return found


def table(path):
    found = {}
    for row in csv.DictReader(path.read_text().splitlines()):
        for name, value in row.items():
            if value and name != "epoch":
                found.setdefault(name, []).append((int(row["epoch"]), float(value)))
    return found


def test_a_table_has_the_curves_of_the_log_and_the_model_is_the_same(place, solutions):
    words = ("train", *TRAIN, "--val-fraction", "0.2", "--seed", 3)
    ran = run_here(*words, "-o", "a/3.safetensors", "--log", "csv", "--log-test")
    assert ran.status == 0, ran.err
    assert (place / "a/3.safetensors").read_bytes() == solutions[3].read_bytes()
    found, own = table(place / "a/3.metrics.csv"), curves(place / "a/3.metrics.jsonl")
    seconds = [value for _, value in found.pop("seconds")]
    assert found == own
    assert {"loss", "accuracy", "lr", "validation_loss", "test_loss", "test_accuracy"} <= own.keys()
    assert seconds == sorted(seconds)
    assert own["test_loss"][-1][1] == ran.rows[0]["test"]["loss"]
    assert own["loss"] == curves(solutions[3].with_suffix("").with_suffix(".metrics.jsonl"))["loss"]


def test_a_star_and_networks_that_are_trained_together(place, solutions):
    sources = ("--sources", *solutions.some(0, 1), "--held-out", solutions[2], "--epochs", 2)
    ran = run_here("star", *sources, "-o", "s.safetensors", "--log", "csv")
    assert ran.status == 0, ran.err
    own = curves(place / "s.metrics.jsonl")
    assert table(place / "s.metrics.csv").keys() == {*own, "seconds"}
    assert [epoch for epoch, _ in own["held_out/2/test_barrier"]] == [2]
    ran = run_here("train", *TRAIN, "--stacked", "--seeds", "0-1", "-o", "t{seed}.safetensors", "--log", "csv")
    assert ran.status == 0, ran.err
    for seed in (0, 1):
        assert table(place / f"t{seed}.metrics.csv") == curves(place / f"t{seed}.metrics.jsonl")
    again = run_here("train", *TRAIN, "--stacked", "--seeds", "0-1", "-o", "t{seed}.safetensors", "--log", "csv:x")
    refused(again, "the table lies beside the checkpoint, --log csv")


def test_a_run_that_goes_on_drops_what_came_after_its_last_state(place):
    facts = RunFacts(place / "0.safetensors")
    first = CsvLog("", facts)
    for epoch in (1, 2, 3):
        first.record(epoch, {"loss": 1 / epoch})
    second = CsvLog("", facts)
    second.record(3, {"loss": 0.25, "new": 1.0})
    assert table(place / "0.metrics.csv") == {"loss": [(1, 1.0), (2, 0.5), (3, 0.25)], "new": [(3, 1.0)]}
    (place / "0.metrics.csv").write_text("something else\n")
    CsvLog("", facts).record(1, {"loss": 2.0})
    assert table(place / "0.metrics.csv") == {"loss": [(1, 2.0)]}


def test_what_is_no_number_is_no_curve():
    row = {"epoch": 2, "a": math.nan, "b": None, "c": True, "d": [1.0], "e": {"f": {"g": 3}}, "h": "x"}
    assert dict(curves_of(row)) == {"e/f/g": 3.0}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("tensorbord:x", "unknown log 'tensorbord'"),
        ("mlflow", "say where, --log mlflow:DIR"),
        ("csv:x", "the table lies beside the checkpoint"),
    ],
)
def test_words_that_name_no_log(word, said):
    with pytest.raises(StarcliError, match=said):
        LogTarget.of(word)


def test_a_missing_package_is_told_with_its_extra_before_any_work(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StarcliError, match=r"needs the package wandb: pip install 'starcli\[wandb\]'"):
        LogTarget.of("wandb")


def test_a_place_that_cannot_be_written_to_is_told_before_any_work(place):
    pytest.importorskip("tensorboard")
    (place / "file").write_text("in the way")
    ran = run_here("train", *TRAIN, "-o", "0.safetensors", "--log", "tensorboard:file/tb")
    refused(ran, "is no directory")
    assert [each.name for each in place.iterdir()] == ["file"]


def test_a_model_on_stdout_has_no_log():
    refused(run_here("train", *TRAIN, "-o", "-", "--log", "csv"), "a model that goes to stdout has no log")
    stacked = ("train", *TRAIN, "--stacked", "--log-test", "--seeds", "0-1", "-o", "{seed}.safetensors")
    refused(run_here(*stacked), "--log-test: --stacked networks are measured when they are finished")


@pytest.mark.slow
def test_tensorboard_reads_the_same_curves(place):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    ran = run_here("train", *TRAIN, "--seeds", "0-1", "-o", "c/{seed}.safetensors", "--log", "tensorboard:tb")
    assert ran.status == 0, ran.err
    for seed in (0, 1):
        found = reading.EventAccumulator(str(place / "tb" / "c" / str(seed)))
        found.Reload()
        own = curves(place / "c" / f"{seed}.metrics.jsonl")
        assert set(found.Tags()["scalars"]) == {*own, "seconds"}
        for name, points in own.items():
            read = [(point.step, point.value) for point in found.Scalars(name)]
            assert [step for step, _ in read] == [epoch for epoch, _ in points]
            assert [value for _, value in read] == pytest.approx([value for _, value in points], rel=1e-6)
        [text] = found.Tensors("settings/text_summary")
        assert b'"arch": "mlp"' in text.tensor_proto.string_val[0]


@pytest.mark.slow
def test_tensorboard_on_a_full_disk_is_one_error(place, capfd):
    pytest.importorskip("tensorboard")
    logs = RunLogs([LogTarget.of("tensorboard:tb")], RunFacts(place / "0.safetensors"))
    logs.open()
    with pytest.raises(StarcliError, match="--log tensorboard: cannot be written") as told, files_of_at_most(300):
        logs.complete([{"epoch": epoch, "loss": 1.0} for epoch in range(5)])
    assert "File too large" in told.value.problems[0]
    for thread in [each for each in threading.enumerate() if type(each).__name__ == "_AsyncWriterThread"]:
        thread.join(10)  # it could print a traceback until it ends
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_mlflow_reads_the_same_curves_and_goes_on_with_a_run(place):
    mlflow = pytest.importorskip("mlflow")
    for _ in range(2):  # made anew, it is the same run
        ran = run_here("train", *TRAIN, "-o", "0.safetensors", "--log", "mlflow:ml", "--force")
        assert ran.status == 0, ran.err
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{place}/ml/mlflow.db")
    [run] = client.search_runs([client.get_experiment_by_name("starcli").experiment_id])
    assert (run.info.run_name, run.info.status) == ("0", "FINISHED")
    assert (run.data.params["arch"], run.data.params["epochs"]) == ("mlp", "3")
    for name, points in curves(place / "0.metrics.jsonl").items():
        assert {(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)} == set(points)


@pytest.mark.slow
def test_wandb_works_offline(place):
    pytest.importorskip("wandb")
    ran = run_here("train", *TRAIN, "-o", "0.safetensors", "--log", "wandb:mine")
    assert ran.status == 0, ran.err
    [written] = (place / "wandb").glob("offline-run-*/run-*.wandb")
    content = written.read_bytes()
    for name in curves(place / "0.metrics.jsonl"):
        assert name.encode() in content


@pytest.mark.parametrize("line", ["1,0.25,more", "9" * 5000 + ",0.25", "x,0.25", "1," + "9" * 200_000])
def test_a_table_goes_on_after_lines_that_are_none_of_ours(place, line):
    (place / "0.metrics.csv").write_text(f"epoch,loss\n0,0.5\n{line}\n")
    CsvLog("", RunFacts(place / "0.safetensors")).record(2, {"loss": 0.125})
    found = table(place / "0.metrics.csv")["loss"]
    assert found[-1] == (2, 0.125)
    assert found[:-1] in ([], [(0, 0.5)])
