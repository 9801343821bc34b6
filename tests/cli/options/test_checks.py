"""Wrong words are answered before torch is imported; names of networks get the right spelling."""

import json
import os
import subprocess
import sys

import pytest
from support.program import ROOT, run_here
from support.refused import refused

WRONG = {
    "barrier missing.safetensors d": ["missing.safetensors: cannot read", "d: is a directory", "d/*.safetensors"],
    "eval d": ["d: is a directory, not a file"],
    "inspect nothing": ["nothing: cannot read: No such file"],
    "align a.safetensors gone.safetensors -o f/x.safetensors": ["gone.safetensors", "f: is no directory"],
    "permute a.safetensors --by gone.perm -o x.safetensors": ["gone.perm"],
    "convert gone.pth -o x.safetensors": ["gone.pth"],
    "star --sources a.safetensors b.safetensors --init gone -o x.safetensors": ["gone: cannot read"],
    "fuse --sources a.safetensors b.safetensors --optimizer adma -o x.safetensors": ["did you mean adam"],
    "bma --star d --sources a.safetensors b.safetensors": ["d: is a directory"],
    "barrier --star a.safetensors --sources a.safetensors --aligned-sources none": ["no such directory"],
    "train --arch resnte -o x.safetensors": ["did you mean resnet"],
    "train --arch d -o x.safetensors": ["d is a directory", "--arch d/FILE.py:NAME"],
    "train --arch own -o x.safetensors": ["own is a directory", "--arch own/net.py:NAME"],
    "train --arch own/net.py -o x.safetensors": ["which function or class", "--arch own/net.py:build"],
    "train --arch own/many.py -o x.safetensors": ["--arch own/many.py:build7\n  and 60 more\n"],
    "train --arch own/net:build -o x.safetensors": ["--arch own/net.py:build"],
    "train --arch own/gone.py:build -o x.safetensors": ["there is no file own/gone.py"],
    "train --arch no_such_module:build -o x.safetensors": ["there is no module no_such_module"],
    "train --arch own.net.build -o x.safetensors": ["unknown architecture", "FILE.py:NAME"],
    "train --arch mlp --data digist -o x.safetensors": ["did you mean digits"],
    "train --arch mlp --data gone.npz -o x.safetensors": ["gone.npz: no such file"],
    "train --arch mlp --data idx:gone -o x.safetensors": ["idx:gone: no such directory"],
    "train --arch mlp --recipe quickstrat -o x.safetensors": ["quickstart"],
    "train --arch mlp --recipe gone.yaml -o x.safetensors": ["gone.yaml: there is no such file"],
    "train --arch mlp --schedule cosien -o x.safetensors": ["did you mean cosine"],
    "train --arch mlp -o f/{seed}/x.safetensors --seeds 0-1": ["f: is no directory"],
    "spec check resnte": ["did you mean resnet"],
    "spec derive --arch mlp -o f/x.yaml": ["f: is no directory"],
    "align a.safetensors b.safetensors --spec gone.yaml -o x.safetensors": ["gone.yaml"],
}

CODE = """
import json, shlex, sys
from starcli.cli.main import app
for line in json.loads(sys.argv[1]):
    print("LINE", file=sys.stderr)
    try:
        app(shlex.split(line), prog_name="starcli")
    except SystemExit as end:
        print("torch" in sys.modules, end.code)
"""


@pytest.fixture
def words(place):
    """Files and directories with which the lines of WRONG are wrong."""
    for name in ("d", "own"):
        (place / name).mkdir()
    (place / "own/net.py").write_text("def build(): ...")
    (place / "own/many.py").write_text("".join(f"def build{number}(): ...\n" for number in range(68)))
    for name in ("a.safetensors", "b.safetensors", "f", "d/a.safetensors"):
        (place / name).touch()
    return place


@pytest.mark.usefixtures("words")
def test_wrong_words_are_told_before_torch_is_imported():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", CODE, json.dumps(list(WRONG))]
    ran = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120, check=True)
    assert ran.stdout.splitlines() == ["False 1"] * len(WRONG), ran.stderr
    for (line, expected), found in zip(WRONG.items(), ran.stderr.split("LINE\n")[1:], strict=True):
        assert all(word in found for word in expected), (line, found)


NET = """
from torch import nn
from layers15 import hidden

class Net(nn.Sequential):
    def __init__(self, width=6):
        super().__init__(nn.Flatten(), hidden(64, width), nn.ReLU(), nn.Linear(width, 10))

def build(width=6):
    return Net(width)
"""
DIGITS = ("--data", "digits", "--limit", 100, "--epochs", 1)


@pytest.fixture
def code(place):
    """A file with a network, which imports its neighbour, in a directory that is no package."""
    (place / "code").mkdir()
    (place / "code/net15.py").write_text(NET)
    (place / "code/layers15.py").write_text("from torch.nn import Linear as hidden")
    return "code/net15.py"


def test_networks_are_named_by_file_and_the_path_is_not_recorded(code, place):
    for name, spelled in (("a", f"{code}:build"), ("b", f"./code/../{code}:build"), ("c", f"{place / code}:Net")):
        ran = run_here("train", "--arch", spelled, *DIGITS, "-o", f"{name}.safetensors")
        assert ran.status == 0, ran.err
    [row] = run_here("inspect", "a.safetensors").rows
    assert row["architecture"]["name"] == "net15:build"
    assert (place / "a.safetensors").read_bytes() == (place / "b.safetensors").read_bytes()
    assert str(place).encode() not in (place / "c.safetensors").read_bytes()
    run_here("permute", "a.safetensors", "--random", "--arch", f"{code}:build", "-o", "d.safetensors")
    again = run_here("eval", "a.safetensors", "d.safetensors", "--arch", f"{code}:build")
    assert again.status == 0, again.err
    assert again.rows[0]["nll"] == pytest.approx(again.rows[1]["nll"], rel=1e-5)
    refused(run_here("eval", "a.safetensors"), "--arch net15:build, or its file, DIR/net15.py:build, for")


def test_two_files_of_one_name_are_not_taken_for_each_other(code, place):
    (place / "other").mkdir()
    (place / "other/net15.py").write_text(NET.replace("width=6", "width=9"))
    for folder, width in (("code", 6), ("other", 9), ("code", 6)):
        ran = run_here("spec", "derive", "--arch", f"{folder}/net15.py:build", "--input", "1,64")
        assert ran.status == 0, ran.err
        assert ran.rows[0]["parameters"] == 64 * width + width + width * 10 + 10


def test_a_file_hides_no_module(place):
    for name in ("random", "pytest"):
        (place / f"{name}.py").write_text(NET)
        refused(run_here("train", "--arch", f"{name}.py:build", *DIGITS, "-o", "x.safetensors"), f"the name {name}")


def test_a_file_that_fails_says_how(place):
    (place / "broken15.py").write_text("import nowhere15")
    ran = run_here("train", "--arch", "broken15.py:build", *DIGITS, "-o", "x.safetensors")
    refused(ran, "architecture broken15.py:build cannot be imported", "No module named 'nowhere15'")
    (place / "broken15.py").write_text("\ndef build(:\n")
    ran = run_here("train", "--arch", "broken15.py:build", *DIGITS, "-o", "x.safetensors")
    refused(ran, "cannot be imported", "SyntaxError", "at broken15.py:2: def build(:")
    (place / "fine15.py").write_text(NET.replace("from layers15 import hidden", "hidden = nn.Linear"))
    refused(run_here("train", "--arch", "fine15.py:biuld", *DIGITS, "-o", "x.safetensors"), "did you mean build")
