"""starcli interpolate: points of the line, weighted means, random points around a model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.program import run_here
from support.refused import refused
from support.tensors import same
from torch import nn

import starcli as sc
from starcli.checkpoints.checkpoint import read_metadata


def test_points_of_the_line(solutions, place):
    ran = run_here("interpolate", *solutions.some(0, 1), "--t", -0.5, 0, 0.25, 1.5, "-o", "m{t}.safetensors")
    assert [row["output"] for row in ran.rows] == [f"m{t}.safetensors" for t in ("-0.5", "0", "0.25", "1.5")]
    assert ran.rows[2]["weights"] == [0.75, 0.25]
    a, b, m = (load_file(path) for path in (solutions[0], solutions[1], "m0.25.safetensors"))
    assert torch.allclose(m["fc1.weight"], 0.75 * a["fc1.weight"] + 0.25 * b["fc1.weight"], atol=1e-6)
    assert torch.equal(load_file("m0.safetensors")["fc1.weight"], a["fc1.weight"])
    metadata = read_metadata(place / "m0.25.safetensors")[1]
    assert metadata.statistics == "recalibrated"
    assert len(metadata.parents) == 2
    assert run_here("eval", "m0.25.safetensors").status == 0


def test_only_some_tensors_move(solutions, place):
    two, only = solutions.some(0, 1), ["fc1.weight", "hidden_layers.0.0.*"]
    ran = run_here("interpolate", *two, "--t", 0.25, "--only", *only, "-o", "m.safetensors")
    assert ran.rows[0]["only"] == only
    a, b, m = (load_file(path) for path in (*two, "m.safetensors"))
    for name in ("fc1.weight", "hidden_layers.0.0.weight", "hidden_layers.0.0.bias"):
        torch.testing.assert_close(m[name], 0.75 * a[name] + 0.25 * b[name])
    for name in ("fc1.bias", "fc2.weight", "fc2.bias", "hidden_layers.0.1.weight"):
        assert torch.equal(m[name], a[name])
    made = sc.interpolate(*two, t=0.25, only=only, alignment=None)
    assert same(made.tensors, m)
    sc.save(made, "mine.safetensors")
    assert (place / "mine.safetensors").read_bytes() == (place / "m.safetensors").read_bytes()
    # all of them is the line; of three, what does not move is the first's to the bit
    run_here("interpolate", *two, "--t", 0.25, "--only", "*", "-o", "all.safetensors")
    run_here("interpolate", *two, "--t", 0.25, "-o", "line.safetensors")
    assert same(load_file("all.safetensors"), load_file("line.safetensors"))
    mean = sc.interpolate(*solutions.some(0, 1, 2), only=["fc2.*"], alignment=None)
    assert torch.equal(mean.tensors["fc1.weight"], a["fc1.weight"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--t", "0.5", "--only", "fc9.*"], "--only fc9.*: no tensor of the network is called so"),
        (["--perturb", "1", "--only", "fc1.*"], "--only is for means and points of lines, found a random point"),
    ],
)
def test_tensors_that_cannot_move_alone(words, said, solutions, place):
    models = solutions.some(*range(1 if "--perturb" in words else 2))
    refused(run_here("interpolate", *models, *words, "-o", "m.safetensors"), said)
    assert list(place.iterdir()) == []


def test_one_t_twice_and_a_t_without_a_place(solutions, place):
    """It said to give these one at a time, and made a file called `.safetensors`."""
    two = solutions.some(0, 1)
    refused(run_here("interpolate", *two, "--t", 0.2, "0.20", 0.3, "-o", "{t}.safetensors"), "--t 0.2: occurs")
    refused(run_here("interpolate", *two, "-o", "{t}.safetensors"), "-o {t}.safetensors: {t} stands for", "--t")
    assert list(place.iterdir()) == []


def test_numbers_before_the_models(solutions):
    assert run_here("interpolate", "--t", 0.5, *solutions.some(0, 1), "-o", "m.safetensors").status == 0


def test_weighted_mean_of_three(solutions):
    run_here("interpolate", *solutions.some(0, 1, 2), "--weights", 0.5, 0.25, 0.25, "-o", "w.safetensors")
    tensors = [load_file(path)["fc2.bias"] for path in solutions.some(0, 1, 2)]
    expected = 0.5 * tensors[0] + 0.25 * tensors[1] + 0.25 * tensors[2]
    assert torch.allclose(load_file("w.safetensors")["fc2.bias"], expected, atol=1e-6)


def test_weights_that_do_not_sum_to_one_are_told_before_files_are_read(place):
    for name in ("a.safetensors", "b.safetensors"):
        (place / name).write_text("no model")
    words = ("interpolate", "a.safetensors", "b.safetensors", "-o", "x.safetensors", "--weights")
    refused(run_here(*words, 0.5, 0.6), "the weights sum to 1.1, expected 1")


def test_nothing_said_of_weights_is_the_uniform_mean(solutions):
    run_here("interpolate", *solutions.some(0, 1, 2), "-o", "mean.safetensors")
    run_here("interpolate", *solutions.some(0, 1), "-o", "middle.safetensors")
    run_here("interpolate", *solutions.some(0, 1), "--t", 0.5, "-o", "half.safetensors")
    tensors = [load_file(path)["fc2.bias"].double() for path in solutions.some(0, 1, 2)]
    assert torch.allclose(load_file("mean.safetensors")["fc2.bias"].double(), sum(tensors) / 3, atol=1e-7)
    assert read_metadata(Path("mean.safetensors"))[1].recipe["interpolate"] == {"weights": [1 / 3] * 3}
    assert Path("middle.safetensors").read_bytes() == Path("half.safetensors").read_bytes()
    refused(run_here("interpolate", solutions[0], "-o", "x.safetensors"), "at least two models")


def test_batchnorm_without_data_says_why_they_are_needed(tmp_path, monkeypatch):
    """A network without BatchNorm needs none."""
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        for name, layers in (("norm", [nn.Linear(3, 4), nn.BatchNorm1d(4)]), ("plain", [nn.Linear(3, 4)])):
            torch.manual_seed(seed)
            torch.save(nn.Sequential(*layers, nn.Linear(4, 2)).state_dict(), f"{name}{seed}.pth")
    Path("nets.py").write_text(
        "from torch import nn\n"
        "def norm(): return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))\n"
        "def plain(): return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))\n"
    )
    words = ("--align", "weight", "--input", "1,3", "-o", "m.safetensors")
    ran = run_here("interpolate", "norm0.pth", "norm1.pth", "--arch", "nets.py:norm", *words)
    refused(ran, "--data is needed: BatchNorm's running statistics of models do not hold between them")
    assert run_here("interpolate", "plain0.pth", "plain1.pth", "--arch", "nets.py:plain", *words).status == 0


def test_aligning_first_equals_aligning_before(solutions):
    run_here("interpolate", *solutions.some(0, 1), "--t", 0.5, "--align", "weight", "-o", "here.safetensors")
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors")
    run_here("interpolate", solutions[0], "b.safetensors", "--t", 0.5, "-o", "before.safetensors")
    here, before = load_file("here.safetensors"), load_file("before.safetensors")
    assert same(here, before)


def test_the_note_names_the_model_that_was_never_aligned(solutions):
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors")
    words = ("interpolate", solutions[0], "b.safetensors", solutions[2], "--weights", 0.5, 0.25, 0.25)
    ran = run_here(*words, "-o", "m.safetensors")
    assert "note: 2.safetensors was never aligned to 0.safetensors" in ran.err
    assert "never aligned" not in run_here(*words, "--align", "none", "-o", "n.safetensors").err


def test_a_random_point_around_a_model(solutions):
    run_here("interpolate", solutions[0], "--perturb", 0.5, "--seed", 3, "-o", "p{seed}.safetensors")
    model, point = load_file(solutions[0]), load_file("p3.safetensors")
    learnable = [name for name in model if not name.endswith(("mean", "var", "tracked"))]
    distance = sum(float((model[name].double() - point[name].double()).square().sum()) for name in learnable) ** 0.5
    assert distance == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize(
    "words", [("--t", 0.5, "nan"), ("--t", "-inf"), ("--weights", "inf", 0.5), ("--weights", 1e308, 1e308)]
)
def test_numbers_that_are_none_are_refused_before_any_work(words, solutions, place):
    ran = run_here("interpolate", *solutions.some(0, 1), *words, "-o", "m{t}.safetensors")
    assert (ran.status, ran.err.count("\n")) == (1, 1), ran.err
    assert not list(place.iterdir())


@pytest.mark.parametrize("radius", ["nan", "inf", -1])
def test_a_radius_that_is_none_is_refused_before_any_work(radius, solutions, place):
    ran = run_here("interpolate", solutions[0], "--perturb", radius, "-o", "m.safetensors")
    assert (ran.status, ran.err.count("\n")) == (1, 1), ran.err
    assert not list(place.iterdir())


def test_the_pipeline(solutions):
    """interpolate A B | eval -"""
    made = run_here("interpolate", *solutions.some(0, 1), "--t", 0.5, "-o", "-", "--quiet")
    assert json.loads(made.err)["output"] == "-"
    [row] = run_here("eval", "-", stdin=made.stdout).rows
    run_here("interpolate", *solutions.some(0, 1), "--t", 0.5, "-o", "m.safetensors")
    assert row["nll"] == run_here("eval", "m.safetensors").rows[0]["nll"]
