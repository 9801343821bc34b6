"""What results rest on: the precision tells figures apart that were measured otherwise."""

import pytest
import torch
from support.program import run_here
from torch import nn

import starcli as sc
from starcli.checkpoints.checkpoint import read


def test_results_say_of_how_much_of_the_data_they_are(solutions):
    """The hash is that of the whole: a quick look at 50 examples was told from the measurement by nothing."""
    models = solutions.some(0, 1)
    none = ("--val-fraction", 0)
    found = [
        run_here("barrier", *models, "--points", 3, *more).rows[0]["data"]
        for more in ((), none, (*none, "--limit", 50))
    ]
    whole = {name: found[1][name] for name in ("name", "fingerprint")}
    assert found[0] == {**whole, "limit": 300, "val_fraction": 0.2}  # those that the models were trained on
    assert found[2] == {**whole, "limit": 50}


def test_results_say_of_which_network_they_are(solutions):
    """So that those of several widths can be joined; a network in memory has no name to say."""
    models = solutions.some(0, 1)
    [row] = run_here("barrier", *models, "--points", 3, "--format", "csv").out.splitlines()[1:]
    said = {"name": "mlp", "arguments": read(models[0]).metadata.architecture.arguments}
    assert said["arguments"]["hidden_dim"] == 12
    assert {"mlp", "12"} <= {*row.split(",")}
    for words in (("barrier", "--points", 3), ("eval",)):
        assert run_here(words[0], *models, *words[1:]).rows[0]["architecture"] == said
    assert sc.barrier(*models, points=3, alignment=None).to_dict()["architecture"] == said
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    data = (torch.randn(20, 3), torch.arange(20) % 2)
    assert "architecture" not in sc.evaluate(network, data=data)[0]


@pytest.mark.parametrize("words", [("eval",), ("barrier", "--points", 3), ("predict", "-o")])
def test_results_say_their_precision(solutions, tmp_path, words):
    models = solutions.some(0, 1)
    usual, coarse, table = (
        run_here(words[0], *models, *words[1:], *([tmp_path / f"{number}.csv"] if words[0] == "predict" else []), *more)
        for number, more in enumerate(((), ("--precision", "bf16"), ("--precision", "bf16", "--format", "table")))
    )
    assert {row["precision"] for row in usual.rows} == {"fp32"}
    assert {row["precision"] for row in coarse.rows} == {"bf16"}
    assert "precision: bf16\n" in table.out
