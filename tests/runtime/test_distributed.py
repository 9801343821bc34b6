"""Two ranks (gloo, begun as by torchrun) do what one process does: same draws, every unit of work once, one voice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.program import ROOT, TESTS, TRAIN, run_here

from starcli.checkpoints.checkpoint import read

pytestmark = [pytest.mark.slow, pytest.mark.ranks]

WITHOUT_NORM = [*TRAIN, "--arch-arg", "batch_norm=none"]
BATCH_NORM = ["--arch", "resnet", "--arch-arg", "width=2", "stages=2", "--epochs", "2", "--limit", "101"]

PIECES = ["--limit", "103", "--batch-size", "50", "--augmentation", "none"]
"""A last batch of three examples, which one of two ranks has alone."""


def run_ranks(lines, out):
    """Each rank's (status, stdout, stderr, where runs went on) for each of `lines`; what dies is restarted once."""
    listed = out.with_suffix(".lines")
    listed.write_text(json.dumps([[str(word) for word in line] for line in lines]))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{TESTS}", "XDG_CACHE_HOME": str(out.with_suffix(".cache"))}
    environment |= {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(TESTS / "support" / "ranks.py"), str(listed), str(out)]
    process = subprocess.run(words, env=environment, capture_output=True, timeout=300)
    assert process.returncode == 0, process.stderr.decode()
    return [json.loads(Path(f"{out}.{rank}.json").read_text()) for rank in (0, 1)]


def lines_for(where, solutions, ranks):
    """The lines that are compared, with outputs in `where`; what the ranks do has a twin of one process."""
    draws = [] if ranks else ["--draws-per-step", "2"]
    short = ["--epochs", "2", "--batch-size", "50"]
    return {
        "train": ["train", *WITHOUT_NORM, "--val-fraction", "0.2", "--clip", "0.5", "-o", where / "one.safetensors"],
        "seeds": ["train", *TRAIN, "--seeds", "5-7", "-o", where / "{seed}.safetensors"],
        "stacked": ["train", *TRAIN, "--stacked", "--seeds", "5-7", "-o", where / "s{seed}.safetensors"],
        "norm": ["train", *BATCH_NORM, "--augmentation", "pad-crop", "-o", where / "norm.safetensors"],
        "star": ["star", "--sources", *solutions.some(0, 1, 2), "--held-out", *solutions.some(3, 4), "--eval-every",
                 "1", *short, *draws, "-o", where / "star.safetensors", "--aligned-sources", where / "aligned"],
        "fuse": ["fuse", "--sources", *solutions.some(0, 1, 2), *short, *draws, "-o", where / "fused.safetensors"],
        "distil": ["fuse", "--sources", *solutions.some(0, 1), "--method", "distil", *short,
                   "-o", where / "student.safetensors"],
        "sync": ["train", *BATCH_NORM, *PIECES, "--sync-batchnorm", "-o", where / "sync.safetensors"],
        "sync star": ["star", "--sources", *solutions.some(0, 1, 2), *short, "--sync-batchnorm",
                      "-o", where / "sync-star.safetensors"],
        "sync fuse": ["fuse", "--sources", *solutions.some(0, 1, 2), *short, "--sync-batchnorm",
                      "-o", where / "sync-fused.safetensors"],
        "align": ["align", *solutions.some(0, 1, 2, 3), "-o", where / "{name}.aligned.safetensors",
                  "--permutation", where / "{name}.perm.safetensors"],
        "restarts": ["align", *solutions.some(0, 1), "--restarts", "9", "-o", where / "restarts.safetensors"],
        "ends": ["align", *solutions.some(0, 1), "--restarts", "5", "--select", "midpoint", "--ends", "3",
                 "-o", where / "ends.safetensors"],
        "barrier": ["barrier", *solutions.some(0, 1, 2), "--align", "weight", "--points", "4"],
        "learned": ["barrier", *solutions.some(0, 1, 2), "--align", "straight-through", "--align-steps", "10",
                    "--restarts", "3", "--points", "3"],
        "pairs": ["barrier", *solutions.some(0, 1, 2), "--all-pairs", "--align", "weight", "--points", "3"],
        "bma": ["bma", "--star", solutions[0], "--sources", *solutions.some(1, 2, 3), "--samples", "3"],
    }  # fmt: skip


TROUBLE = {
    "words": ["train", "--epochs", "many"],
    "input": ["eval", "nothing.safetensors"],
    "draws": ["star", "--sources", "0", "1", "--draws-per-step", "3", "-o", "star.safetensors"],
    "exploded": ["train", *TRAIN, "--lr", "1e30", "-o", "exploded.safetensors"],
    "rank": ["!error", "train", *TRAIN, "-o", "failed.safetensors"],
    "bug": ["!bug", "train", *TRAIN, "-o", "failed.safetensors"],
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def alone(places, solutions):
    ran = {name: run_here(*line) for name, line in lines_for(places[0], solutions, False).items()}
    assert all(each.status == 0 for each in ran.values()), [each.err for each in ran.values()]
    return {name: each.rows for name, each in ran.items()}


@pytest.fixture(scope="module")
def both(places, solutions):
    """What the two ranks left of each line."""
    where = places[1]
    lines = lines_for(where, solutions, True)
    for name, line in TROUBLE.items():
        own_files = {"0": solutions[0], "1": solutions[1]}
        lines[name] = [where / word if word.endswith(".safetensors") else own_files.get(word, word) for word in line]
    lines["pairs"] = ["!count", *lines["pairs"]]
    again = [*lines["train"][:-1], where / "again.safetensors"]
    lines["killed"] = ["!kill", *again, "--checkpoint-every", "0"]
    found = run_ranks(lines.values(), where / "out")
    return dict(zip(lines, zip(*found, strict=True), strict=True))


def rows(found):
    """What the first rank printed, as JSON lines without the line that was typed."""
    (status, out, err, _), (other_status, other_out, other_err, _) = found
    assert (status, other_status) == (0, 0), err + other_err
    assert not other_out
    assert not other_err
    return [{k: v for k, v in json.loads(line).items() if k != "command"} for line in out.splitlines()]


def same_files(name, places):
    return all((place / name).exists() for place in places) and len({(p / name).read_bytes() for p in places}) == 1


@pytest.mark.parametrize("name", ["5", "6", "7"])
def test_seeds_are_dealt_out_and_change_nothing(alone, both, places, name):
    assert [row["seed"] for row in rows(both["seeds"])] == [row["seed"] for row in alone["seeds"]] == [5, 6, 7]
    assert same_files(f"{name}.safetensors", places)
    assert same_files(f"{name}.metrics.jsonl", places)


@pytest.mark.parametrize("name", ["one", "star", "fused", "s5", "s7", "sync", "sync-star", "sync-fused"])
def test_a_shared_run_is_that_of_one_process(alone, both, places, name):
    first, second = (read(place / f"{name}.safetensors") for place in places)
    # how many batches BatchNorm has seen is each process's own count
    for tensor in (name for name in first.tensors if not name.endswith("num_batches_tracked")):
        torch.testing.assert_close(first.tensors[tensor], second.tensors[tensor], rtol=1e-4, atol=1e-5)
    if name in ("star", "fused"):  # one process with as many draws a step is the same run
        assert first.metadata.run_id == second.metadata.run_id
    histories = [(place / f"{name}.metrics.jsonl").read_text().splitlines() for place in places]
    for mine, other in zip(*histories, strict=True):
        mine, other = json.loads(mine), json.loads(other)
        assert mine.keys() == other.keys()
        assert other["loss"] == pytest.approx(mine["loss"], rel=1e-4)
        assert other["accuracy"] == pytest.approx(mine["accuracy"], abs=0.01)


def test_what_differs_is_recorded(both, places):
    [row] = rows(both["norm"])
    synced = {"pieces": 2, "sync_batchnorm": True}
    assert read(places[1] / "norm.safetensors").metadata.recipe["train"] == {"pieces": 2}
    assert read(places[1] / "sync.safetensors").metadata.recipe["train"] == synced
    assert "train" not in read(places[0] / "sync.safetensors").metadata.recipe
    mine, theirs = (read(place / "sync-star.safetensors").metadata.recipe["star"] for place in places)
    assert {**mine, **synced} == theirs
    assert mine["draws_per_step"] == 1
    mine, theirs = (read(place / "student.safetensors").metadata.recipe["fused"] for place in places)
    assert {**mine, "pieces": 2} == theirs
    assert "pieces" not in mine
    assert "--sync-batchnorm takes them from whole batches" in both["norm"][0][2]
    assert "BatchNorm" not in both["sync"][0][2] + both["sync star"][0][2]
    assert 0 <= row["test"]["accuracy"] <= 1


def test_sources_are_kept_by_the_first_rank(alone, both, places):
    names = sorted(path.name for path in (places[0] / "aligned").iterdir())
    assert names == sorted(path.name for path in (places[1] / "aligned").iterdir())
    assert len(names) == 3


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("kind", ["aligned", "perm"])
def test_aligned_models_are_the_same_files(alone, both, places, number, kind):
    assert len(rows(both["align"])) == 3
    assert same_files(f"{number}.{kind}.safetensors", places)


def test_restarts_are_shared_out_and_change_nothing(alone, both, places):
    assert len(rows(both["restarts"])) == 1
    assert same_files("restarts.safetensors", places)
    mine, other = ([round(weight, 9) for weight in notes] for _, _, _, notes in both["restarts"])
    # two first ones and eight more, one on each rank wherever two begin at the same point
    assert (len(mine), len(other)) == (6, 4)
    assert len({*mine, *other}) == 10


def test_the_same_end_is_chosen(alone, both, places):
    assert rows(both["ends"])[0]["midpoint_loss"] == alone["ends"][0]["midpoint_loss"]
    assert same_files("ends.safetensors", places)


@pytest.mark.parametrize("name", ["barrier", "learned", "pairs", "bma"])
def test_measurements_are_the_same(alone, both, name):
    assert rows(both[name]) == alone[name]


def test_every_model_of_all_pairs_is_measured_once(both):
    measured = [sum(each is True for each in notes) for _, _, _, notes in both["pairs"]]
    assert sum(measured) == 3 + 3  # every end, and the one point between the two of each pair
    assert min(measured) > 0


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("words", 2, "'--epochs'"),
        ("input", 1, "nothing.safetensors"),
        ("draws", 1, "--draws-per-step 3 cannot be shared by 2 ranks"),
        ("exploded", 1, "the loss became"),
        ("rank", 1, "rank 1 has no data\n  look under the sofa"),
        ("bug", 70, "rank 1: RuntimeError: wires crossed"),
    ],
)
def test_an_error_ends_all_and_is_said_once(both, places, name, status, said):
    (first, out, err, _), (second, _, other_err, _) = both[name]
    assert (first, second) == (status, status), err + other_err
    assert said in err
    assert err.count("starcli: ") == 1
    assert "starcli: " not in other_err
    assert not out
    assert not list(places[1].glob("*failed*"))


def test_a_rank_that_dies_is_restarted_and_goes_on(both, places):
    where = places[1]
    rows(both["killed"])
    steps, other_steps = (found[3] for found in both["killed"])
    assert steps == other_steps  # both went on from the same step,
    assert steps[0] >= 1  # which was not the first
    rows(both["train"])
    assert (where / "again.safetensors").read_bytes() == (where / "one.safetensors").read_bytes()
    assert not list(where.glob("*.state"))
