"""starcli train: what it writes and shows, what it skips, what it refuses, and that seeds do not disturb each other."""

import contextlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.program import TRAIN, run_here

from starcli.checkpoints.checkpoint import read_metadata

KEYS = {"schema", "type", "output", "seed", "arch", "data", "train", "validation", "test"}


def test_rows_and_files(place):
    ran = run_here("train", *TRAIN, "--val-fraction", 0.2, "--seeds", "0,2", "-o", "{seed}.safetensors")
    assert ran.status == 0
    default = "batch size 128, optimizer sgd, lr 0.1, momentum 0.9, weight decay 0.0005, schedule cosine"
    assert ran.err == f"note: the default recipe is used: {default}\n"  # the epochs were said
    assert [row["seed"] for row in ran.rows] == [0, 2]
    for row in ran.rows:
        assert set(row) == KEYS
        assert (row["schema"], row["type"], row["arch"], row["data"]) == (1, "train", "mlp", "digits")
        for split in ("train", "validation", "test"):
            assert set(row[split]) == {"loss", "accuracy"}
            assert 0 <= row[split]["accuracy"] <= 1
    names = {path.name for path in place.iterdir()}
    assert names == {f"{seed}{end}" for seed in (0, 2) for end in (".safetensors", ".metrics.jsonl")}


def test_a_recipe_that_is_named_needs_no_note(place):
    assert run_here("train", *TRAIN, "--recipe", "default", "--epochs", 1, "-o", "x.safetensors").err == ""


def test_the_checkpoint_says_everything(solutions):
    _, metadata = read_metadata(solutions[1])
    assert metadata.kind == "model"
    assert metadata.architecture.name == "mlp"
    assert metadata.architecture.arguments["hidden_dim"] == 12
    assert metadata.data.name == "digits"
    assert metadata.data.val_fraction == 0.2
    assert metadata.recipe["epochs"] == 3
    assert metadata.seed == 1
    assert metadata.spec.proof["proved"]
    assert metadata.run_id
    assert metadata.parents == []


def test_the_log_has_a_row_an_epoch(solutions):
    rows = [json.loads(line) for line in (solutions.directory / "0.metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"loss", "accuracy", "validation_loss"} <= set(rows[0])


def test_a_seed_gives_the_same_bytes_whichever_run_beside_it(place, solutions):
    run_here("train", *TRAIN, "--val-fraction", 0.2, "--seed", 3, "-o", "alone.safetensors")
    assert (place / "alone.safetensors").read_bytes() == solutions[3].read_bytes()


def test_the_same_line_again_skips_and_shows_the_same(place):
    words = ("train", *TRAIN, "--seeds", "0-1", "-o", "{seed}.safetensors")
    first = run_here(*words)
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    second = run_here(*words)
    assert second.status == 0
    assert second.out == first.out
    assert second.err.count("finished already") == 2
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before


def test_other_settings_say_what_differs(place):
    words = ("train", "--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=9", "--limit", 100, "-o", "x.safetensors")
    assert run_here(*words, "--epochs", 1).status == 0
    content = (place / "x.safetensors").read_bytes()
    for more, expected in (
        (("--epochs", 2), "epochs: 1 there, 2 asked for"),
        (("--epochs", 1, "--seed", 4), "seed: 0 there, 4 asked for"),
        (("--epochs", 1, "--lr", 0.2), "lr: 0.1 there, 0.2 asked for"),
        (("--epochs", 1, "--val-fraction", 0.3), "data val_fraction: 0.0 there, 0.3 asked for"),
    ):
        ran = run_here(*words, *more)
        assert ran.status == 1
        assert expected in ran.err
        assert "--force" in ran.err
    assert (place / "x.safetensors").read_bytes() == content
    assert run_here(*words, "--epochs", 2, "--force").status == 0
    assert (place / "x.safetensors").read_bytes() != content


def test_all_outputs_are_looked_at_before_any_work(place):
    (place / "1.safetensors").write_text("in the way")
    ran = run_here("train", *TRAIN, "--seeds", "0-1", "-o", "{seed}.safetensors")
    assert ran.status == 1
    assert [path.name for path in place.iterdir()] == ["1.safetensors"]


def test_a_recipe_and_flags(place):
    (place / "mine.yaml").write_text("arch: mlp\narch_args: {depth: 1, hidden_dim: 7}\nepochs: 1\nlr: 0.05\n")
    ran = run_here("train", "--recipe", "mine.yaml", "--lr", 0.01, "--limit", 100, "-o", "x.safetensors")
    assert ran.status == 0, ran.err
    _, metadata = read_metadata(place / "x.safetensors")
    assert metadata.recipe["lr"] == 0.01
    assert metadata.recipe["epochs"] == 1
    assert load_file("x.safetensors")["fc1.weight"].shape == (7, 64)


def test_resnet_on_the_digits_by_default(place):
    ran = run_here(
        "train", "--arch", "resnet", "--arch-arg", "width=4", "--epochs", 1, "--limit", 100, "-o", "r.safetensors"
    )
    assert ran.status == 0, ran.err
    assert ran.rows[0]["data"] == "digits"


def stop_after_two_epochs(monkeypatch):
    from starcli.training.run import TrainingRun

    original, calls = TrainingRun._end_epoch, []

    def stop_after_one(self):
        original(self)
        calls.append(1)
        if len(calls) == 2:
            self.progress.stop_signal = 2  # as the handler of a signal does

    monkeypatch.setattr(TrainingRun, "_end_epoch", stop_after_one)


def test_interrupted_run_goes_on_from_its_state(place, solutions, monkeypatch):
    words = ("train", *TRAIN, "--val-fraction", 0.2, "--seed", 2, "-o", "2.safetensors")
    with monkeypatch.context() as patched:
        stop_after_two_epochs(patched)
        ran = run_here(*words)
    assert ran.status == 130
    assert "interrupted" in ran.err
    assert not (place / "2.safetensors").exists()
    assert (place / "2.safetensors.state").exists()
    with (place / "2.metrics.jsonl").open("a") as log:  # what a kill between the log and the state leaves
        log.write('{"epoch": 3, "loss": 99}\n{"epo')
    other = run_here(*words[:-2], "--lr", 0.3, "-o", "2.safetensors")
    assert other.status == 1
    assert "other settings" in other.err
    assert "lr: 0.1 there, 0.3 asked for" in other.err
    assert run_here(*words).status == 0
    assert (place / "2.safetensors").read_bytes() == solutions[2].read_bytes()
    assert (place / "2.metrics.jsonl").read_bytes() == (solutions.directory / "2.metrics.jsonl").read_bytes()
    assert {path.name for path in place.iterdir()} == {"2.safetensors", "2.metrics.jsonl"}


def test_a_second_process_is_told_who_writes(place):
    from starcli.files.lock import lock

    with lock(place / "x.safetensors"):
        ran = run_here("train", *TRAIN, "-o", "x.safetensors")
    assert ran.status == 1
    assert "is being written by process" in ran.err


def test_seeds_that_another_process_trains_come_last(solutions, place):
    from starcli.files.lock import lock

    words = ["train", *TRAIN, "--val-fraction", "0.2", "--seeds", "0,1,2", "-o", "{seed}.safetensors"]
    with lock(place / "1.safetensors"):
        ran = run_here(*words)
    assert ran.status == 1
    assert "1.safetensors: is being written by process" in ran.err
    assert [row["seed"] for row in map(json.loads, ran.out.splitlines())] == [0, 2]
    assert (place / "2.safetensors").read_bytes() == solutions[2].read_bytes()
    assert run_here(*words).status == 0
    assert (place / "1.safetensors").read_bytes() == solutions[1].read_bytes()


def test_a_stack_killed_between_its_writes_loses_no_network(place, monkeypatch):
    from starcli.cli.job import Job
    from starcli.training.stacked_objective import StackedObjective

    (place / "whole").mkdir()
    words = ("train", *TRAIN, "--stacked", "--checkpoint-every", 0)
    assert run_here(*words, "--seed", 1, "-o", "1.safetensors").status == 0  # done before, and no part of the stack
    assert run_here(*words, "--seeds", "0,2-3", "-o", "whole/{seed}.safetensors").status == 0
    write, written = Job.write, []

    def killed(job, *tensors, **facts):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(job.path.name)
        write(job, *tensors, **facts)

    monkeypatch.setattr(Job, "write", killed)
    words = (*words, "--seeds", "0-3", "-o", "{seed}.safetensors")
    with contextlib.suppress(KeyboardInterrupt):
        assert run_here(*words).status != 0
    assert {"0.safetensors.state", "2.safetensors", "3.safetensors"} <= {path.name for path in place.iterdir()}
    monkeypatch.setattr(
        Job, "write", lambda job, *tensors, **facts: (written.append(job.path.name), write(job, *tensors, **facts))
    )
    monkeypatch.setattr(StackedObjective, "step", lambda *_: pytest.fail("trained again"))
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    assert written == ["2.safetensors", "3.safetensors", "0.safetensors"]
    for number in (0, 2, 3):
        for end in (".safetensors", ".metrics.jsonl"):
            assert (place / f"{number}{end}").read_bytes() == (place / f"whole/{number}{end}").read_bytes()
    assert not list(place.glob("*.state"))


def test_networks_on_their_way_are_kept_in_folders_of_their_own(place):
    train = ["train", *TRAIN, "--seeds", "0-1", "-o", "{seed}.safetensors"]
    ran = run_here(*train, "--keep", "2,1")
    assert ran.rows[1]["kept"] == ["epoch1/1.safetensors", "epoch2/1.safetensors"]
    assert {path.as_posix() for path in place.rglob("*.safetensors") if path.parent == place} == {
        f"{place}/{seed}.safetensors" for seed in (0, 1)
    }
    (place / "plain").mkdir()
    run_here("train", *TRAIN, "--seed", 1, "-o", "plain/1.safetensors")
    assert (place / "1.safetensors").read_bytes() == (place / "plain/1.safetensors").read_bytes()
    model, kept = read_metadata(place / "1.safetensors")[1], read_metadata(place / "epoch2/1.safetensors")[1]
    assert kept.recipe == {**model.recipe, "train": {"after_epoch": 2}}
    assert kept.metrics != model.metrics
    assert run_here(*train, "--keep", "1,2").rows == ran.rows  # nothing is made again
    # a star inherits the training of all its sources, which is the same
    assert run_here("star", "--sources", "0.safetensors", "epoch2/0.safetensors", "-o", "star.safetensors").status == 0


def test_a_kept_file_that_went_lost_is_asked_for_in_vain(place):
    train = ["train", *TRAIN, "-o", "0.safetensors"]
    run_here(*train)
    assert "0.safetensors: finished already, and not kept after epoch 1" in run_here(*train, "--keep", 1).err
    assert run_here(*train, "--keep", 1, "--force").status == 0
    before = (place / "epoch1/0.safetensors").read_bytes()
    (place / "epoch1/0.safetensors").unlink()
    assert run_here(*train, "--keep", 1, "--force").status == 0
    assert (place / "epoch1/0.safetensors").read_bytes() == before


def test_what_a_stopped_run_did_not_keep_is_not_promised(place, monkeypatch):
    """The same line with --keep, after the run was stopped without it, or the file was taken away."""
    train = ["train", *TRAIN, "-o", "0.safetensors"]
    run_here(*train, "--keep", 1)
    whole = {path: path.read_bytes() for path in place.rglob("*.safetensors")}
    for path in whole:
        path.unlink()
    with monkeypatch.context() as patched:
        stop_after_two_epochs(patched)
        assert run_here(*train).status == 130
    ran = run_here(*train, "--keep", 1)
    assert "0.safetensors: its run was stopped after epoch 1, which was not kept" in ran.err
    assert ran.status == 1
    assert not (place / "0.safetensors").exists()
    (place / "0.safetensors.state").unlink()
    assert run_here(*train, "--keep", 1).status == 0
    assert {path: path.read_bytes() for path in place.rglob("*.safetensors")} == whole


def test_a_place_where_nothing_can_be_kept_is_refused_before_any_work(place):
    (place / "epoch2").write_text("")
    ran = run_here("train", *TRAIN, "-o", "0.safetensors", "--keep", "1,2")
    assert "epoch2: is no directory to write into" in ran.err
    assert [path.name for path in place.iterdir()] == ["epoch2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--keep", "x"], "--keep x: expected 0-7 or 0,3,5"),
        (["--keep", "1,1"], "--keep 1,1: an epoch occurs twice"),
        (["--keep", "3"], "keep: after epoch 3 of 3: expected 0 to 2"),
        (["--keep", "1", "--stacked"], "--keep: --stacked networks are written when they are finished"),
        (["--keep", "1", "-o", "-"], "--keep: a model that goes to stdout is written when it is finished"),
    ],
)
def test_what_is_not_kept(place, words, said):
    ran = run_here("train", *TRAIN, "-o", "0.safetensors", *words)
    assert said in ran.err
    assert ran.status == 1
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--arch", "mlp", "--data", "x.safetensors", "-o", "x.safetensors"),
        ("--arch", "mlp", "--data", "arrays:x.safetensors", "-o", "./x.safetensors"),
        ("--arch", "net.py:build", "--data", "digits", "-o", "net.py"),
    ],
    ids=["data", "data by kind", "code"],
)
def test_what_a_run_is_made_from_is_never_written_over(place, words):
    """With --force it was."""
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    save_file({"images": images, "labels": torch.arange(40) % 3}, place / "x.safetensors")
    (place / "net.py").write_text("def build(**arguments): ...\n")
    before = {path: path.read_bytes() for path in place.iterdir()}
    ran = run_here("train", *words, "--epochs", "1", "--force")
    said = f"{words[-1].removeprefix('./')}: is an input; a file is never written over one"
    assert (ran.status, said in ran.err) == (1, True), ran.err
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_a_run_that_diverged_is_not_in_the_way_of_a_lower_rate(place):
    line = ("train", *TRAIN, "--epochs", 2, "-o", "x.safetensors")
    ran = run_here(*line, "--lr", 1e30, "--checkpoint-every", 1e-6)
    assert (ran.status, "a lower --lr" in ran.err) == (1, True)
    assert (place / "x.safetensors.state").exists()
    assert "the loss became" in run_here(*line, "--lr", 1e30).err
    assert run_here(*line, "--lr", 0.01).status == 0
    assert run_here("train", *TRAIN, "--epochs", 2, "--lr", 0.01, "-o", "y.safetensors").status == 0
    assert (place / "x.safetensors").read_bytes() == (place / "y.safetensors").read_bytes()
    assert not (place / "x.safetensors.state").exists()
