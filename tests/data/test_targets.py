"""Targets of regression and of labels, as files and tensors have them, and what becomes of models of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import refused

import starcli as sc
from starcli.data.dataset import open_data
from starcli.data.in_memory import dataset_in_memory
from starcli.data.targets import read_targets, task_of_targets
from starcli.data.text_options import TextOptions
from starcli.errors import StarcliError

INPUTS = np.random.RandomState(0).randn(60, 6).astype("f4")
NUMBERS = (INPUTS @ np.random.RandomState(1).randn(6, 2)).astype("f4")
LABELS = (NUMBERS @ np.random.RandomState(2).randn(2, 3) > 0).astype("i8")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    for name, targets in (("numbers", NUMBERS), ("labels", LABELS), ("whole", LABELS.sum(1).astype(float))):
        parts = {"x_train": INPUTS[:48], "y_train": targets[:48], "x_test": INPUTS[48:], "y_test": targets[48:]}
        np.savez(place / f"{name}.npz", **parts)
    return place


def test_tasks_are_told_by_the_form_of_targets_or_said(files: Path) -> None:
    for name, task, outputs in (("numbers", "regression", 2), ("labels", "multi-label", 3), ("whole", "classes", 4)):
        data = open_data(str(files / f"{name}.npz"), limit=20, val_fraction=0.2)
        assert (data.task, data.num_classes) == (task, outputs)
        assert data.test.labels.dtype == (torch.int64 if task == "classes" else torch.float32)
    said = open_data(str(files / "whole.npz"), texts=TextOptions(task="regression"))
    assert (said.task, said.num_classes, said.train.labels.shape[1]) == ("regression", 1, 1)
    found = dataset_in_memory((torch.from_numpy(INPUTS), torch.from_numpy(NUMBERS)))
    torch.testing.assert_close(found.train.labels, torch.from_numpy(NUMBERS))
    assert found.task == "regression"
    assert dataset_in_memory((torch.from_numpy(INPUTS), torch.from_numpy(LABELS))).num_classes == 3


def test_targets_that_are_none() -> None:
    assert task_of_targets(np.eye(3)) == "classes"
    with pytest.raises(StarcliError, match="y: 1 rows have a target that is no number, the first at position 1"):
        read_targets(np.array([0.5, np.nan]), "regression", "y")
    for row in ([np.nan, 1.0], [1.0, np.inf]):  # one of several columns is enough
        with pytest.raises(StarcliError, match="y: 1 rows have a target that is no number, the first at position 1"):
            read_targets(np.array([[0.5, 2.0], row]), "regression", "y")
    with pytest.raises(StarcliError, match=r"of shape \(4, 3, 2\), expected numbers"):
        read_targets(np.ones((4, 3, 2)), "regression", "y")
    with pytest.raises(StarcliError, match="are 0 or 1"):
        read_targets(np.array([[0, 2]]), "multi-label", "y")
    pair = (torch.from_numpy(INPUTS), torch.from_numpy(NUMBERS))
    refused(lambda: dataset_in_memory({"train": pair, "test": (pair[0], pair[1][:, :1])}), "1 columns to predict, 2 in")
    other = torch.nn.Sequential(torch.nn.Linear(6, 5))
    with pytest.raises(StarcliError, match="5 outputs to predict 2 columns"):
        sc.train(lambda: other, pair, epochs=1)


@pytest.mark.parametrize(("name", "metric"), [("numbers", "r2"), ("labels", "micro_f1")])
def test_models_of_a_task_go_through_every_function(files: Path, name: str, metric: str) -> None:
    data = str(files / f"{name}.npz")
    models = [sc.train("mlp", data, epochs=2, seed=seed, val_fraction=0.2, lr=0.02) for seed in (0, 1)]
    assert metric in models[0].metadata.metrics["test"]
    assert "accuracy" not in models[0].history[0]
    row = sc.evaluate(models[0])[0]
    found = sc.predict(models[0])
    line = sc.barrier(*models, alignment="weight", points=3)
    curve = line.curves["test"]
    assert row[metric] == pytest.approx(models[0].metadata.metrics["test"][metric]) == curve.metrics[metric][0]
    assert found.summaries()[0][metric] == pytest.approx(row[metric])
    if name == "numbers":
        squares = (found.prediction - found.label) ** 2
        assert row["loss"] == pytest.approx(squares.mean())
        assert curve.rmse_barrier >= 0
    together = sc.predict(*models, ensemble=True)
    each = sc.predict(*models)
    values = "prediction" if name == "numbers" else "probabilities"
    np.testing.assert_allclose(getattr(together, values), getattr(each, values).mean(0), atol=1e-12)
    star = sc.find_star(models, epochs=1)
    assert {"loss", metric, "task"} <= set(sc.bma(star, models, samples=2, repeats=1)[0]) | {"task"}
    assert sc.align(*models, method=sc.Alignment("learn", steps=4)) is not None
    with pytest.raises(StarcliError, match="a temperature is for classes"):
        sc.evaluate(models[0], temperature=2.0)
