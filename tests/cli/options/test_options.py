"""Options that make no sense, alone or together, and specs and data that are not there: status 1 or 2."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
from support.program import run_here
from support.refused import refused

import starcli
from starcli.cli.main import app
from starcli.errors import option_of


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--arch", "mlp", "--arch-arg", "depth=!!timestamp x", "-o", "x"], "its value cannot be read"),
        (["barrier", "m0"], "at least two"),
        (["barrier", "m0", "m1", "--all-pairs"], "--align"),
        (["barrier", "--star", "m0", "--sources", "m1", "m2"], "--held-out"),
        (["barrier", "m0", "m1", "--sources", "m2"], "--star"),
        (["interpolate", "m0", "m1", "--t", "0.5", "--weights", "1", "0", "-o", "x"], "--perturb, found 2"),
        (["interpolate", "m0", "m1", "m2", "--t", "0.5", "-o", "x"], "--weights"),
        (["interpolate", "m0", "m1", "--weights", "1", "-o", "x"], "1 weight for 2 models"),
        (["interpolate", "m0", "m1", "--weights", "1", "1", "-o", "x"], "sum"),
        (["interpolate", "m0", "--t", "0.5", "-o", "x"], "two models"),
        (["interpolate", "m0", "m1", "--perturb", "1", "-o", "x"], "one model"),
        (["interpolate", "m0", "m1", "--t", "0", "1", "-o", "x"], "same name"),
        (["permute", "m0", "-o", "x"], "--by"),
        (["permute", "m0", "--by", "m1", "--seed", "3", "-o", "x"], "--seed is of --random"),
        (["align", "m0", "m1", "--normal-form", "--seed", "3", "-o", "{name}"], "leave out --seed"),
        (["barrier", "m0", "m1", "--seed", "3"], "--seed 3: nothing is drawn"),
        (["plane", "m0", "m1", "m2", "--align", "none", "--seed", "3"], "--seed 3: nothing is drawn"),
        (["interpolate", "m0", "m1", "--t", "0.5", "--seed", "3", "-o", "x"], "--seed 3: nothing is drawn"),
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
        (["train", "--arch", "mlp", "--seeds", f"0,{2**63}", "-o", "{seed}"], "expected at most 9,223,372,036,854"),
        (["eval", "m0", "--json", "rows.jsonl"], "--json takes no file; results go to stdout: --json > rows.jsonl"),
        (["eval", "m0", "--json", "--format", "csv"], "--json is short for --format json"),
        (["spec", "show", "resnet", "--format", "latex"], "prints a spec as YAML"),
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(place):
    ran = run_here("train", "--arch", "mlp", "--data", "digits", "--device", "cuda:1", "-o", "x.safetensors")
    refused(ran, "--device cuda:1: there is none here")


def test_tf32_is_for_gpus(place, solutions):
    refused(run_here("eval", solutions[0], "--device", "cpu", "--precision", "tf32"), "--precision tf32: cpu has none")
    ran = run_here("eval", solutions[0], "--device", "cpu", "--fast")
    assert ran.status == 0
    assert "--fast: is for GPUs, and changes nothing on cpu" in ran.err


def test_a_device_that_there_is_no_such_word_for(place):
    for word in ("cuda:one", "gpu", "cpu:1"):
        ran = run_here("train", "--arch", "mlp", "--device", word, "-o", "x.safetensors")
        assert ran.status == 2
        assert f"unknown device '{word}'; there is auto, cpu, cuda, mps" in ran.err


def test_a_spec_that_is_not_there(place):
    refused(run_here("spec", "check", "nope.yaml", "--arch", "mlp"), "nope.yaml")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("spec", "derive", "--arch", "mlp"), "--spec"),
        (("spec", "check", "--arch", "mlp"), "--unproved"),
        (("spec", "explain", "--arch", "mlp"), "--device"),
        (("eval", "a.safetensors"), "--spec"),
    ],
)
def test_a_command_has_no_option_that_it_cannot_use(place, words, option):
    assert f"{option} " not in run_here(*words[: 1 + (words[0] == "spec")], "--help").out
    ran = run_here(*words, option, "x")
    assert ran.status == 2
    assert option in ran.err


def _options() -> Iterator[Any]:
    """The options of all commands."""
    commands: list[Any] = [typer.main.get_command(app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        yield from (each for each in command.params if each.param_type_name == "option")


def test_options_that_the_package_speaks_of_are_there():
    """In any text, and where a message makes one of a parameter's name; --help of all, others of other programs."""
    known = {name for option in _options() for name in (*option.opts, *option.secondary_opts)}
    known |= {"--help", "--no", "--nproc-per-node", "--backend-store-uri"}
    option = re.compile(r"(?<![\w-])--[a-z]\w*(?:-\w+)*")
    modules = {path.name: path.read_text() for path in Path(starcli.__file__).parent.rglob("*.py")}
    texts = [
        (name, node.value)
        for name, text in modules.items()
        if not known.issuperset(option.findall(text))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    named = {(name, found) for name, text in texts for found in option.findall(text)}
    assert {(name, found) for name, found in named if found not in known} == set()
    made = {(option.name, option_of(option.name)) for option in _options() if option_of(option.name) not in option.opts}
    assert made == {("align", "--align")}  # which `starcli align` calls --method
