"""Outputs that cannot be written, or would overwrite: refused before any work."""

import os

import pytest
from support.program import run_here
from support.refused import refused

from starcli.checkpoints.checkpoint import read_metadata


def test_output_directory_that_is_not_there(place, solutions):
    refused(run_here("train", "--arch", "mlp", "-o", "no/x.safetensors"), "mkdir -p no")
    refused(run_here("star", "--sources", *solutions.some(0, 1), "-o", "no/x.safetensors"), "mkdir -p no")
    refused(run_here("barrier", *solutions.some(0, 1), "--plot", "no/x.png"), "mkdir -p no")
    assert list(place.iterdir()) == []


def test_output_that_is_a_directory_or_not_writable(place, solutions):
    (place / "d").mkdir()
    refused(run_here("align", *solutions.some(0, 1), "-o", "d"), "directory")
    if os.getuid() != 0:  # root may write anywhere
        (place / "d").chmod(0o555)
        refused(run_here("align", *solutions.some(0, 1), "-o", "d/x.safetensors"), "may not be written")


def test_figures_of_unknown_type(place, solutions):
    refused(run_here("barrier", *solutions.some(0, 1), "--plot", "x.jpg"), "png")


def test_output_among_the_inputs(place, solutions):
    before = solutions[1].read_bytes()
    refused(run_here("align", *solutions.some(0, 1), "-o", solutions[1], "--force"), "is an input")
    refused(run_here("star", "--sources", *solutions.some(0, 1), "-o", solutions[0], "--force"), "is an input")
    assert solutions[1].read_bytes() == before


def test_an_existing_output_needs_force(place, solutions):
    (place / "x.safetensors").write_text("precious")
    refused(run_here("align", *solutions.some(0, 1), "-o", "x.safetensors"), "exists; --force")
    assert (place / "x.safetensors").read_text() == "precious"
    assert run_here("align", *solutions.some(0, 1), "-o", "x.safetensors", "--force").status == 0
    assert read_metadata(place / "x.safetensors")[1].aligned_to is not None


@pytest.mark.parametrize("name", ["mid.pt", "mid.PTH"])
def test_a_name_of_pytorch_for_a_checkpoint(place, solutions, name):
    refused(run_here("interpolate", solutions[0], solutions[1], "--t", 0.5, "-o", name), name, "starcli convert")
