"""Heads for numbers, and for labels any of which an example has, trained and read, beside what `transformers` says."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from huggingface.conftest import Save, pretrained
from huggingface.test_new_heads import config_of, train, with_tokenizer
from support.program import run_here

import starcli as sc
from starcli.files.safetensors import read_tensors
from starcli.files.write import write_tensors

PROBLEMS = {"regression": "regression", "multi-label": "multi_label_classification"}
IMAGES = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TEXTS = ["a b", "a b c d e f 7", "h", "c d 3 f a"]


def columns(task: str) -> Any:
    """Two numbers, or two labels, of each image."""
    means = 5 * torch.stack([IMAGES.mean((1, 2, 3)), IMAGES[:, 0, 0, 0]], 1).numpy()
    return means if task == "regression" else (means > 0).astype("int64")


@pytest.mark.parametrize("task", PROBLEMS)
def test_a_head_of_images(saved: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=IMAGES.numpy(), y=columns(task))
    np.savez("new.npz", x=IMAGES.numpy())
    train(saved("vit-base"), "--data", "data.npz", "--lr", 0.01, "-o", "ft")
    assert config_of("ft")["problem_type"] == PROBLEMS[task]
    with torch.no_grad():
        outputs = pretrained(Path("ft"))(IMAGES).logits
    expected = outputs if task == "regression" else outputs.sigmoid()
    with pytest.warns(sc.StarcliWarning, match="no labels"):
        predicted = sc.predict("ft", data="new.npz")
    found = predicted.prediction if task == "regression" else predicted.probabilities
    assert found == pytest.approx(expected.numpy(), abs=1e-5)
    train("ft", "--data", "data.npz", "-o", "again")  # the head that is there
    assert config_of("again") == config_of("ft")
    assert run_here("convert", "ft", "-o", "one.safetensors").status == 0
    assert run_here("convert", "one.safetensors", "-o", "back/model.safetensors").status == 0
    with torch.no_grad():
        assert torch.equal(pretrained(Path("back"))(IMAGES).logits, outputs)
    assert config_of("back")["problem_type"] == PROBLEMS[task]


@pytest.mark.parametrize("task", PROBLEMS)
def test_a_pipeline_of_texts_says_what_predict_does(
    saved: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    labels = [0.25, 1.5, 1, 0] if task == "regression" else [[1, 0, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1]]
    datasets.Dataset.from_dict({"text": TEXTS * 5, "label": labels * 5}).save_to_disk("saved")
    with_tokenizer(Path(shutil.copytree(saved("bert-base"), "base")))
    train("base", "--data", "hf:saved", "--lr", 0.01, "-o", "ft")
    assert config_of("ft")["problem_type"] == PROBLEMS[task]
    assert len(config_of("ft")["id2label"]) == (1 if task == "regression" else 3)
    Path("new.csv").write_text("\n".join(["text", *TEXTS]) + "\n")
    predicted = sc.predict("ft", data="text:new.csv")
    pipe = transformers.pipeline("text-classification", model="ft", tokenizer="ft", device="cpu", top_k=None)
    said = [{each["label"]: each["score"] for each in row} for row in pipe(TEXTS)]
    found = predicted.prediction if task == "regression" else predicted.probabilities
    expected = [[row[f"LABEL_{place}"] for place in range(len(row))] for row in said]
    assert np.asarray(found) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("task", PROBLEMS)
def test_what_a_config_says_is_predicted_without_a_record(saved: Save, tmp_path: Path, task: str) -> None:
    """Outputs of a directory from elsewhere are never taken for logits of classes, nor measured on these."""
    inputs = torch.randint(0, 256, (6, 5), generator=torch.Generator().manual_seed(1))
    for kind, examples in (("bert", inputs), ("vit", IMAGES[:6])):
        place = Path(shutil.copytree(saved(kind), tmp_path / kind))
        config = {**config_of(place), "problem_type": PROBLEMS[task]}
        place.joinpath("config.json").write_text(json.dumps(config))
        with torch.no_grad():
            outputs = pretrained(place)(examples).logits
        predicted = sc.predict(place, data=examples)
        found = predicted.prediction if task == "regression" else predicted.probabilities
        expected = outputs if task == "regression" else outputs.sigmoid()
        assert found == pytest.approx(expected.numpy(), abs=1e-5)
        with pytest.raises(sc.StarcliError, match=f"are for classes, and .* is for {task}"):
            sc.evaluate(place, data=(examples, torch.arange(6) % 3))
        labels = outputs.double() + 1
        if task == "regression":
            [row] = sc.evaluate(place, data=(examples, labels))
            assert row["loss"] == pytest.approx(1, abs=1e-5)


def test_another_head_is_drawn_where_the_old_one_does_not_fit(
    saved: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("numbers.npz", x=IMAGES.numpy(), y=columns("regression"))
    np.savez("classes.npz", x=IMAGES.numpy(), y=np.arange(40) % 2)
    way = "--reinit 'classifier.*' draws a head for the classes of these data"
    ran = run_here("train", "--init", saved("vit"), "--data", "numbers.npz", "--epochs", 1, "-o", "a")
    assert (ran.status, "10 outputs to predict 2 columns" in ran.err, way in ran.err) == (1, True, True), ran.err
    train(saved("vit"), "--data", "numbers.npz", "--reinit", "classifier.*", "-o", "numbers")
    ran = run_here("train", "--init", "numbers", "--data", "classes.npz", "--task", "classes", "-o", "a")
    assert (ran.status, "is for regression" in ran.err, way in ran.err) == (1, True, True), ran.err
    train("numbers", "--data", "classes.npz", "--reinit", "classifier.*", "-o", "classes")
    assert "problem_type" not in config_of("classes")
    assert pretrained(Path("classes")).config.num_labels == 2


@pytest.mark.parametrize("task", PROBLEMS)
def test_tables_of_texts(saved: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{'ab' * (1 + n % 3)} {n % 7},{n % 5 / 4},{n % 3 / 2}" for n in range(30)]
    if task == "multi-label":
        rows = [f"{'ab' * (1 + n % 3)} {n % 7},{n % 2},{n // 3 % 2}" for n in range(30)]
    Path("texts.csv").write_text("\n".join(["text,good,long", *rows]) + "\n")
    words = ("--data", "texts.csv", "--label-column", "good,long")
    asked = (*words, "--task", task)
    train(saved("bert-base"), *asked, "--lr", 0.01, "-o", "ft")
    assert config_of("ft")["id2label"] == {"0": "good", "1": "long"}
    assert config_of("ft")["problem_type"] == PROBLEMS[task]
    columns = [[float(word) for word in row.split(",")[1:]] for row in rows]
    tokens = [[256, *row.partition(",")[0].encode(), 256] for row in rows]
    model = pretrained(Path("ft"))
    with torch.no_grad():
        outputs = torch.cat([model(torch.tensor([row])).logits for row in tokens])
    Path("all").mkdir()
    shutil.copy("texts.csv", "all/test.csv")
    [row] = run_here("eval", "ft", "--data", "text:all", *words[2:]).rows
    loss = torch.nn.MSELoss() if task == "regression" else torch.nn.BCEWithLogitsLoss()
    assert row["loss"] == pytest.approx(float(loss(outputs.double(), torch.tensor(columns).double())), rel=1e-5)
    # its config alone says as much
    bare = Path(shutil.copytree("ft", "bare"))
    write_tensors(bare / "model.safetensors", read_tensors(bare / "model.safetensors")[1], {"format": "pt"})
    [again] = run_here("eval", "bare", "--data", "text:all", *words[2:]).rows
    assert again["loss"] == pytest.approx(row["loss"], rel=1e-6)


def test_numbers_of_texts_in_python(saved: Save, tmp_path: Path) -> None:
    tokens = torch.randint(0, 256, (30, 6), generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sc.train(init=saved("gpt2"), data=(tokens, torch.rand(30)), epochs=1, optimizer="adamw")
    sc.save(model, tmp_path / "ft")
    found = pretrained(tmp_path / "ft")
    assert (found.config.num_labels, found.config.problem_type) == (1, "regression")
    with torch.no_grad():
        torch.testing.assert_close(found(tokens).logits, model.module()(tokens))
