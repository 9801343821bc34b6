"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the program."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.program import PACKAGE, ROOT, TESTS

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
CODE = {
    re.search(r"^(?:def|class) (\w+)|^(if)", code, re.MULTILINE)[0]: code
    for code in map(textwrap.dedent, re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
}
"""The blocks of code, by their first definition."""

NORM = "import math\nfrom collections.abc import Mapping\nfrom torch import Tensor\n"
BOTTLENECK = """
from torch import nn
from starcli.models.arguments import Activation, Count, Width, activation_module

class Bottleneck(nn.Sequential):
    def __init__(self, inputs, wide, narrow, outputs, activation):
        made = (activation_module(activation) for _ in range(2))
        first, second, head = nn.Linear(inputs, wide), nn.Linear(wide, narrow), nn.Linear(narrow, outputs)
        super().__init__(nn.Flatten(), first, next(made), second, next(made), head)

"""
RANDOM = """
from collections.abc import Mapping
import torch
from torch import Tensor
from starcli.alignment.matching.method import Match, MatchMethod
from starcli.alignment.objective import inner_product
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation

"""
MEDIAN = """
from collections.abc import Iterator
from torch import Tensor
from starcli.merging.method import MergeMethod, TensorSettings
from starcli.merging.stack import Stack

"""
STRIPES = """
import numpy as np
from starcli.data.loading import Loaded, Part, Request, assemble

labels, more_labels = np.arange(200) % 2, np.arange(100) % 2
inputs, more_inputs = (np.random.default_rng(0).random((len(y), 1, 8, 8), np.float32) for y in (labels, more_labels))
inputs[labels == 1, :, :, ::2] = more_inputs[more_labels == 1, :, :, ::2] = 0

"""
FIGURE = """
from collections.abc import Mapping, Sequence
from starcli.plots.look import Look
from starcli.plots.parts import model_name
from starcli.plots.rows import DrawnNorm
from starcli.plots.ruler import Ruler
from starcli.plots.style import BLUE, draw_figure, grow

"""
READER = """
import numpy as np
import torch

def is_npz(path):
    return path.suffix == ".npz"

def read_npz(path):
    return {name: torch.from_numpy(value) for name, value in np.load(path).items()}

"""
LINES = """
import json
import numpy as np
import torch
from safetensors.numpy import load_file
from support.program import run_here
from torch import nn

import starcli as sc

def run(*words):
    ran = run_here(*words)
    assert ran.status == 0, ran.err
    return ran

run("train", "--arch", "bottleneck", "--data", "stripes", "--schedule", "linear", "--epochs", 4, "--seeds", "0,1",
    "-o", "{seed}.safetensors")
derived = ["--arch", "starcli.models.bottleneck:bottleneck", "--arch-arg", "input_size=64", "--input", "1,1,8,8"]
run("spec", "derive", *derived, "-o", "archspecs/bottleneck.yaml")
run("spec", "check", "--arch", "bottleneck", "--data", "digits")
[row] = run("align", "0.safetensors", "1.safetensors", "--method", "random", "-o", "aligned.safetensors").rows
assert row["method"] == "random" and row["moved"] > 30
run("fuse", "--sources", "0.safetensors", "1.safetensors", "--method", "median", "--align", "none", "-o",
    "median.safetensors")
first, second, merged = (load_file(f"{name}.safetensors") for name in ("0", "1", "median"))
assert all((merged[name] == np.minimum(first[name], second[name])).all() for name in merged)  # torch's median of two
run("train", "--arch", "bottleneck", "--data", "stripes", "--optimizer", "radam", "--betas", 0.8, 0.99, "--epochs", 1,
    "-o", "radam.safetensors")
norms = run("norm", "0.safetensors", "1.safetensors", "--json").out
assert [json.loads(line)["type"] for line in norms.splitlines()] == ["norm", "norm"]
open("norms.jsonl", "w").write(norms)
run("plot", "norms.jsonl", "-o", "norms.pdf")
np.savez("0.npz", **load_file("0.safetensors"))
scores = [run("eval", name, "--arch", "bottleneck", "--data", "stripes").rows[0]["accuracy"]
          for name in ("0.safetensors", "0.npz")]
assert scores[0] == scores[1] > 0.9

class Apart(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        hidden = self.up(x)
        return self.down(hidden * torch.dist(hidden, torch.tanh(hidden)))

found = sc.derive_and_prove(Apart(), (torch.rand(3, 4),))
assert [group.size for group in found.resolved.groups.values()] == [6], found.notes
"""


ADDED = {
    "evaluation/norm.py": NORM + CODE["def weight_norm"],
    "cli/commands/norm.py": CODE["def norm_command"],
    "models/bottleneck.py": BOTTLENECK + CODE["def bottleneck"],
    "registry/architectures.py": "ARCHITECTURES['bottleneck'] = Entry('starcli.models.bottleneck:bottleneck', '')",
    "alignment/matching/random.py": RANDOM + CODE["def match_randomly"],
    "registry/alignment_methods.py": "METHODS['random'] = Entry('starcli.alignment.matching.random:RANDOM', '')",
    "merging/median.py": MEDIAN + CODE["def median"],
    "registry/merges.py": "MERGES['median'] = Entry('starcli.merging.median:MEDIAN', '')",
    "data/stripes.py": STRIPES + CODE["def load_stripes"],
    "registry/data_sets.py": "DATASETS['stripes'] = Entry('starcli.data.stripes:load_stripes', '')",
    "files/npz_files.py": READER,
    "training/schedule.py": CODE["def linear_rate"],
    "registry/optimizers.py": (
        "OPTIMIZERS['radam'] = OptimizerEntry('torch.optim:RAdam', '', rate=1e-3, reads=('betas',))"
    ),
    "registry/schedules.py": "SCHEDULES['linear'] = RecipeEntry('starcli.training.schedule:linear_rate', '')",
    "plots/rows.py": CODE["class DrawnNorm"],
    "plots/norms_figure.py": FIGURE + CODE["def norms_figure"],
    "plots/draw.py": (
        "from starcli.plots.norms_figure import norms_figure\n"
        "from starcli.plots.rows import DrawnNorm\n"
        "DRAWN_KINDS['norm'] = DrawnKind('norm', DrawnNorm, norms_figure)"
    ),
    "symmetry/derive/rules/reduce.py": CODE["def distance"],
}
"""What is written to new files, and behind what is in others."""

PUT_BEFORE = {
    "cli/main.py": ('        "permute": ', '        "norm": norm_command,\n'),
    "checkpoints/weights.py": ("    if is_torch_file(path):", textwrap.indent(CODE["if"], "    ")),
}
IMPORTED = {
    "cli/main.py": "from starcli.cli.commands.norm import norm_command\n",
    "checkpoints/weights.py": "from starcli.files.npz_files import is_npz, read_npz\n",
}


@pytest.mark.slow
def test_recipes_work_in_a_copy_of_the_program(tmp_path: Path) -> None:
    place = shutil.copytree(PACKAGE, tmp_path / "starcli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "archspecs", tmp_path / "archspecs")
    for file, code in ADDED.items():
        with (place / file).open("a") as target:
            target.write(f"\n{code}\n")
    for file, (line, code) in PUT_BEFORE.items():
        text = (place / file).read_text()
        assert line in text
        (place / file).write_text(IMPORTED[file] + text.replace(line, code + line, 1))
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{TESTS}"}
    ran = subprocess.run([sys.executable, "-c", LINES], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 0, ran.stderr
