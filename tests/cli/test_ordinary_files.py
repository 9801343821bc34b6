"""State dicts as torch and others write them: every command takes or refuses the same ones, as the same models."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from support.program import Ran, run_here
from torch import nn

pytestmark = pytest.mark.usefixtures("own_cache")

NETWORK = """
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(64, 8), nn.BatchNorm1d(8)
        self.there, self.back, self.head = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 10)
        self.back.weight = self.there.weight

    def forward(self, x):
        return self.head(self.back(self.there(self.norm(self.first(x.flatten(1))).relu()).relu()).relu())
"""
MASKED = """
import torch
from torch import nn

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.q, self.k, self.v = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 10)
        self.register_buffer("mask", torch.full((8, 8), -torch.inf).triu(1))

    def forward(self, x):
        x = self.embed(x.flatten(1).unflatten(1, (8, 8)))
        seen = (self.q(x) @ self.k(x).mT + self.mask).softmax(-1) @ self.v(x)
        return self.head((x + seen)[:, -1].relu())
"""
WORDS = ("--arch", "tied4:Tied", "--data", "digits", "--limit", 100)
FILES = ("0.safetensors", "1.safetensors")
COMMANDS = {
    "eval": ("eval", *FILES),
    "align": ("align", *FILES, "-o", "out.safetensors"),
    "permute": ("permute", FILES[1], "--random", "-o", "out.safetensors"),
    "interpolate": ("interpolate", *FILES, "--t", 0.5, "--align", "none", "-o", "out.safetensors"),
    "perturb": ("interpolate", FILES[1], "--perturb", 1, "-o", "out.safetensors"),
    "barrier": ("barrier", *FILES, "--align", "none", "--points", 3),
    "bma": ("bma", "--star", FILES[0], "--sources", "2.safetensors", FILES[1], "--samples", 2, "--repeats", 1),
    "star": ("star", "--sources", *FILES, "--epochs", 1, "-o", "out.safetensors"),
    "fuse": ("fuse", "--sources", *FILES, "--epochs", 1, "-o", "out.safetensors"),
    "init": (
        "star", "--sources", FILES[0], "2.safetensors", "--init", FILES[1], "--epochs", 1,
        "-o", "out.safetensors",
    ),
    "predict": ("predict", FILES[1], "-o", "out.csv"),
    "convert": ("convert", FILES[1], "-o", "out.safetensors"),
}  # fmt: skip


def network(seed: int, code: str = NETWORK, name: str = "Tied") -> nn.Module:
    found: dict[str, type[nn.Module]] = {}
    exec(code, found)
    torch.manual_seed(seed)
    made = found[name]()
    with torch.no_grad():
        made(torch.randn(50, 64))  # statistics of its own
    return made


@pytest.fixture
def models(place: Path) -> Path:
    """Whole models 0, 1 and 2, the second of which tests replace."""
    (place / "tied4.py").write_text(NETWORK)
    for seed in range(3):
        save_file({n: t.clone() for n, t in network(seed).state_dict().items()}, place / f"{seed}.safetensors")
    return place


def runs(place: Path, where: Sequence[object] = WORDS) -> Iterator[tuple[str, Ran, dict[str, torch.Tensor]]]:
    """Each command, and the tensors that it wrote."""
    for name, words in COMMANDS.items():
        ran = run_here(*words, *where, "-q")
        written = place / "out.safetensors"
        yield name, ran, load_file(written) if written.exists() else {}
        for path in (written, place / "out.csv"):
            path.unlink(missing_ok=True)


@pytest.mark.slow
def test_all_commands_take_a_model_that_is_written_in_other_ways_for_the_same(models: Path) -> None:
    whole = {name: (ran, tensors) for name, ran, tensors in runs(models)}
    assert {ran.status for ran, _ in whole.values()} == {0}
    save_model(network(1), str(models / "1.safetensors"))  # of tied names one
    once = load_file(models / "1.safetensors")
    assert len(once) == len(network(1).state_dict()) - 1
    bare = {name: tensor for name, tensor in once.items() if "num_batches" not in name}
    for number, state in enumerate((once, bare)):
        save_file(state, models / "1.safetensors")
        for name, ran, tensors in runs(models):
            before, expected = whole[name]
            assert ran.status == 0, (name, ran.err)
            keys = ("train", "test", "nll", "accuracy", "loss", "objective", "moved")
            for now, then in zip(ran.rows, before.rows, strict=True):
                assert {key: now.get(key) for key in keys} == {key: then.get(key) for key in keys}
            counters = {key for key in expected if number and "num_batches" in key}
            assert tensors.keys() == expected.keys()
            assert all(torch.equal(tensors[key], expected[key]) for key in expected.keys() - counters), name


def test_all_commands_refuse_copies_of_one_tensor_that_differ(models: Path) -> None:
    state = load_file(models / "1.safetensors")
    save_file({**state, "back.weight": state["back.weight"] + 1}, models / "1.safetensors")
    for name, ran, tensors in runs(models):
        assert ran.status == 1, name
        assert ran.err.splitlines() == [
            "starcli: the weights do not fit the network tied4:Tied",
            "  there.weight, back.weight are tied, but differ by up to 1 in 1.safetensors",
        ]
        assert not tensors


def test_all_commands_say_what_is_wrong_unknown_names_first(models: Path) -> None:
    state = load_file(models / "1.safetensors")
    del state["first.bias"]
    save_file({**state, "criterion.weight": torch.ones(2), "head.bias": torch.ones(3)}, models / "1.safetensors")
    for name, ran, _ in runs(models):
        assert ran.status == 1, name
        assert ran.err.splitlines() == [
            "starcli: the weights do not fit the network tied4:Tied",
            "  criterion.weight: not in the network in 1.safetensors",
            "  head.bias: shape (3,), the network has (10,) in 1.safetensors",
            "  first.bias: missing in 1.safetensors",
        ]


@pytest.mark.slow
def test_all_commands_take_masks_with_infinite_entries_and_no_other_values_of_that_kind(place: Path) -> None:
    (place / "masked4.py").write_text(MASKED)
    for seed in range(3):
        save_file(dict(network(seed, MASKED, "Masked").state_dict()), place / f"{seed}.safetensors")
    where = ("--arch", "masked4:Masked", *WORDS[2:])
    for name, ran, tensors in runs(place, where):
        assert ran.status == 0, (name, ran.err)
        assert "NaN" not in ran.out
        assert "mask" not in tensors or int(tensors["mask"].isinf().sum()) == 28, name
        assert all(tensor.isfinite().all() for key, tensor in tensors.items() if key != "mask")
    state = load_file(place / "1.safetensors")
    for key, value in (("mask", torch.full((8, 8), torch.inf)), ("q.bias", torch.full((6,), -torch.inf))):
        save_file({**state, key: value}, place / "1.safetensors")
        for name, ran, _ in runs(place, where):
            assert ran.status == 1, name
            assert f"{key}: has values that are not finite in 1.safetensors" in ran.err
