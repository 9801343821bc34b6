"""Several files of one base name: told apart wherever they are named, and recorded in files by their base names."""

import json
import shutil

import pytest
from support.program import run_here
from support.refused import refused

import starcli as sc
from starcli.checkpoints.checkpoint import read

NAMES = ["run1/model.safetensors", "run2/model.safetensors"]


@pytest.fixture
def runs(place, solutions):
    """Two models as `run1/model.safetensors` and `run2/model.safetensors`."""
    for number, name in enumerate(NAMES):
        (place / name).parent.mkdir()
        shutil.copy(solutions[number], place / name)
    return [place / name for name in NAMES]


def test_rows_tell_them_apart(runs, solutions):
    [line] = run_here("barrier", *runs, "--points", 3).rows
    assert [line["a"], line["b"]] == NAMES
    assert [row["model"] for row in run_here("eval", *runs).rows] == NAMES
    assert [row["file"] for row in run_here("inspect", *runs).rows] == NAMES
    rows = run_here("barrier", *runs, solutions[2], "--points", 3, "--align", "weight").rows
    assert [rows[1]["b"], rows[2]["group"]] == ["2.safetensors", "run1/model.safetensors to each"]
    [row] = run_here("align", *runs, "-o", "aligned.safetensors").rows
    assert [row["reference"], row["model"]] == NAMES
    [row] = run_here("interpolate", *runs, "--t", 0.5, "-o", "mid.safetensors").rows
    assert row["models"] == NAMES


def test_tables_notes_and_errors_tell_them_apart(runs, solutions):
    ran = run_here("barrier", *runs, "--points", 3, "--format", "table")
    assert " run1   run2 " in ran.out
    assert "run2/model.safetensors was never aligned to run1/model.safetensors" in " ".join(ran.err.split())
    shutil.copy(runs[0], runs[1])
    refused(run_here("barrier", "--star", solutions[2], "--sources", *runs, "--held-out", solutions[3]), *NAMES)


def test_a_fused_model_is_told_from_sources_of_its_name(runs):
    rows = run_here("fuse", "--sources", *runs, "--epochs", 1, "-o", "model.safetensors").rows
    named = {row["model"]: row["name"] for row in rows if row["split"] == "test"}
    assert named["fused"] == "model.safetensors"
    assert {row["name"] for row in rows if row["model"] == "source"} == set(NAMES)


@pytest.mark.parametrize(
    "words", [("align", "-o"), ("interpolate", "--t", "0.5", "-o"), ("star", "--epochs", "1", "-o", "--sources")]
)
def test_files_keep_base_names(words, runs, place):
    """Their bytes do not depend on where their parents lay, or under which paths these were given."""
    command, *options = words
    out = options.index("-o") + 1
    for directory, paths in {"near": NAMES, "far": runs}.items():
        (place / directory).mkdir()
        line = [command, *options[:out], f"{directory}/x.safetensors", *options[out:], *paths]
        assert run_here(*line).status == 0
    near, far = (place / directory / "x.safetensors" for directory in ("near", "far"))
    assert near.read_bytes() == far.read_bytes()
    assert {ancestor.name for ancestor in read(near).metadata.ancestors} == {"model.safetensors"}
    assert "run1" not in json.dumps(read(near).metadata.model_dump(mode="json"))


def test_a_template_has_the_base_name(runs, place):
    assert run_here("align", *runs, "-o", "{name}.aligned.safetensors").status == 0
    assert (place / "model.aligned.safetensors").exists()


def test_a_template_cannot_tell_base_names_apart_and_says_so(runs, solutions, place):
    words = ("align", solutions[2], *runs, "-o")
    refused(run_here(*words, "{name}.pt.safetensors"), "2 files would have the same name, model.pt.safetensors")
    assert "give these one at a time" in run_here(*words, "{name}.pt.safetensors").err
    assert "give these one at a time" in run_here(*words, "x.safetensors").err


def test_the_library_tells_them_apart_too(runs):
    assert [row["model"] for row in sc.evaluate(*runs)] == NAMES
    a, b = sc.load(*runs)
    assert [a.name, b.name] == NAMES
    alone = [sc.load(path) for path in runs]
    assert [each.name for each in alone] == ["model.safetensors"] * 2
    assert sc.all_pairs(alone, alignment=None, points=3).names == NAMES
    assert [each.name for each in alone] == ["model.safetensors"] * 2
    aligned = sc.align(*alone)
    assert aligned.to_dict()["model"] == NAMES[1]
    assert aligned.metadata.metrics["align"]["model"] == "model.safetensors"


def test_wrong_hashes_are_told_apart(runs):
    for path in runs:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    ran = run_here("inspect", "--verify", *runs)
    assert ran.status == 1
    assert all(f"\n  {name}: " in ran.err for name in NAMES)
    assert [row["verified"] for row in ran.rows] == [False, False]
