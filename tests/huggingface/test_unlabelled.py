"""Inputs without labels for directories of `transformers`: read as the directory says."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface.conftest import pretrained, words_file
from PIL import Image
from support.program import run_here

import starcli as sc
from starcli.data.digits import FILE

NAMES = ["bad", "fair", "good"]


@pytest.fixture
def named(saved, tmp_path) -> Path:
    """A classifier of texts with a tokenizer and names of its classes."""
    place = shutil.copytree(saved("bert"), tmp_path / "named")
    config = json.loads(place.joinpath("config.json").read_text())
    told = {"id2label": dict(enumerate(NAMES)), "label2id": {name: n for n, name in enumerate(NAMES)}}
    place.joinpath("config.json").write_text(json.dumps(config | told))
    words_file(place / "tokenizer.json")
    return place


def test_texts_are_read_by_the_tokenizer_of_the_directory(named, saved, tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    texts = ["a b c", "h g f e d c b a " * 3]  # 26 tokens: longer than the example by which a network is traced
    (tmp_path / "new.csv").write_text("\n".join(["text", *texts]))
    ran = run_here("predict", named, "--data", f"text:{tmp_path}/new.csv", "-o", "-")
    assert ran.status == 0, ran.err
    rows = [line.split(",") for line in ran.out.splitlines()]
    encode, model = tokenizers.Tokenizer.from_file(str(named / "tokenizer.json")).encode, pretrained(named)
    with torch.no_grad():
        expected = [model(torch.tensor([encode(text).ids])).logits.softmax(-1)[0].tolist() for text in texts]
    assert rows[0][-3:] == [f"probability_{name}" for name in NAMES]
    np.testing.assert_allclose([[float(each) for each in row[-3:]] for row in rows[1:]], expected, rtol=1e-4)
    in_python = sc.predict(named, data=f"text:{tmp_path}/new.csv").probabilities
    np.testing.assert_allclose(in_python, expected, rtol=1e-4)


def test_texts_longer_than_was_recorded_are_cut_with_a_note(named, saved, tmp_path):
    rows = [f"{'abc'[n % 3]} {n},{NAMES[n % 3]}" for n in range(12)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "new.csv").write_text("text\na 1\na b c d e\n")
    assert (
        run_here("align", named, saved("bert", 1), "--data", f"text:{tmp_path}/texts.csv", "-o", tmp_path / "b").status
        == 0
    )
    ran = run_here("predict", tmp_path / "b", "--data", f"text:{tmp_path}/new.csv", "-o", tmp_path / "p.csv")
    assert ran.status == 0, ran.err
    assert ran.err.splitlines() == [f"note: {tmp_path}/new.csv: 1 of 2 texts are longer than 4 tokens, and cut there"]


@pytest.mark.parametrize("length", [3, 7])
def test_another_length_than_was_recorded_is_read_as_the_library_reads_it(named, saved, tmp_path, length):
    tokenizers = pytest.importorskip("tokenizers")
    table, place, found = tmp_path / "texts.csv", tmp_path / "b", tmp_path / "found.npz"
    rows = [(f"{'abc'[n % 3]} {n}" + " d e f" * (n % 2), NAMES[n % 3]) for n in range(12)]
    table.write_text("\n".join(["text,label", *(",".join(row) for row in rows)]))
    data = ("--data", f"text:{table}")
    assert run_here("align", named, saved("bert", 1), *data, "--length", 5, "-o", place).status == 0
    ran = run_here("predict", place, *data, "--length", length, "-o", found)
    note = f"note: text:{table}: not the data that b was trained on: texts of {length} tokens here, 5 there"
    assert ran.status == 0, ran.err
    assert ran.err.splitlines()[0] == note
    saved_file = np.load(found)
    tokenizer, model = tokenizers.Tokenizer.from_file(str(named / "tokenizer.json")), pretrained(place)
    tokenizer.enable_truncation(length)
    with torch.no_grad():
        expected = [
            model(torch.tensor([tokenizer.encode(rows[row][0]).ids])).logits.softmax(-1)[0].tolist()
            for row in saved_file["index"]
        ]
    np.testing.assert_allclose(saved_file["probabilities"], expected, rtol=1e-4)
    nll = -np.log(saved_file["probabilities"][np.arange(len(expected)), saved_file["label"]]).mean()
    [row] = run_here("eval", place, *data, "--length", length).rows
    assert row["nll"] == pytest.approx(nll, rel=1e-5)


def test_a_length_that_does_not_go_says_what_to_do(named, saved, tmp_path):
    """Beyond the positions of the network; and where files would be made of models with different data."""
    rows = [f"{'abc'[n % 3]} {n},{NAMES[n % 3]}" for n in range(12)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    (tmp_path / "new.csv").write_text("text\na 1\n")
    data = ("--data", f"text:{tmp_path}/texts.csv")
    assert run_here("align", named, saved("bert", 1), *data, "-o", tmp_path / "b").status == 0
    for line in (("eval", *data), ("predict", "--data", f"text:{tmp_path}/new.csv", "-o", tmp_path / "p.csv")):
        ran = run_here(*line[:1], tmp_path / "b", *line[1:], "--length", 40)
        assert ran.status == 1
        assert "does not admit inputs of 40" in ran.err.splitlines()[0]
        assert "--length says how many tokens of a text are read" in ran.err
    ran = run_here("star", "--sources", tmp_path / "b", named, *data, "--length", 3, "-o", tmp_path / "s.safetensors")
    assert ran.status == 1
    assert "texts of 3 tokens here, 4 there" in ran.err.splitlines()[0]
    assert "eval, predict, barrier and bma measure on other data" in ran.err


def test_images_are_normalised_as_the_directory_says(saved, tmp_path):
    place = shutil.copytree(saved("colours"), tmp_path / "vit")
    said = {"image_mean": [0.25, 0.5, 0.75], "image_std": [0.5, 0.5, 0.25], "do_normalize": True}
    place.joinpath("preprocessor_config.json").write_text(json.dumps(said))
    (tmp_path / "new").mkdir()
    for n in range(3):
        pixels = np.random.RandomState(n).randint(0, 256, (8, 8, 3), dtype="uint8")
        Image.fromarray(pixels).save(tmp_path / "new" / f"{n}.png")
    words = ("--data", tmp_path / "new", "-o", "-")
    taken = run_here("predict", place, *words)
    assert taken.status == 0, taken.err
    asked = run_here("predict", saved("colours"), *words, "--normalise", "0.25,0.5,0.75:0.5,0.5,0.25")
    assert taken.out.splitlines()[0] == asked.out.splitlines()[0]
    assert [line.split(",")[1:] for line in taken.out.splitlines()[1:]] == [
        line.split(",")[1:] for line in asked.out.splitlines()[1:]
    ]


def test_grey_images_become_rgb_by_three_means_of_the_directory(saved, tmp_path):
    place = shutil.copytree(saved("colours"), tmp_path / "vit")
    said = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_normalize": True}
    place.joinpath("preprocessor_config.json").write_text(json.dumps(said))
    ran = run_here("train", "--init", place, "--data", "digits", "--epochs", 1, "--lr", 0.01, "-o", tmp_path / "out")
    assert (ran.status, "digits: grey images are repeated as red, green and blue" in ran.err) == (0, True), ran.err
    digits = np.load(FILE)
    pixels = torch.from_numpy(digits["images"][digits["test"]] / 16).float()[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        logits = pretrained(tmp_path / "out")((pixels - 0.5) / 0.5).logits
    loss = float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(digits["labels"][digits["test"]]).long()))
    assert run_here("eval", tmp_path / "out").rows[0]["nll"] == pytest.approx(loss, rel=1e-5)
