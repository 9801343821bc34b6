"""Every command on texts, for their class and for next tokens; what does not go together is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.program import ROOT, Ran, run_here

PACKAGES = ROOT / "tests" / "data" / "packages.csv"
SMALL = ("--arch-arg", "dim=8", "mlp_dim=8", "heads=2", "depth=1")
TRAINING = ("--epochs", 1, "--optimizer", "adam", "--lr", 0.01)
DATA = ("--data", PACKAGES)
STACKED = ("--stacked", "--seeds", "0-1", "-o", "{seed}.safetensors")
TASKS = {"bert": (), "gpt": ("--task", "next-token")}


def rows(ran: Ran) -> list[dict[str, Any]]:
    assert ran.status == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def train(name: str, seeds: str = "0-1", *more: object) -> Ran:
    where = ("--length", 24, "--limit", 60, "--val-fraction", 0.1, "-o", name + "{seed}.safetensors")
    return run_here("train", "--arch", name, *SMALL, *DATA, *TASKS[name], *TRAINING, *where, "--seeds", seeds, *more)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_command(name: str, place: Path) -> None:
    trained = rows(train(name))
    pair = (f"{name}0.safetensors", f"{name}1.safetensors")
    [found] = rows(run_here("eval", pair[0], *DATA))
    assert found["nll"] == pytest.approx(trained[0]["test"]["loss"], rel=1e-6)
    assert found["accuracy"] == trained[0]["test"]["accuracy"]
    assert found.get("perplexity") == (pytest.approx(np.exp(found["nll"])) if name == "gpt" else None)
    for method in ("weight", "activation", "straight-through"):
        steps = ("--align-steps", 4) if method == "straight-through" else ()
        rows(run_here("align", *pair, "--method", method, *steps, *DATA, "-o", f"{method}.safetensors"))
        [line] = rows(run_here("barrier", pair[0], f"{method}.safetensors", *DATA, "--limit", 60))
        for end, row in zip((0, -1), trained, strict=True):
            assert line["test"]["loss"][end] == pytest.approx(row["test"]["loss"], rel=1e-5)
    rows(run_here("interpolate", *pair, "--t", 0.5, "-o", "between.safetensors"))
    sources = ("--sources", *pair, *DATA)
    [star] = rows(run_here("star", *sources, *TRAINING, "-o", "star.safetensors"))
    [again] = rows(run_here("eval", "star.safetensors", *DATA))
    assert again["nll"] == pytest.approx(star["test"]["loss"], rel=1e-5)
    averaged = rows(run_here("bma", "--star", "star.safetensors", *sources, "--samples", 2, "--repeats", 1))
    assert {row["posterior"] for row in averaged} == {"single", "star", "ensemble"}
    for method in ("distil", "greedy-soup"):
        training = TRAINING if method == "distil" else ()
        rows(run_here("fuse", *sources, "--method", method, *training, "-o", f"{method}.safetensors"))
    rows(run_here("predict", pair[0], *DATA, "-o", "p.npz"))
    with np.load("p.npz") as predicted:
        true = predicted["probabilities"][np.arange(len(predicted["label"])), predicted["label"]]
        assert -np.log(true).mean() == pytest.approx(found["nll"], rel=1e-5)
        assert ("position" in predicted) == (name == "gpt")


def test_texts_without_labels_are_classified(place: Path) -> None:
    rows(train("bert", "0"))
    lines = PACKAGES.read_text().splitlines()[1:]
    (place / "new.jsonl").write_text(
        "".join(json.dumps({"text": line.rpartition(",")[0]}) + "\n" for line in lines[:5])
    )
    rows(run_here("predict", "bert0.safetensors", "--data", "new.jsonl", "-o", "p.csv"))
    heading, *found = Path("p.csv").read_text().splitlines()
    assert len(found) == 5
    assert "prediction_name" in heading.split(",")
    assert "label" not in heading.split(",")
    np.savez("new.npz", input_ids=np.full((2, 7), 3))
    refused = run_here("predict", "bert0.safetensors", "--data", "new.npz", "-o", "q.csv")
    assert "texts of 7 tokens, the model takes 24" in refused.err


def test_what_does_not_go_together(place: Path) -> None:
    rows(train("bert", "0"))
    rows(train("gpt", "0"))
    (place / "other.csv").write_text("text,label\na,doc\nb,y\nc,x\n")
    (place / "tokenizer.json").write_text("{}")
    np.savez("images.npz", images=np.zeros((9, 4), np.float32), labels=np.arange(9) % 2)
    for words, message in {
        ("train", "--arch", "resnet", *DATA, "-o", "x.safetensors"): "resnet takes no tokens",
        ("train", "--arch", "bert", "--data", "digits", "-o", "x.safetensors"): "bert needs tokens",
        ("train", "--arch", "bert", *DATA, "--task", "next-token", "-o", "x.safetensors"): "not next tokens",
        ("train", "--arch", "gpt", *DATA, "--task", "next-token", *STACKED): "leave out --stacked",
        ("train", "--arch", "vit", "--data", "digits", "--length", 5, "-o", "x.safetensors"): "has no effect on digits",
        ("eval", "bert0.safetensors", "--data", "digits"): "digits: there are no tokens in it",
        ("eval", "bert0.safetensors"): "--data, for it was trained on text data",
        ("eval", "bert0.safetensors", "--data", "other.csv"): "'y' in row 2, the model's classes are doc",
        ("eval", "bert0.safetensors", *DATA, "--tokenizer", "tokenizer.json"): "the model was trained on bytes",
        ("predict", "bert0.safetensors", *DATA, "--label-column", "labell", "-o", "p.csv"): "no column 'labell'",
        ("eval", "bert0.safetensors", "--data", "images.npz"): "images.npz: there are no tokens in it",
        ("eval", "bert0.safetensors", *DATA, "--length", 30): "--length 30: 24 in the checkpoint",
        ("eval", "gpt0.safetensors", *DATA, "--task", "classes"): "--task classes: the model was trained on next-token",
        ("eval", "gpt0.safetensors", *DATA, "--normalise", "data"): "--normalise is for images",
        ("align", "bert0.safetensors", "gpt0.safetensors", "-o", "x.safetensors"): "architecture",
    }.items():  # fmt: skip
        ran = run_here(*words)
        assert ran.status in (1, 2), words
        assert message in ran.err, (words, ran.err)


def test_a_network_of_the_users_own_is_told_of_padding(place: Path) -> None:
    (place / "own_texts.py").write_text(
        "from torch import nn\n"
        "def build(vocab_size=2, num_classes=2):\n"
        "    return nn.Sequential(nn.Embedding(vocab_size, 4), nn.Flatten(), nn.Linear(96, num_classes))\n"
    )
    ran = run_here("train", "--arch", "own_texts.py:build", *DATA, "--length", 24, *TRAINING, "-o", "x.safetensors")
    assert ran.status == 1
    assert "ids.clamp(min=0) can be embedded" in ran.err
