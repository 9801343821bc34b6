"""starcli.toml gives network, data and device once; what is typed wins, and the file says what it gave."""

import dataclasses
import os
from pathlib import Path

import pytest
from support.program import run_here

from starcli.cli.framework.project_file import PROJECT_KEYS, ProjectFile
from starcli.cli.options.setup import NetworkSetup

NETWORK = """
from torch import nn

def build(width=3, num_classes=10, **_):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))
"""


@pytest.fixture
def project(place):
    """A project with its own network, and a directory in it where commands run."""
    Path("net.py").write_text(NETWORK)
    Path("starcli.toml").write_text(
        'arch = "net.py:build"\narch-arg = { width = 5 }\ndata = "digits"\nlimit = 50\ndevice = "cpu"\n'
    )
    Path("runs").mkdir()
    os.chdir("runs")
    yield place
    os.chdir(place)


def trained(*words):
    return run_here("train", "--epochs", 1, *words)


def test_it_stands_in_the_place_of_words(project):
    ran = trained("-o", "a.safetensors")
    assert ran.status == 0, ran.err
    assert (
        "note: from ../starcli.toml: arch net.py:build, arch-arg width=5, data digits, limit 50, device cpu" in ran.err
    )
    [row] = run_here("inspect", "a.safetensors").rows
    assert row["architecture"]["arguments"]["width"] == 5
    assert row["data"]["limit"] == 50
    assert row["project"]["file"] == "../starcli.toml"
    assert run_here("eval", "a.safetensors").status == 0  # whose network is code, which no checkpoint may name
    assert "from" not in run_here("eval", "a.safetensors", "--quiet").err
    assert "taken before what this file says" in run_here("inspect", "a.safetensors", "--format", "table").out


def test_what_is_typed_wins(project):
    ran = trained("--arch-arg", "width=4", "--limit", 60, "-o", "b.safetensors")
    assert ran.status == 0, ran.err
    [row] = run_here("inspect", "b.safetensors").rows
    assert row["architecture"]["arguments"]["width"] == 4
    assert row["data"]["limit"] == 60
    assert "starcli.toml: arch net.py:build, data digits, device cpu\n" in ran.err


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("arch", "net.py:build", "../net.py:build"),
        ("arch", "torchvision:resnet18", "torchvision:resnet18"),
        ("data", "texts.csv", "../texts.csv"),
        ("data", "text:texts.csv", "text:../texts.csv"),
        ("data", "wds:shards/{0..3}.tar", "wds:../shards/{0..3}.tar"),
        ("data", "digits", "digits"),
        ("tokenizer", "nowhere.json", "nowhere.json"),
    ],
)
def test_paths_lie_beside_the_file(project, key, value, expected):
    (project / "texts.csv").touch()
    assert ProjectFile(project / "starcli.toml", {key: value}).defaults() == {key: expected}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('archh = "mlp"', "unknown option of a project file 'archh'; did you mean arch"),
        ('source-data = ["digits", "digits"]', "source-data: goes with the models of one line, and is said there"),
        ("device = 3", "device: 3 is no text"),
        ("limit = true", "limit: true is no whole number"),
        ("arch-arg = { a = [1] }", "arch-arg: its values are numbers, words, true or false"),
        ("device = ", "is not TOML"),
    ],
)
def test_what_it_may_not_say_is_named(project, text, complaint):
    (project / "starcli.toml").write_text(text)
    ran = trained("-o", "c.safetensors")
    assert ran.status == 1
    assert complaint in ran.err
    assert "starcli.toml" in ran.err


def test_another_user_cannot_name_code(project, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(".").st_uid + 1000)
    if os.stat(project / "starcli.toml").st_uid == 0:
        os.chown(project / "starcli.toml", 4321, -1)
    ran = trained("-o", "d.safetensors")
    assert ran.status == 1
    assert "belongs to another user" in ran.err


def test_its_keys_are_options():
    fields = {field.name for field in dataclasses.fields(NetworkSetup)} | {"arch_arg"}
    assert {key.replace("-", "_") for key in PROJECT_KEYS} <= fields
