"""Models that cannot be read, do not belong together, or are of the wrong kind: named, and status 1."""

import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.program import run_here
from support.refused import refused

import starcli as sc


def test_missing_file(place, solutions):
    refused(run_here("eval", "nowhere.safetensors"), "nowhere.safetensors", "No such file")
    refused(run_here("barrier", solutions[0], "nowhere.safetensors"), "nowhere.safetensors")


def test_all_unreadable_files_are_named_at_once(place, solutions):
    refused(
        run_here("eval", "x.safetensors", solutions[0], "y.safetensors"), "2 files", "x.safetensors", "y.safetensors"
    )


def test_truncated_and_foreign_files(place, solutions):
    content = solutions[0].read_bytes()
    (place / "cut.safetensors").write_bytes(content[: len(content) // 2])
    refused(run_here("eval", "cut.safetensors"), "not a whole safetensors file")
    (place / "text.safetensors").write_text("not safetensors at all, not at all")
    refused(run_here("inspect", "text.safetensors"), "not a whole safetensors file")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
@pytest.mark.parametrize("command", ["inspect", "eval"])
def test_what_stands_in_the_place_of_a_file_is_called_by_its_name(place, name, command):
    (place / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(run_here(command, name), f"{name}: is a pointer of Git LFS, not a checkpoint", "git lfs pull")
    (place / name).write_text("<!DOCTYPE html><html>404</html>")
    refused(run_here(command, name), f"{name}: is a web page, not a checkpoint")
    (place / name).write_bytes(b"")
    refused(run_here(command, name), f"{name}: not a whole ", "file: it is empty")


def test_folders_say_which_files_lie_there(place):
    (place / "runs").mkdir()
    (place / "runs" / "last.ckpt").write_bytes(b"x")
    refused(run_here("eval", "runs"), "runs: is a directory, not a file; its files are runs/*.ckpt")


def test_a_single_shard_is_called_one(place, solutions):
    assert run_here("convert", solutions[0], "--shard-size", "4kB", "-o", "sharded/model.safetensors").status == 0
    first, *others = sorted((place / "sharded").glob("*-of-*.safetensors"))
    assert others
    plain = ("--arch", "mlp", "--data", "digits")
    run = run_here("eval", first, *plain)
    refused(run, f"{first.name}: one shard of several; its folder is the whole")
    assert run_here("eval", "sharded").status == 0


def test_a_newer_format_is_refused_by_name(place, solutions):
    content = solutions[0].read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    newer = content[8 : 8 + length].replace(rb"\"format\": 1", rb"\"format\": 9", 1)
    assert newer != content[8 : 8 + length]
    (place / "new.safetensors").write_bytes(content[:8] + newer + content[8 + length :])
    refused(run_here("inspect", "new.safetensors"), "format 9")


def test_nan_weights(place, solutions):
    tensors = load_file(solutions[0])
    tensors["fc1.weight"][0, 0] = float("nan")
    save_file(tensors, place / "nan.safetensors")
    words = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--data", "digits")
    refused(run_here("eval", "nan.safetensors", *words), "fc1.weight", "nan.safetensors", "finite")


def test_different_architectures_and_splits(place, solutions):
    other = ("train", "--arch", "mlp", "--arch-arg", "depth=2", "--epochs", 1, "--limit", 300)
    assert run_here(*other, "hidden_dim=9", "--val-fraction", 0.2, "-o", "w.safetensors").status == 2
    run_here(*other[:5], "hidden_dim=9", *other[5:], "--val-fraction", 0.2, "-o", "width.safetensors")
    refused(run_here("barrier", solutions[0], "width.safetensors"), "architecture hidden_dim: 9 in width.safetensors")
    run_here(*other[:5], "hidden_dim=12", *other[5:], "--val-fraction", 0.5, "-o", "split.safetensors")
    refused(run_here("barrier", solutions[0], "split.safetensors"), "val_fraction", "0.5", "0.2")


def test_foreign_files_need_arch_and_data(place, solutions):
    save_file(load_file(solutions[0]), place / "plain.safetensors")
    refused(run_here("eval", "plain.safetensors"), "--data")
    refused(run_here("eval", "plain.safetensors", "--data", "digits"), "--arch")


def test_a_file_of_pytorchs_is_read_as_it_is(place, solutions):
    weights = {f"model.{name}": tensor for name, tensor in load_file(solutions[0]).items()}
    torch.save({"state_dict": weights | {"criterion.weight": torch.ones(10)}, "args": place}, place / "theirs.ckpt")
    network = ("--arch", "mlp", "--arch-arg", "depth=2", "hidden_dim=12", "--data", "digits")
    ran = run_here("eval", "theirs.ckpt", *network)
    assert ran.status == 0, ran.err
    assert "note: theirs.ckpt: skipped, for only tensors and plain data are read: args (pathlib." in ran.err
    assert "note: theirs.ckpt: left out what lies outside the network, model.*: criterion.weight" in ran.err
    ours = run_here("eval", solutions[0], *network)
    assert ran.rows[0]["nll"] == ours.rows[0]["nll"]
    aligned = run_here("align", solutions[1], "theirs.ckpt", *network, "-o", "{name}.aligned.safetensors")
    assert aligned.status == 0, aligned.err
    assert "note: theirs.ckpt: left out" in aligned.err
    assert (place / "theirs.aligned.safetensors").exists()


@pytest.mark.parametrize("command", ["star", "fuse"])
def test_one_source_and_a_source_twice(command, place, solutions):
    refused(run_here(command, "--sources", solutions[0], "-o", "x.safetensors"), "at least two")
    refused(run_here(command, "--sources", *solutions.some(0, 1, 0), "-o", "x.safetensors"), "twice")
    (place / "copy.safetensors").write_bytes(solutions[0].read_bytes())
    refused(
        run_here(command, "--sources", *solutions.some(0, 1), "copy.safetensors", "-o", "x.safetensors"), "same weights"
    )


def test_star_among_its_sources(place, solutions, star):
    refused(run_here("bma", "--star", star, "--sources", star, solutions[0]), "twice")


def test_wrong_kind(place, solutions):
    run_here("align", *solutions.some(0, 1), "-o", "b.safetensors", "--permutation", "p.safetensors")
    refused(run_here("eval", "p.safetensors"), "permutation")
    refused(run_here("permute", solutions[0], "--by", solutions[1], "-o", "x.safetensors"), "holds a model")


def test_the_architecture_said_again_keeps_recorded_arguments(place, solutions):
    ran = run_here("interpolate", solutions[0], solutions[1], "--t", 0.5, "-o", "mid.safetensors", "--arch", "mlp")
    assert ran.status == 0, ran.err
    assert run_here("barrier", solutions[0], "mid.safetensors", "--points", 3).status == 0


def test_a_set_of_models_has_no_weights_twice(solutions, place):
    a, b = solutions.some(0, 1)
    shutil.copy(b, "copy.safetensors")
    refused(run_here("barrier", a, b, "copy.safetensors", "--all-pairs", "--align", "none"), "same weights as 1.saf")
    refused(
        run_here("align", a, b, "copy.safetensors", "--joint", "-o", "j{name}.safetensors"), "same weights as 1.saf"
    )
    assert run_here("barrier", b, "copy.safetensors", "--points", 3).status == 0  # two models may be one
    for call in (lambda: sc.all_pairs([a, b, b], alignment=None), lambda: sc.align_jointly(a, [b, b])):
        with pytest.raises(sc.StarcliError, match="same weights"):
            call()


def test_a_file_that_is_no_model_is_named_as_what_it_is(place):
    np.savez("data.npz", x=np.zeros((4, 2)), y=np.arange(4))
    (place / "table.csv").write_text("a,b,label\n1,2,x\n")
    refused(run_here("eval", "data.npz", "--arch", "mlp"), "data.npz: is not read: it holds NumPy arrays")
    refused(run_here("eval", "table.csv", "--arch", "mlp"), "table.csv: not a whole safetensors file: it is text")


@pytest.mark.parametrize("text", ["a,b", "hello, this is text"])
def test_text_is_called_text_however_short(text, place):
    (place / "t.csv").write_text(text)
    refused(run_here("eval", "t.csv"), "t.csv: not a whole safetensors file: it is text")


def test_words_that_have_no_place_are_named(place):
    ran = run_here("train", "digits", "mlp", "--arch", "mlp", "-o", "x.safetensors")
    assert (ran.status, "no place for these words: (digits mlp)" in ran.err) == (2, True), ran.err


@pytest.mark.parametrize("words", [("inspect",), ("eval", "--data", "digits", "--arch", "mlp"), ("convert", "--plain")])
def test_the_state_of_a_run_is_no_model(place, words):
    """It was converted to a file of one tensor, `vector`."""
    torch.save({"vector": torch.zeros(3), "correct": 1}, "a.safetensors.state")
    out = ("-o", "b.safetensors") if words[0] == "convert" else ()
    refused(
        run_here(*words, "a.safetensors.state", *out), "a.safetensors.state: the state of a run", "typed again goes"
    )
    assert not (place / "b.safetensors").exists()
