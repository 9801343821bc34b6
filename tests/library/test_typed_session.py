"""A session as in a user's script, which mypy checks as it is: no result has to be cast, or asserted not to be None.

`[tool.mypy]` in pyproject.toml names this module, and examples/library.py.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import starcli as sc


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def blobs(seed: int) -> tuple[Tensor, Tensor]:
    """Four numbers of each of 60 examples, and which of three classes it is."""
    labels = torch.arange(60) % 3
    noise = torch.randn(60, 4, generator=torch.Generator().manual_seed(seed))
    return noise + 3 * nn.functional.one_hot(labels, 4), labels


class Table:
    """What knows itself as an array, as tables of pandas do."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def to_numpy(self, copy: bool = False) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self.values.numpy()
        return values.copy() if copy else values


DATA = {"train": blobs(0), "validation": blobs(1), "test": blobs(2)}


def test_models() -> None:
    recipe = sc.Recipe(epochs=6, batch_size=20, lr=0.05)
    a, b, c = (sc.train(network, DATA, recipe=recipe, seed=seed, keep=[2]) for seed in range(3))
    rows: float = a.history[-1]["loss"] + a.to_dict()["test"]["accuracy"] + a.to_frame()["loss"].min()
    assert rows > 0
    path = sc.save(a, "a.safetensors")
    shape: torch.Size = sc.load(path).tensors["0.weight"].shape
    first, second = sc.load(path, sc.save(a.kept[2], "b.safetensors"))
    assert (shape, first.name, second.metadata.kind) == ((8, 4), "a.safetensors", "model")
    assert sc.describe(path).verified is None

    aligned = sc.align(a, b.module(), method=sc.Alignment("weight", restarts=2))
    distance: float = aligned.to_dict()["distance_after"]
    back = sc.permute(aligned, by=aligned.symmetry.inverse())
    assert distance > 0
    assert torch.equal(back.tensors["0.weight"], b.tensors["0.weight"])
    assert [each.permutation.inverse() for each in sc.align_jointly(a, [b, c])]
    assert sc.selftest(a, method="weight")[0]["recovered"] <= 24
    assert sc.normal_form(a).to_dict()["norm_after"] > 0
    moved = sc.permute(a, seed=1, kinds="all")
    assert moved.save_symmetry("moved.safetensors").exists()

    middle = sc.interpolate(a, aligned, t=0.5, alignment=None)
    mean = sc.interpolate(a, aligned, weights=np.array([0.5, 0.5]), alignment=None)
    torch.testing.assert_close(mean.tensors["0.bias"], middle.tensors["0.bias"])
    merged = sc.fuse([a.tensors, b.tensors], method="linear", weights=torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(merged.tensors["0.bias"], 0.75 * a.tensors["0.bias"] + 0.25 * b.tensors["0.bias"])
    [bend] = sc.curve(a, b, epochs=1, alignment="weight")
    assert bend.module()(DATA["test"][0]).shape == (60, 3)


def test_measures(place: Path) -> None:
    models = [sc.train(network(), DATA, seed=seed, epochs=6, batch_size=20, lr=0.05) for seed in range(4)]
    barrier = sc.barrier(*models[:2], alignment="weight", points=3)
    curve = barrier.curves["test"]
    assert curve.loss_barrier >= 0
    assert curve.accuracy_barrier >= 0
    assert max(curve.accuracy) <= 1
    assert barrier.to_frame().query("split == 'test'")["loss"].max() == curve.loss_max
    pairs = sc.all_pairs(models, alignment="weight", points=3)
    assert pairs.matrix("test").max() >= 0
    assert pairs.star_share(9.0) == 1
    assert pairs.to_frame()["accuracy_barrier"].mean() >= 0

    star = sc.find_star(models[:3], epochs=6)
    report = sc.star_report(star, star.sources, models[3:], aligned_sources=star.aligned_sources, points=3)
    low, high = report.groups["star-source"].summaries["train"].interval
    assert low <= report.groups["star-source"].summaries["train"].mean <= high
    assert report.star["test"].accuracy <= 1
    assert report.regular["test"].mean > 0
    assert len(report.to_frame()["mean"]) == 10

    inputs, labels = DATA["test"]
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=7)
    found = sc.predict(*models, ensemble=True, data={**DATA, "test": loader})
    assert found.probabilities.shape == (60, 3)
    assert found.entropy.max() < 2
    assert (found.prediction == found.label).mean() == found.summaries()[0]["accuracy"]
    assert sc.predict(models[0], data=inputs.numpy()).probabilities.sum(1).min() > 0.99
    table = sc.predict(models[0], data=Table(inputs)).probabilities
    np.testing.assert_array_equal(table, sc.predict(models[0], data=inputs).probabilities)
    accuracy: float = sc.evaluate(*models, temperature=2)[0]["accuracy"]
    rows = sc.bma(star, models[:3], samples=2, repeats=1, sampling=lambda generator: 0.5)
    assert accuracy <= 1
    assert rows.column("posterior") == ["single", "star", "ensemble"]
    assert rows.to_frame()["nll"].min() > 0
    assert sc.fuse(models[:2], epochs=2).comparison[0]["model"] == "fused"

    plane = sc.plane(*models[:3], points=3, alignment=None)
    assert plane.marks[0].place == (0, 0)
    assert sc.surface(models[0], points=3).to_frame()["loss"].min() > 0
    sc.plot(barrier, "barrier.svg", width="3in")
    sc.plot({"alone": rows}, place / "bma.svg")
    sc.save(star, "star.safetensors")
    assert "two" in sc.report(place, title="two")


def test_symmetries() -> None:
    derived = sc.derive_and_prove(network(), (torch.zeros(2, 4),))
    assert list(derived.resolved.groups) == ["units.0"]
    assert not derived.rejected
    assert sc.derive_kinds(network(), (torch.zeros(2, 4),), spec=derived).continuous_dimension == 8


class Steps(sc.Watcher):
    """How many steps of which tasks were done."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.total: dict[str, int] = {}

    def start(self, task: str, total: int) -> None:
        self.task = task
        self.done[task], self.total[task] = 0, total

    def step(self, count: int = 1, **figures: float) -> None:
        self.done[self.task] += count


def test_progress() -> None:
    steps = Steps()
    model = sc.train(network, DATA, epochs=2, batch_size=20, progress=steps)
    sc.barrier(model, model, points=5, progress=steps)
    assert steps.done == steps.total
    assert steps.total["training seed 0"] == 6
