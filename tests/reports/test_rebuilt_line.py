"""Lines rebuilt from files: typed again they make the same file, which the program says is there already."""

import shlex
import shutil

import pytest
from support.program import run_here

from starcli.checkpoints.checkpoint import read_metadata
from starcli.reports.findings import find
from starcli.reports.page import render_page
from starcli.reports.rebuilt_line import rebuilt_line


@pytest.fixture
def place(tmp_path, monkeypatch, solutions):
    monkeypatch.chdir(tmp_path)
    for number in (0, 1, 2):
        shutil.copy(solutions[number], tmp_path)
    return tmp_path


SMALL = (
    "--arch",
    "mlp",
    "--arch-arg",
    "depth=1",
    "hidden_dim=8",
    "--epochs",
    "1",
    "--limit",
    "100",
    "--data",
    "digits",
)
PAIR = ("0.safetensors", "1.safetensors")

MADE = {
    "a trained model": None,
    "other settings": (
        "train", *SMALL, "--optimizer", "adam", "--betas", "0.8", "0.99", "--seed", "7", "--warmup", "0.5",
        "--schedule", "step", "--milestones", "0.5", "--augmentation", "none", "--lr", "0.00012345",
    ),
    "nesterov": ("train", *SMALL, "--nesterov", "--label-smoothing", "0.1", "--val-fraction", "0", "--split-seed", "3"),
    "class weights": ("train", *SMALL, "--class-weights", "1,2,3,4,5,6,7,8,9,10.5"),
    "a branch of a run": ("train", "--init", PAIR[0], "--start-epoch", "2", "--seed", "4"),
    "a fine-tuned model": (
        "train", "--init", PAIR[0], "--data", "digits", "--reinit", "fc2.*", "--epochs", "1", "--lr", "0.01",
    ),
    "another precision": ("train", *SMALL, "--precision", "bf16"),
    "an aligned model": ("align", *PAIR, "--restarts", "3", "--seed", "2"),
    "aligned by activation": ("align", *PAIR, "--method", "activation", "--align-share", "0.7"),
    "a point": ("interpolate", *PAIR, "--t", "0.3", "--align", "weight", "--restarts", "2"),
    "a point of some tensors": ("interpolate", *PAIR, "--t", "0.5", "--only", "fc1.*", "fc2.bias"),
    "a point as given": ("interpolate", *PAIR, "--t", "0.5"),
    "a star": ("star", "--sources", *PAIR, "--epochs", "2", "--sampling", "beta", "--seed", "4"),
    "a star by the default recipe, not its sources'": (
        "star", "--sources", *PAIR, "--epochs", "25", "--align", "none",
    ),
    "a curve by the default recipe, not its ends'": ("curve", *PAIR, "--epochs", "25", "--align", "none"),
    "a curve": ("curve", *PAIR, "--epochs", "1", "--align", "weight", "--restarts", "2", "--seed", "3"),
    "a curve as given": ("curve", *PAIR, "--form", "polygon", "--epochs", "1", "--lr", "0.03"),
    "a star by weight": (
        "star", "--sources", *PAIR, "--align", "weight", "--epochs", "1", "--realign-every", "2",
    ),
    "a star of sources that are aligned when they are drawn": (
        "star", "--sources", *PAIR, "--epochs", "1", "--realign-every", "drawn",
    ),
    "a star aligned once, with two draws a step": (
        "star", "--sources", *PAIR, "--epochs", "1", "--realign-every", "never", "--draws-per-step", "2",
    ),
    "a fused model": (
        "fuse", "--sources", *PAIR, "--epochs", "1", "--mu", "0.5", "--objective", "normalised", "--seed", "3",
    ),
    "a mean": ("fuse", "--sources", *PAIR, "--method", "mean", "--align", "weight", "--restarts", "2", "--seed", "1"),
    "a soup": ("fuse", "--sources", *PAIR, "--method", "greedy-soup", "--align", "none"),
}  # fmt: skip


@pytest.mark.parametrize("words", MADE.values(), ids=MADE)
def test_the_line_makes_the_same_file(words, place):
    name = "0.safetensors" if words is None else "made.safetensors"
    if words is not None:
        ran = run_here(*words, "-o", name)
        assert ran.status == 0, ran.err
    line = rebuilt_line(name, read_metadata(place / name)[1])
    assert line
    again = run_here(*shlex.split(line)[1:])
    assert again.status == 0, again.err
    assert f"{name}: finished already with these settings" in again.err


NET = """
from torch import nn


def build(input_size, num_classes, act="relu"):
    return nn.Sequential(nn.Linear(input_size, 4), {"relu": nn.ReLU, "tanh": nn.Tanh}[act](), nn.Linear(4, num_classes))
"""


def test_lines_of_own_networks_and_data_name_them_again(tmp_path, monkeypatch):
    """And how the data are read: a table of numbers to be predicted, standardised."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "t.csv").write_text("\n".join(["a,b,label", *(f"{n / 7:.3f},{n % 5},{n / 20:.2f}" for n in range(40))]))
    own = ("--arch", "net.py:build", "--arch-arg", "act=tanh", "--data", "table:t.csv")
    for seed in (0, 1):
        ran = run_here("train", *own, "--normalise", "data", "--epochs", 1, "--seed", seed, "-o", f"{seed}.safetensors")
        assert ran.status == 0, ran.err
    made = {
        "0": (),
        "t": ("train", "--init", PAIR[0], "--normalise", "data", "--epochs", 2),
        "b": ("align", *PAIR),
        "m": ("interpolate", *PAIR, "--t", 0.5),
        "s": ("star", "--sources", *PAIR),
    }
    for name, words in made.items():
        assert not words or run_here(*words, *own, "-o", f"{name}.safetensors").status == 0
        line = rebuilt_line(f"{name}.safetensors", read_metadata(tmp_path / f"{name}.safetensors")[1])
        assert line
        again = run_here(*shlex.split(line.replace("DATA", "table:t.csv"))[1:])
        assert "finished already with these settings" in again.err, (line, again.err)


def test_a_page_has_typed_lines_first_and_one_line_for_all_seeds(place):
    ran = run_here("align", "0.safetensors", "1.safetensors", "-o", "b.safetensors")
    (place / "align.jsonl").write_bytes(ran.stdout)
    page = render_page(find([place])).replace("<span>", "").replace("</span>", "")
    assert "<code>starcli align 0.safetensors 1.safetensors -o b.safetensors</code>" in page
    assert "<h3>0.safetensors, 1.safetensors, 2.safetensors</h3>" in page
    assert "--seeds 0-2 -o &#x27;{seed}.safetensors&#x27;</code></pre>" in page


def test_where_a_file_records_too_little_there_is_no_line(place):
    assert run_here("permute", "0.safetensors", "--random", "-o", "p.safetensors").status == 0
    assert rebuilt_line("p.safetensors", read_metadata(place / "p.safetensors")[1]) is None
    assert "the line is not recorded, the settings are below" in render_page(find([place / "p.safetensors"]))
