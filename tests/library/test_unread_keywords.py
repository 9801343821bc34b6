"""What a call would not read, or cannot, is refused in the package's words."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import starcli as sc
from starcli.averaging.sampling import sampling_of


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a: sc.predict(a, seed=3), "seed is for points between models: they need a star"),
        (lambda a: sc.predict(a, alignment="weight"), "alignment is for points between models"),
        (lambda a: sc.predict(a, sources=[a]), "sources is for points between models"),
        (lambda a: sc.interpolate(a, a, t=0.5, seed=3), "seed is of a random point around one model"),
        (lambda a: sc.interpolate(a, perturb=1.0, alignment="weight"), "takes one model, and alignment needs two"),
        (lambda a: sc.fuse([a, a], method="linear", weights="ab"), "weights='ab': expected a number"),
        (lambda a: sc.fuse([a, a], method="ties", base=a, density="x"), "density='x': expected a number"),
        (lambda a: sc.report([]), "no file or directory is given"),
        (lambda a: sc.barrier(a, a, progress=print), "progress=.*: expected a subclass of sc.Watcher"),
        (lambda a: sc.train(a, "mnist", data_dir=3), "data_dir=3: expected a path"),
        (lambda a: sc.train(a, "digits", augmentation="flip"), "augmentation: expected several values, as a list"),
    ],
    ids=map(str, range(11)),
)
def test_what_would_not_be_read_is_refused(call: Any, words: str) -> None:
    with pytest.raises(sc.StarcliError, match=words):
        call(network())


def test_a_function_that_draws_beyond_the_ends_of_a_line_is_refused() -> None:
    draw_t = sampling_of(lambda _: 1.5)
    with pytest.raises(sc.StarcliError, match=r"gave t = 1.5, expected 0 to 1"):
        draw_t(torch.Generator())


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")  # deprecated, and in use
def test_a_module_of_torchscript_is_refused() -> None:
    with pytest.raises(sc.StarcliError, match="0: a module of TorchScript cannot be traced"):
        sc.evaluate(torch.jit.trace(network(), torch.zeros(1, 4)))


def test_a_checkpoint_can_be_pickled(tmp_path: Path) -> None:
    examples = torch.randn(20, 4), torch.arange(20) % 3
    made = sc.train(network(), {"train": examples, "test": examples}, epochs=1)
    loaded = sc.load(sc.save(made, tmp_path / "a.safetensors"))
    again = pickle.loads(pickle.dumps(loaded))
    assert again.sha256 == loaded.sha256
    assert all(bool((again.tensors[name] == tensor).all()) for name, tensor in loaded.tensors.items())
