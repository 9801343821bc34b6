"""Masked language models: losses as their own library computes them on the same masked batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface.conftest import pretrained, words_file
from support.program import run_here

import starcli as sc
from starcli.data.dataset import open_data
from starcli.data.text_options import TextOptions


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of 3 to 9 words, with labels that are not read."""
    path = tmp_path_factory.mktemp("words") / "words.csv"
    rows = [f"{' '.join('abcdefgh'[: 2 + n % 7])} {n % 30},{n % 2}" for n in range(60)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def own_loss(model, split) -> float:  # type: ignore[no-untyped-def]
    """The loss of a model of `transformers` on all of a split at once, in nats a masked token."""
    labels = torch.where(split.labels < 0, -100, split.labels)
    here = split.raw >= 0
    with torch.no_grad():
        return float(model(split.raw.clamp(min=0), attention_mask=here.long(), labels=labels).loss)


@pytest.mark.parametrize("tokenizer", [None, "words.json"])
def test_losses_are_those_of_the_library(saved, words, tmp_path, tokenizer):
    given = () if tokenizer is None else ("--tokenizer", words_file(tmp_path / tokenizer))
    a, b = saved("masked", 0), saved("masked", 1)
    [line] = run_here("barrier", a, b, "--data", f"text:{words}", "--points", 3, "--align", "none", *given).rows
    data = open_data(f"text:{words}", texts=TextOptions(task="masked-token", tokenizer=given[1] if given else None))
    middle = pretrained(a)
    first, last = dict(middle.named_parameters()), dict(pretrained(b).named_parameters())
    with torch.no_grad():
        middle.load_state_dict({name: (first[name] + last[name]) / 2 for name in first}, strict=False)
    for split in ("train", "test"):
        expected = [own_loss(model, data.split(split)) for model in (pretrained(a), middle, pretrained(b))]
        np.testing.assert_allclose(line[split]["loss"], expected, rtol=1e-5)
    [row] = run_here("eval", a, "--data", f"text:{words}", *given).rows
    assert row["nll"] == pytest.approx(line["test"]["loss"][0], rel=1e-6)
    assert row["perplexity"] == pytest.approx(np.exp(row["nll"]))
    assert sum(row["reliability"]["count"]) == data.test.targets.numel()


def test_every_command_takes_them(saved, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = ("--data", f"text:{words}", "--length", 12)
    train = ("--epochs", 2, "--batch-size", 16, "--optimizer", "adam", "--lr", 0.003)
    rows = run_here("train", "--arch", f"hf:{saved('masked')}", *where, *train, "--seeds", "0-1", "-o", "{seed}").rows
    assert all(row["train"]["loss"] < np.log(258) for row in rows)
    assert sc.load("0").metadata.data.task_name == "masked-token"
    pair = ("0", "1", *where)
    [plain] = run_here("barrier", *pair, "--align", "none", "--points", 3).rows
    aligned = run_here("align", "0", "1", "--method", "learn", "--align-steps", 3, *where, "-o", "aligned")
    assert aligned.status == 0, aligned.err
    found = run_here("predict", "0", *where, "-o", "found.csv")
    assert found.status == 0, found.err
    lines = [line.split(",") for line in Path("found.csv").read_text().splitlines()]
    place, label = lines[0].index("position"), lines[0].index("label")
    data = open_data(f"text:{words}", texts=TextOptions(task="masked-token", length=12))
    rows, columns = (data.test.labels >= 0).nonzero(as_tuple=True)
    assert [int(line[place]) for line in lines[1:]] == columns.tolist()
    assert [int(line[label]) for line in lines[1:]] == data.test.targets.tolist()
    assert plain["train"]["loss"][0] == pytest.approx(run_here("eval", "0", "--split", "train", *where).rows[0]["nll"])


def test_masks_of_ones_own(saved):
    tokens = torch.randint(0, 250, (8, 10), generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.rand(8, 10, generator=torch.Generator().manual_seed(1)) < 0.3, tokens, -100)
    labels[:, 0] = 5
    seen = torch.where(labels >= 0, 258, tokens)
    found = sc.evaluate(saved("masked"), data=(seen, labels), task="masked-token")
    with torch.no_grad():
        expected = float(pretrained(saved("masked"))(seen, labels=labels).loss)
    assert found[0]["nll"] == pytest.approx(expected, rel=1e-5)
