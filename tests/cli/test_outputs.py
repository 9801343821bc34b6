"""Outputs that cannot be written, or would overwrite: refused before any work."""

import os
import re
import shutil
import sys

import pytest
from support.program import TRAIN, run_here
from support.refused import refused

from starcli.checkpoints.checkpoint import read_metadata


def test_output_directories_are_made_once_there_is_something_to_write(place, solutions):
    two = solutions.some(0, 1)
    refused(run_here("train", "--arch", "mpl", "-o", "no/x.safetensors"), "mlp")
    refused(run_here("interpolate", *two, "--t", 0.5, 0.7, "-o", "no/x.safetensors"), "{t}")
    assert list(place.iterdir()) == []
    trained = ("train", *TRAIN, "--epochs", 1, "--seeds", "0-1", "-o", "out/{seed}/m.safetensors")
    star = ("star", "--sources", *two, "--epochs", 1, "-o", "star/deep/s.safetensors", "--aligned-sources", "kept/at")
    aligned = ("align", *two, "-o", "a/b.safetensors", "--permutation", "p/q/b.perm.safetensors")
    drawn = ("barrier", *two, "--points", 3, "--plot", "figures/new/x.png")
    for words in (trained, star, aligned, drawn, ("convert", two[0], "-o", "c/d/x.pt")):
        ran = run_here(*words)
        assert ran.status == 0, ran.err
    run_here("spec", "derive", "--arch", "mlp", "--input", "1,9", "--arch-arg", "input_size=9", "-o", "s/t/mlp.yaml")
    found = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert found == {
        "out/0/m.safetensors", "out/0/m.metrics.jsonl", "out/1/m.safetensors", "out/1/m.metrics.jsonl",
        "star/deep/s.safetensors", "star/deep/s.metrics.jsonl", "kept/at/0.safetensors", "kept/at/1.safetensors",
        "a/b.safetensors", "p/q/b.perm.safetensors", "figures/new/x.png", "c/d/x.pt", "s/t/mlp.yaml",
    }  # fmt: skip


def test_an_output_below_a_file_is_refused(place, solutions):
    (place / "f").write_text("no directory")
    for option, name in (("-o", "f/x.safetensors"), ("-o", "f/deep/x.safetensors")):
        refused(run_here("align", *solutions.some(0, 1), option, name), "f: is no directory to write into")
    refused(run_here("barrier", *solutions.some(0, 1), "--plot", "f/x.png"), "f: is no directory")
    both = run_here("align", *solutions.some(0, 1), "-o", "f/x.safetensors", "--permutation", "f/p.safetensors")
    assert both.err == "starcli: f: is no directory to write into\n"  # told once


def test_output_that_is_a_directory_or_not_writable(place, solutions):
    (place / "d").mkdir()
    words = "-o d/: names a directory; a file in it is -o 'd/{name}.safetensors'"
    refused(run_here("align", *solutions.some(0, 1), "-o", "d"), words)
    if os.getuid() != 0:  # root may write anywhere
        (place / "d").chmod(0o555)
        refused(run_here("align", *solutions.some(0, 1), "-o", "d/x.safetensors"), "may not be written")


@pytest.mark.parametrize(
    ("line", "option", "name"),
    [
        (("train", *TRAIN, "-o", "new/"), "-o", "new/{seed}.safetensors"),
        (("train", *TRAIN, "--output=new/{seed}/"), "-o", "new/{seed}/{seed}.safetensors"),
        (("predict", 0, "-o", "new/"), "-o", "new/predictions.csv"),
        (("spec", "derive", "--arch", "mlp", "--input", "1,9", "-o", "new/"), "-o", "new/spec.yaml"),
        (("align", 0, 1, "-o", "a.safetensors", "--permutation", "new/"), "--permutation", "new/{name}.safetensors"),
    ],
)
def test_a_slash_at_the_end_is_of_a_directory(place, solutions, line, option, name):
    """It made a file of that name without it."""
    ran = run_here(*(solutions[word] if isinstance(word, int) else word for word in line))
    refused(ran, f"/: names a directory; a file in it is {option} '{name}'")
    assert list(place.iterdir()) == []


def test_two_outputs_that_link_to_one_file_are_refused(place, solutions):
    for name in ("0", "1"):
        (place / f"{name}.safetensors").symlink_to("one.safetensors")
    words = ("train", *TRAIN, "--epochs", 1, "--seeds", "0-1", "-o", "{seed}.safetensors")
    refused(run_here(*words), "2 files would have the same name", "one.safetensors")
    ran = run_here("align", *solutions.some(0, 1), "-o", "0.safetensors")
    assert (ran.status, ran.rows[0]["output"]) == (0, "0.safetensors")
    assert (place / "0.safetensors").is_symlink()
    assert read_metadata(place / "one.safetensors")[1].kind == "model"


def test_a_model_and_its_permutation_are_two_files(place, solutions):
    """The output was called an input."""
    ran = run_here("align", *solutions.some(0, 1), "-o", "x.safetensors", "--permutation", "x.safetensors")
    refused(ran, "x.safetensors: is named by -o and by --permutation")


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


@pytest.mark.parametrize("name", ["mid.csv", "mid.JSON", "mid.npz", "mid.safetensors.index.json"])
@pytest.mark.parametrize("option", ["-o", "--permutation"])
def test_a_name_of_another_kind_of_file_for_a_checkpoint(place, solutions, name, option):
    """They were safetensors files under that name, and an index that nothing could read."""
    more = () if option == "-o" else ("-o", "x.safetensors")
    for words in (("align", *solutions.some(0, 1)), ("permute", solutions[0], "--random")):
        refused(run_here(*words, *more, option, name), f"{name}: checkpoints are safetensors", "as mid.safetensors")
    if option == "-o":
        refused(run_here("train", *TRAIN, "-o", f"{{seed}}/{name}"), f"0/{name}: checkpoints", "as 0/mid.safetensors")
        refused(run_here("convert", solutions[0], "--plain", "-o", name), f"{name}: checkpoints")
    assert list(place.iterdir()) == []
    assert run_here("convert", solutions[0], "-o", "mid-0.5").status == 0  # no suffix that anybody knows


TEMPLATES = [
    ("train", *TRAIN),
    ("align", 0, 1),
    ("permute", 0, "--random"),
    ("star", "--sources", 0, 1),
    ("curve", 0, 1),
    ("interpolate", 0, 1, "--t", 0.5),
    ("fuse", "--sources", 0, 1),
    ("convert", 0),
]


@pytest.mark.parametrize("line", TEMPLATES, ids=lambda line: line[0])
def test_help_lists_just_what_a_template_may_have(place, solutions, line):
    """That of interpolate, permute and others listed {name}, {seed} and {t}, and one each was accepted."""
    words = [solutions[word] if isinstance(word, int) else word for word in line]
    said = re.search(r"--output FILE (.*?)(?: --|$)", " ".join(run_here(line[0], "--help").out.split()))
    assert said is not None
    ran = refused(run_here(*words, "-o", "{other}.safetensors"), "-o {other}.safetensors: unknown {other}")
    known = ran.err.partition("this command knows ")[2]
    assert re.findall(r"\{\w+\}", known) == re.findall(r"\{\w+\}", said[1])


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (("predict", 0, "-o"), "{name}.csv"),
        (("spec", "derive", "--arch", "mlp", "--input", "1,9", "-o"), "{}.yaml"),
        (("barrier", 0, 1, "--plot"), "{seed}.png"),
        (("report", ".", "-o"), "{x}/report.html"),
    ],
)
def test_one_file_is_no_template(place, solutions, line, name):
    """The braces were taken for a part of the name."""
    words = [solutions[word] if isinstance(word, int) else word for word in line]
    refused(run_here(*words, name), f"{name}: one file is written, and {{", "stands for nothing")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["mid.pt", "mid.PTH"])
def test_a_name_of_pytorch_for_a_checkpoint(place, solutions, name):
    refused(run_here("interpolate", solutions[0], solutions[1], "--t", 0.5, "-o", name), name, "starcli convert")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_of_weights_that_are_no_text_are_refused_and_results_stay_readable(place, solutions):
    odd = os.fsdecode(b"odd\xff")
    for suffix in (".safetensors", ".pt"):
        shutil.copyfile(solutions[0], place / f"{odd}{suffix}")
        refused(run_here("eval", f"{odd}{suffix}"), f"odd\\udcff{suffix}: files of weights have names of UTF-8")
    refused(run_here("interpolate", *solutions.some(0, 1), "-o", f"{odd}.safetensors"), "have names of UTF-8")
    ran = run_here("predict", solutions[0], "-o", f"{odd}.csv")
    assert ran.rows[0]["output"] == f"{odd}.csv"
    assert (place / f"{odd}.csv").read_text().startswith("model,")
