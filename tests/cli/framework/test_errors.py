"""Wrong input: a clear line, status 1, nothing written; our own bugs: status 70 and a traceback."""

import os
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.program import run_here

from starcli.checkpoints.checkpoint import read_metadata
from starcli.cli.commands import eval as eval_module
from starcli.cli.commands import train as train_module


def refused(ran, *words):
    """The summary line has the words; status 1; stdout is empty; no traceback."""
    assert ran.status == 1, (ran.status, ran.err)
    assert ran.stdout == b""
    assert "Traceback" not in ran.err
    summary, *details = [line for line in ran.err.splitlines() if not line.startswith("note: ")]
    assert summary.startswith("starcli: ")
    assert all(line.startswith("  ") for line in details)
    for word in words:
        assert word in ran.err
    return ran


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


def test_a_file_of_pytorchs_is_sent_to_convert(place, solutions):
    torch.save(load_file(solutions[0]), place / "theirs.pth")
    ran = refused(run_here("eval", "theirs.pth", "--arch", "mlp", "--data", "digits"))
    assert "starcli convert" in ran.err.splitlines()[0]


def test_wrong_spec(place, solutions):
    (place / "bad.yaml").write_text("format: 1\ntensors:\n  nothing.weight: [a]\n  fc1.weight: [a]\n")
    ran = refused(run_here("align", *solutions.some(0, 1), "--spec", "bad.yaml", "-o", "b.safetensors"))
    assert "nothing.weight" in ran.err
    assert "fc2.weight" in ran.err
    assert not (place / "b.safetensors").exists()


def test_unproved_spec(place, solutions):
    # the hidden units of the second layer are not permuted where they are read
    (place / "wrong.yaml").write_text(
        "format: 1\ntensors:\n  fc1.weight: [a]\n  hidden_layers.*.weight: [_, a]\n"
        "  fc1.bias: []\n  fc2.*: []\n  '*': []\n  hidden_layers.{l}.{k}.*: []\n"
    )
    ran = run_here("align", *solutions.some(0, 1), "--spec", "wrong.yaml", "-o", "b.safetensors")
    assert ran.status == 1
    assert ran.stdout == b""
    assert not (place / "b.safetensors").exists()


def test_data_that_is_not_there_says_how_to_get_it(place):
    ran = refused(run_here("train", "--arch", "mlp", "--data", "mnist", "--data-dir", "none", "-o", "x.safetensors"))
    assert "--download" in ran.err


def test_the_environment_says_where_data_lie_unless_the_line_does(place, monkeypatch):
    monkeypatch.setenv("STARCLI_DATA_DIR", "elsewhere")
    line = ("train", "--arch", "mlp", "--data", "mnist", "-o", "x.safetensors")
    assert "mnist is not in elsewhere" in refused(run_here(*line)).err
    assert "mnist is not in here" in refused(run_here(*line, "--data-dir", "here")).err


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["barrier", "m0"], "at least two"),
        (["barrier", "m0", "m1", "--all-pairs"], "--align"),
        (["barrier", "--star", "m0", "--sources", "m1", "m2"], "--held-out"),
        (["barrier", "m0", "m1", "--sources", "m2"], "--star"),
        (["interpolate", "m0", "m1", "-o", "x"], "one of --t"),
        (["interpolate", "m0", "m1", "--t", "0.5", "--weights", "1", "0", "-o", "x"], "--perturb, found two"),
        (["interpolate", "m0", "m1", "m2", "--t", "0.5", "-o", "x"], "--weights"),
        (["interpolate", "m0", "m1", "--weights", "1", "-o", "x"], "1 weights for 2 models"),
        (["interpolate", "m0", "m1", "--weights", "1", "1", "-o", "x"], "sum"),
        (["interpolate", "m0", "--t", "0.5", "-o", "x"], "two models"),
        (["interpolate", "m0", "m1", "--perturb", "1", "-o", "x"], "one model"),
        (["interpolate", "m0", "m1", "--t", "0", "1", "-o", "x"], "same name"),
        (["permute", "m0", "-o", "x"], "--by"),
        (["eval", "-", "-"], "twice"),
        (["star", "--sources", "m0", "m1", "-o", "x", "--eval-every", "1"], "--held-out"),
        (["star", "--sources", "m0", "m1", "-o", "x", "--realign-every", "sometimes"], "--realign-every"),
        (["train", "--arch", "mlp", "--seeds", "0-1", "-o", "x"], "same name"),
        (["train", "--arch", "mlp", "--epochs", "1", "--warmup", "2", "-o", "x"], "warmup"),
        (
            ["train", "--arch", "mlp", "--optimizer", "adam", "--momentum", "0.5", "-o", "x"],
            "--momentum: adam has none",
        ),
        (["train", "--arch", "mlp", "--gamma", "0.5", "-o", "x"], "--gamma: the cosine schedule has none"),
        (["train", "--arch", "mlp", "--seeds", "7-3", "-o", "{seed}"], "7-3 runs backwards, expected 3-7"),
        (["spec", "check"], "--arch"),
        (["spec", "derive", "--arch", "mlp", "--input", "3"], "--input"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_make_no_sense_together(words, message, place, solutions):
    refused(run_here(*(solutions[int(word[1])] if word in ("m0", "m1", "m2") else word for word in words)), message)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["train"],
        ["train", "-o", "x", "--epochs", "many"],
        ["train", "-o", "x", "--epochs", "0"],
        ["barrier", "a", "b", "--points", "1"],
        ["align", "a"],
        ["interpolate", "a", "b", "--t", "half", "-o", "x"],
    ],
)
def test_words_that_cannot_be_parsed_are_status_2(words, place):
    ran = run_here(*words)
    assert ran.status == 2
    assert ran.out == ""
    assert ran.err.startswith("starcli: ")


def test_a_numbered_gpu_is_chosen_by_the_environment(place):
    ran = run_here("train", "--arch", "mlp", "--device", "cuda:1", "-o", "x.safetensors")
    assert ran.status == 2
    assert "CUDA_VISIBLE_DEVICES=1 chooses the GPU" in ran.err


@pytest.fixture
def broken(monkeypatch):
    """`eval` fails with the exception given."""

    def install(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(eval_module, "read_groups", fail)

    return install


def test_our_bug_is_status_70_with_a_traceback(broken):
    broken(ZeroDivisionError("oh"))
    ran = run_here("eval", "a")
    assert ran.status == 70
    assert "Traceback" in ran.err
    assert "ZeroDivisionError: oh" in ran.err
    assert "bug in starcli" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_is_one_line(error, broken):
    broken(error)
    ran = run_here("eval", "a")
    assert ran.status == 1
    assert "out of memory" in ran.err
    assert "Traceback" not in ran.err


def test_what_the_system_refuses_is_one_line(broken):
    broken(OSError(28, "No space left on device", "x.safetensors"))
    ran = run_here("eval", "a")
    assert ran.status == 1
    assert ran.err == "starcli: x.safetensors: No space left on device\n"


def test_traceback_on_demand(place):
    for words in (("--traceback", "eval", "nowhere"), ("eval", "nowhere", "--traceback")):
        ran = run_here(*words)
        assert ran.status == 1
        assert "Traceback" in ran.err
    assert "Traceback" not in run_here("eval", "nowhere").err  # it does not stay on


def test_a_closed_pipe_is_no_error(broken):
    broken(BrokenPipeError())
    ran = run_here("eval", "a")
    assert ran.status == 0
    assert ran.err == ""


def test_commands_are_thin():
    import ast
    import inspect
    from pathlib import Path

    directory = Path(inspect.getfile(train_module)).parent
    for path in sorted(directory.glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any("command(" in ast.unparse(d) for d in node.decorator_list):
                body = node.body[1:]  # after the help
                lines = body[-1].end_lineno - body[0].lineno + 1
                assert lines <= 30, f"{path.name}: {node.name} has {lines} lines"


def test_commands_do_not_import_each_other():
    import ast
    import inspect
    from pathlib import Path

    directory = Path(inspect.getfile(train_module)).parent
    commands = [
        "train",
        "align",
        "permute",
        "star",
        "interpolate",
        "barrier",
        "bma",
        "fuse",
        "eval",
        "inspect",
        "convert",
        "spec",
    ]
    for name in commands:
        tree = ast.parse((directory / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("starcli.cli"):
                assert node.module.rpartition(".")[2] not in commands, f"{name} imports {node.module}"


@pytest.mark.parametrize("name", ["mid.pt", "mid.PTH"])
def test_a_name_of_pytorch_for_a_checkpoint(place, solutions, name):
    refused(run_here("interpolate", solutions[0], solutions[1], "--t", 0.5, "-o", name), name, "starcli convert")


def test_a_spec_that_is_not_there(place):
    refused(run_here("spec", "check", "--arch", "mlp", "--spec", "nope.yaml"), "nope.yaml")
    refused(run_here("spec", "derive", "--arch", "mlp", "--spec", "nope.yaml"), "--spec")


def test_the_architecture_said_again_keeps_recorded_arguments(place, solutions):
    ran = run_here("interpolate", solutions[0], solutions[1], "--t", 0.5, "-o", "mid.safetensors", "--arch", "mlp")
    assert ran.status == 0, ran.err
    assert run_here("barrier", solutions[0], "mid.safetensors", "--points", 3).status == 0
