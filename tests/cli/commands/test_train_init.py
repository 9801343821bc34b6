"""starcli train --init: files that remember where they began, one line to make each of them again, what is refused."""

import pytest
from support.program import TRAIN, run_here

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata
from starcli.reports.rebuilt_line import rebuilt_line


@pytest.fixture
def base(place):
    assert run_here("train", *TRAIN, "--keep", "0,1", "-o", "base.safetensors").status == 0
    return place / "base.safetensors"


def test_branches_of_one_run(base, place):
    line = (
        "train",
        "--init",
        "epoch1/base.safetensors",
        "--start-epoch",
        1,
        "--seeds",
        "1-2",
        "-o",
        "{seed}.safetensors",
    )
    ran = run_here(*line)
    assert ran.err == ""  # the recipe is the model's
    assert len(ran.rows) == 2
    assert run_here(*line).rows == ran.rows  # nothing is made again
    _, kept = read_metadata(place / "epoch1/base.safetensors")
    for seed in (1, 2):
        _, found = read_metadata(place / f"{seed}.safetensors")
        assert (found.kind, found.seed, found.parents) == ("model", seed, [kept.weights_sha256])
        assert found.recipe["train"] == {"start_epoch": 1}
        said = "starcli train --init base.safetensors --start-epoch 1 --recipe default"
        assert rebuilt_line(f"{seed}.safetensors", found).startswith(said)
    # they still have one order of units, and are sources as any others
    assert run_here("star", "--sources", "1.safetensors", "2.safetensors", "--align", "none", "-o", "s").status == 0


def test_a_file_that_began_elsewhere_is_another(base):
    line = ("train", "--init", base, "--epochs", 1, "-o", "x.safetensors")
    assert run_here(*line).status == 0
    ran = run_here("train", "--init", "epoch0/base.safetensors", *line[3:])
    assert ran.status == 1
    assert "made from: base.safetensors there, base.safetensors asked for (other weights)" in ran.err


def test_python_writes_the_same_bytes(base, place):
    line = ("--start-epoch", 1, "--seed", 4, "--reinit", "fc1.*")
    assert run_here("train", "--init", "epoch1/base.safetensors", *line, "-o", "4.safetensors").status == 0
    sc.save(sc.train(init="epoch1/base.safetensors", start_epoch=1, seed=4, reinit=["fc1.*"]), "mine.safetensors")
    assert (place / "mine.safetensors").read_bytes() == (place / "4.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reinit", "fc1.*"], "--reinit goes with --init"),
        (["--start-epoch", "1"], "--start-epoch goes with --init"),
        (["--init", "base.safetensors", "--start-epoch", "3"], "start epoch 3: expected 0 to 2 of 3 epochs"),
        (
            ["--init", "base.safetensors", "--start-epoch", "2", "--keep", "1"],
            "keep: after epoch 1 of 3: expected 2 to 2",
        ),
        (["--init", "base.safetensors", "--reinit", "fc9"], "--reinit fc9: no tensor of the network is called so"),
        (["--init", "nope.safetensors"], "nope.safetensors: cannot read"),
        (["--init", "base.safetensors", "-o", "base.safetensors", "--force"], "a file is never written over one"),
        (["--init", "epoch1/base.safetensors", "-o", "base.safetensors", "--keep", "1", "--force"], "is an input"),
    ],
)
def test_what_is_refused(base, place, words, said):
    before = {path: path.read_bytes() for path in place.rglob("*.safetensors")}
    ran = run_here("train", "--data", "digits", "-o", "x.safetensors", *words)
    assert said in ran.err
    assert ran.status == 1
    assert {path: path.read_bytes() for path in place.rglob("*.safetensors")} == before


def test_python_refuses_what_is_not_read():
    with pytest.raises(sc.StarcliError, match="reinit and start_epoch go with init"):
        sc.train("mlp", "digits", start_epoch=1)
    with pytest.raises(sc.StarcliError, match="train needs a network"):
        sc.train(data="digits")
