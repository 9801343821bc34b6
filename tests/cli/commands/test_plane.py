"""starcli plane and surface: what they show, draw and keep."""

import json
from pathlib import Path

import pytest
from support.program import run_here
from support.refused import refused

import starcli as sc

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_plane_and_its_figure(solutions):
    models = solutions.some(0, 1, 2)
    words = ("plane", *models, "--align", "weight", "--points", 3)
    ran = run_here(*words, "--plot", "p.svg")
    assert ran.status == 0, ran.err
    [row] = ran.rows
    assert row["models"] == [f"{number}.safetensors" for number in range(3)]
    assert (row["alignment"], row["statistics"], row["points"]) == ("weight, 1 restart", "recalibrate", 3)
    assert row["places"][0] == [0, 0]
    assert row["places"][1][1] == 0
    for split in ("train", "test"):
        assert [len(line) for line in row[split]["loss"]] == [3, 3, 3]
        assert [mark.keys() for mark in row[split]["models"]] == [{"loss", "accuracy"}] * 3
    found = sc.plane(*map(str, models), alignment="weight", points=3)
    assert json.loads(json.dumps(found.to_dict())) == {key: row[key] for key in found.to_dict()}
    Path("p.jsonl").write_text(ran.out)
    run_here("plot", "p.jsonl", "-o", "again.svg")
    assert Path("again.svg").read_bytes() == Path("p.svg").read_bytes()
    run_here("report", "p.jsonl", "-o", "page.html")
    assert "Planes in weight space" in Path("page.html").read_text()
    assert "3 of 3 results from the cache" in run_here(*words).err


def test_people_see_the_models(solutions):
    ran = run_here(
        "surface", solutions[0], "--points", 3, "--radius", 0.5, "--split", "validation", "--format", "table"
    )
    assert ran.status == 0, ran.err
    assert "validation loss" in ran.out
    assert "note: train loss on 3 x 3 points: " in ran.err


def test_a_surface_says_its_radius_and_seed(solutions):
    [row] = run_here("surface", solutions[0], "--points", 3, "--radius", 0.5, "--seed", 4).rows
    assert (row["type"], row["radius"], row["seed"], row["x"]) == ("surface", 0.5, 4, [-0.5, 0, 0.5])


def test_the_way_of_a_curve(solutions):
    ends = solutions.some(0, 1)
    run_here("curve", *ends, "--epochs", 1, "--align", "weight", "-o", "bend.safetensors")
    [row] = run_here("plane", *ends, "--curve", "bend.safetensors", "--points", 3).rows
    assert row["models"][2] == "bend.safetensors"
    assert (row["curve"]["form"], row["alignment"]) == ("bezier", "weight, 1 restart")
    assert max(row["curve"]["y"]) == pytest.approx(row["places"][2][1] / 2)
    through = ("plane", *solutions.some(0, 1, 2), "--curve", "bend.safetensors", "--points", 3)
    ran = run_here(*through, "--format", "table")
    assert "curve: Bezier curve, projected, up to" in ran.out
    Path("p.jsonl").write_text(run_here(*through).out)
    run_here("report", "p.jsonl", "-o", "page.html")
    assert "(L2) off the plane" in Path("page.html").read_text()
    refused(run_here("plane", *ends[::-1], "--curve", "bend.safetensors"), "are not the ends of this curve")


def test_a_dry_run_tells_how_long(solutions):
    rows = run_here("plane", *solutions.some(0, 1, 2), "--dry-run").rows
    assert [row["count"] for row in rows if row.get("what") == "lines of 21 points"] == [21]


def test_too_few_models(solutions):
    ran = run_here("plane", *solutions.some(0, 1))
    refused(ran, "a plane goes through three models", "found 2")
    assert "note" not in ran.err


def test_a_bend_among_the_models_is_of_the_ends_as_they_were_aligned(solutions):
    ends = solutions.some(0, 1)
    run_here("curve", *ends, "--epochs", 1, "--align", "weight", "-o", "bend.safetensors")
    ran = run_here("plane", *ends, "bend.safetensors", "--points", 3)
    refused(ran, "is a bend of the curve from 0.safetensors to 1.safetensors", "aligned: weight", "--curve")
    assert "note" not in ran.err
    run_here("align", *ends, "-o", "aligned.safetensors")
    assert run_here("plane", ends[0], "aligned.safetensors", "bend.safetensors", "--points", 3).status == 0
    run_here("curve", *ends, "--epochs", 1, "-o", "straight.safetensors")
    assert run_here("plane", *ends, "straight.safetensors", "--points", 3).status == 0
