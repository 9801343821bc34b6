"""Directories that read the same data differently are not measured together."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface.conftest import words_file
from PIL import Image
from support.program import run_here

import starcli as sc


@pytest.fixture
def copied(saved, tmp_path):
    """Copies a saved model, whose files may then be changed."""

    def copy(kind: str, name: str) -> Path:
        return Path(shutil.copytree(saved(kind), tmp_path / name))

    return copy


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(words: str, *models: Path, data: str, more: tuple[str, ...] = ()) -> None:
    ran = run_here("eval", *models, "--data", data, *more)
    assert ran.status == 1, ran.err
    assert "these models read the same data differently" in ran.err
    assert words in ran.err


def test_tokenizers(copied, saved, texts, tmp_path):
    data = f"text:{texts}"
    plain, first, same, other = (copied("bert", name) for name in ("plain", "first", "same", "other"))
    for each in (first, same, other):
        words_file(each / "tokenizer.json")
    changed(
        same / "tokenizer.json",
        truncation={"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
    )
    model = json.loads((other / "tokenizer.json").read_text())["model"]
    turned = dict(zip(model["vocab"], reversed(model["vocab"].values()), strict=True))
    changed(other / "tokenizer.json", model={**model, "vocab": turned})
    refused("their tokenizers differ", first, other, data=data)
    refused("their tokenizers differ", plain, first, data=data)
    tmp_path.joinpath("new.csv").write_text("text\nabc\n")
    new = f"text:{tmp_path}/new.csv"
    apart = Path(shutil.copytree(saved("bert", 1), tmp_path / "apart"))
    shutil.copy(other / "tokenizer.json", apart)
    for how in ((), ("--ensemble",)):
        ran = run_here("predict", *how, first, apart, "--data", new, "-o", "-")
        assert (ran.status, "their tokenizers differ" in ran.err) == (1, True), ran.err
    with pytest.raises(sc.StarcliError, match="their tokenizers differ"):
        sc.predict(first, apart, data=new)
    assert run_here("predict", first, apart, "--data", new, "--arch", f"hf:{same}", "-o", "-").status == 0
    shutil.copy(same / "tokenizer.json", apart)
    assert run_here("predict", first, apart, "--data", new, "-o", "-").status == 0
    alone, beside = (run_here("eval", *models, "--data", data) for models in ([first], [first, same]))
    assert [row["nll"] for row in beside.rows] == 2 * [row["nll"] for row in alone.rows]
    named = ("--tokenizer", other / "tokenizer.json")
    ran = run_here("eval", first, other, "--data", data, *named)
    assert [row["nll"] for row in ran.rows] == 2 * [run_here("eval", other, "--data", data).rows[0]["nll"]]


def test_a_directory_without_a_tokenizer_is_noted_with_what_reads_its_texts(copied, texts, tmp_path):
    first, plain = copied("bert", "first"), copied("bert", "plain")
    tokenizer = words_file(first / "tokenizer.json")
    data = "--data", f"text:{texts}"
    words = f"{plain}: no tokenizer.json there, texts are read"
    assert f"{words} by {tokenizer}; --tokenizer" in run_here("eval", first, plain, *data).err
    alone = run_here("eval", plain, *data)
    assert f"{words} as bytes; --tokenizer" in alone.err
    assert "tokenizer" not in run_here("eval", first, *data).err
    assert "tokenizer" not in run_here("eval", first, plain, *data, "--tokenizer", tokenizer).err
    tmp_path.joinpath("new.csv").write_text("text\nabc\n")
    ran = run_here("predict", plain, "--data", f"text:{tmp_path}/new.csv", "-o", "-")
    assert f"{words} as bytes; --tokenizer" in ran.err
    recorded = run_here("align", plain, first, *data, "--tokenizer", tokenizer, "-o", tmp_path / "recorded.safetensors")
    assert recorded.status == 0, recorded.err
    ran = run_here("eval", tmp_path / "recorded.safetensors", *data, "--tokenizer", tokenizer)
    assert "no tokenizer" not in ran.err


def test_a_merge_of_weights_notes_other_tokenizers(copied, tmp_path):
    first, other = (copied("bert", name) for name in ("first", "other"))
    for each in (first, other):
        words_file(each / "tokenizer.json")
    merge = ("fuse", "--method", "linear", "--sources", first, other, "-o")
    assert "tokenizers" not in run_here(*merge, tmp_path / "alike").err
    changed(other / "tokenizer.json", pre_tokenizer={"type": "WhitespaceSplit"})
    assert "embeddings of different tokens may be merged" in run_here(*merge, tmp_path / "merged").err


def test_orders_of_classes(copied, saved, texts, tmp_path):
    """Not even without data: the outputs of one number are of different classes."""
    one, tuned = copied("bert", "one"), tmp_path / "tuned"
    other = Path(shutil.copytree(saved("bert", 1), tmp_path / "other"))
    changed(one / "config.json", id2label={"0": "x", "1": "y", "2": "z"})
    changed(other / "config.json", id2label={"0": "z", "1": "y", "2": "x"})
    data = ("--data", f"text:{texts}")
    assert run_here("train", "--init", one, *data, "--epochs", 1, "--lr", 0.1, "-o", tuned).status == 0
    for first, second in ((one, other), (tuned, other), (other, tuned)):
        models = (first, second)
        out = ("-o", tmp_path / "out")
        for line in (
            ("eval", *models, *data),
            ("barrier", *models, *data, "--align", "none"),
            ("interpolate", *models, *data, "--align", "none", *out),
            ("align", *models, *data, *out),
            ("fuse", "--method", "linear", "--sources", *models, *out),
            ("fuse", "--method", "linear", "--align", "none", "--sources", *models, *data, *out),
        ):
            ran = run_here(*line)
            assert ran.status == 1, line
            order = "x, y, z" if first != other else "z, y, x"
            assert f"their classes are in another order: {order} in {first.name}" in ran.err, ran.err
    plain = saved("bert", 2)
    assert run_here("fuse", "--method", "linear", "--sources", other, plain, "-o", tmp_path / "out").status == 0


def test_normalisations_of_images(copied, tmp_path):
    one, other = copied("colours", "one"), copied("colours", "other")
    for place, mean in ((one, 0.5), (other, 0.4)):
        content = {"image_mean": [mean] * 3, "image_std": [0.5] * 3}
        (place / "preprocessor_config.json").write_text(json.dumps(content))
    for number in range(10):
        (tmp_path / f"images/{number}").mkdir(parents=True)
        for shade in range(5):
            Image.new("RGB", (8, 8), (20 * number, 9, shade)).save(tmp_path / f"images/{number}/{shade}.png")
    data = f"folder:{tmp_path / 'images'}"
    refused("their images are normalised otherwise: 0.5,0.5,0.5:0.5,0.5,0.5 in", one, other, data=data)
    out = ("-o", tmp_path / "tuned")
    ran = run_here("train", "--init", one, "--data", data, "--epochs", 1, "--lr", 0.01, *out)
    assert ran.status == 0, ran.err
    refused(
        "0.5 in tuned, 0.4,0.4,0.4:0.5,0.5,0.5 in",
        *(tmp_path / "tuned", other),
        data=data,
    )
    assert run_here("eval", tmp_path / "tuned", one, "--data", data).status == 0
    ran = run_here("eval", one, other, "--data", data, "--normalise", "0.5:0.5")
    assert ran.status == 0, ran.err
