"""Fine-tuning from directories without a head for classes, or with one for other classes.

What comes out is compared with what `transformers` and timm make of it.
"""

import csv
import inspect
import json
import re
import shlex
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from huggingface.conftest import Save, pretrained, words_file
from support.program import Ran, run_here

import starcli as sc
from starcli.checkpoints.checkpoint import read, read_metadata
from starcli.files.safetensors import read_tensors
from starcli.files.write import write_tensors
from starcli.models.build import build_network
from starcli.reports.rebuilt_line import rebuilt_line

QUICK = ("--epochs", 1, "--lr", 0, "--optimizer", "adamw")
"""Nothing is learnt: the body stays as it is, and the head as it was drawn."""


def train(init: object, *words: object) -> Ran:
    ran = run_here("train", "--init", init, *QUICK, *words)
    assert ran.status == 0, ran.err
    return ran


def config_of(path: str | Path) -> dict[str, Any]:
    found = json.loads(Path(path, "config.json").read_text())
    assert isinstance(found, dict)
    return found


BODIES = {
    "bert-base": "three.csv",
    "bert-pretrained": "three.csv",
    "distilbert-base": "three.csv",
    "masked": "three.csv",
    "gpt2": "three.csv",
    "vit-base": "digits",
}


@pytest.mark.parametrize(("kind", "data"), BODIES.items())
def test_a_head_is_drawn_from_the_seed_and_the_body_is_the_base(saved: Save, place: Path, kind: str, data: str) -> None:
    named = ("--data", "digits", "--limit", 20) if data == "digits" else ("--data", data, "--task", "classes")
    ran = train(saved(kind), *named, "--seeds", "0-1", "-o", "ft/{seed}")
    assert "drawn from the seed" in ran.err
    automatic = transformers.AutoModelForImageClassification if data == "digits" else _OF_TEXTS
    base = transformers.AutoModel.from_pretrained(saved(kind))
    heads = []
    for seed in (0, 1):
        model, told = automatic.from_pretrained(f"ft/{seed}", output_loading_info=True)
        assert not any(told.values()), told
        assert model.config.num_labels == (10 if data == "digits" else 3)
        assert model.config.architectures == [type(model).__name__]
        mine, theirs = model.base_model.state_dict(), base.state_dict()
        drawn = [name for name in mine if "pooler" in name and kind == "masked"]  # its class has none
        assert all(torch.equal(mine[name], theirs[name]) for name in mine if name not in drawn)
        found = read(Path("ft", str(seed)))
        architecture = found.metadata.architecture
        assert architecture is not None
        fresh = build_network(
            architecture.name, generator=torch.Generator().manual_seed(seed), **architecture.arguments
        ).state_dict()
        assert found.metadata.recipe is not None
        heads.append({name: each for name, each in found.tensors.items() if _is_drawn(name, found.metadata.recipe)})
        assert all(torch.equal(tensor, fresh[name]) for name, tensor in heads[-1].items())
    assert heads[0].keys() == heads[1].keys()
    weights = [name for name in heads[0] if name.endswith("weight")]
    assert weights
    assert not any(torch.equal(heads[0][name], heads[1][name]) for name in weights)


_OF_TEXTS = transformers.AutoModelForSequenceClassification


def _is_drawn(name: str, recipe: Any) -> bool:
    return any(name.startswith(pattern.removesuffix("*")) for pattern in recipe["train"]["reinit"])


def with_tokenizer(path: Path) -> None:
    """The tokenizer of words as `save_pretrained` writes it beside a model."""
    file = words_file(path.parent / f"{path.name}.tokenizer.json")
    names = ["input_ids", "attention_mask"]  # GPT-2 adds an embedding to each token where types of tokens are given
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    made = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file), model_input_names=names, **marks)
    made.save_pretrained(path)


@pytest.mark.parametrize("kind", ["bert-base", "gpt2"])
def test_a_pipeline_says_what_predict_does(saved: Save, place: Path, kind: str) -> None:
    """Batches of texts of several lengths: GPT-2 finds the end of a text by the token of padding."""
    with_tokenizer(Path(shutil.copytree(saved(kind), "base")))
    train("base", "--data", "three.csv", "--task", "classes", "--lr", 0.05, "-o", "ft")
    assert config_of("ft")["id2label"] == {"0": "x", "1": "y", "2": "z"}
    assert config_of("ft")["label2id"] == {"x": 0, "y": 1, "z": 2}
    assert config_of("ft")["pad_token_id"] == 0
    assert Path("ft/tokenizer.json").read_bytes() == Path("base/tokenizer.json").read_bytes()
    texts = ["a b", "a b c d e f 7", "h", "c d 3 f a"]
    Path("new.csv").write_text("\n".join(["text", *texts]) + "\n")
    assert run_here("predict", "ft", "--data", "text:new.csv", "-o", "p.csv").status == 0
    with open("p.csv", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    pipe = transformers.pipeline("text-classification", model="ft", device="cpu")
    said = pipe(texts, batch_size=4)
    assert [row["prediction_name"] for row in rows] == [each["label"] for each in said]
    expected = [float(row[f"probability_{row['prediction_name']}"]) for row in rows]
    assert [each["score"] for each in said] == pytest.approx(expected, abs=1e-5)


def test_without_a_token_of_padding_it_is_the_end_of_a_text(saved: Save, place: Path) -> None:
    shutil.copytree(saved("gpt2"), "base")
    Path("base/config.json").write_text(json.dumps({**config_of("base"), "eos_token_id": 7}))
    train("base", "--data", "three.csv", "--task", "classes", "-o", "ft")
    assert config_of("ft")["pad_token_id"] == 7


def test_a_head_for_other_classes(saved: Save, place: Path) -> None:
    train(saved("bert-base"), "--data", "three.csv", "-o", "three")
    ran = run_here("train", "--init", "three", *QUICK, "--data", "text:digits.csv", "-o", "x")
    assert ran.status == 1
    Path("digits.csv").write_text("text,label\n" + "a b,8\nc d,9\n" * 10)
    ran = run_here("train", "--init", "three", *QUICK, "--data", "digits.csv", "-o", "digits")
    assert (ran.status, "--reinit 'classifier.*' draws a head for the classes of these data" in ran.err) == (1, True)
    train("three", "--data", "digits.csv", "--reinit", "classifier.*", "-o", "digits")
    assert config_of("digits")["id2label"] == {"0": "8", "1": "9"}
    assert pretrained(Path("digits")).classifier.weight.shape == (2, 16)
    train("three", "--data", "two.csv", "--reinit", "classifier.*", "-o", "two")
    assert config_of("two")["id2label"] == {"0": "x", "1": "z"}
    train("three", "--data", "two.csv", "-o", "kept")  # the labels are among its classes
    assert config_of("kept")["id2label"] == {"0": "x", "1": "y", "2": "z"}


def test_an_unnamed_head_takes_the_names_of_the_data(saved: Save, place: Path) -> None:
    train(saved("bert"), "--data", "three.csv", "-o", "named")
    assert config_of("named")["id2label"] == {"0": "x", "1": "y", "2": "z"}
    before, after = (read_tensors(Path(each, "model.safetensors"))[1] for each in (saved("bert"), "named"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    ran = train(saved("bert"), "--data", "two.csv", "-o", "kept")
    note = "has 3 outputs, and the data 2 classes; --reinit 'classifier.*' draws a head for the classes of these data"
    assert note in ran.err
    assert config_of("kept")["label2id"] == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


def test_a_language_model_predicts_tokens_unless_classes_are_asked_for(saved: Save, place: Path) -> None:
    ran = train(saved("masked"), "--data", "three.csv", "-o", "lm")
    assert "predicts tokens, and labels are not used; --task classes gives it a head for them" in ran.err
    assert config_of("lm")["architectures"] == ["BertForMaskedLM"]
    assert (
        "labels are not used"
        not in train(saved("masked"), "--data", "three.csv", "--task", "masked-token", "-o", "a").err
    )
    train("lm", "--data", "three.csv", "--label-column", "label", "-o", "adapted")  # pretrained on, then classified
    assert config_of("adapted")["architectures"] == ["BertForSequenceClassification"]
    mine, theirs = (read_tensors(Path(each, "model.safetensors"))[1] for each in ("adapted", "lm"))
    assert torch.equal(
        mine["bert.encoder.layer.0.output.dense.weight"], theirs["bert.encoder.layer.0.output.dense.weight"]
    )


def test_what_the_own_class_has_must_be_there(saved: Save, place: Path) -> None:
    model = transformers.BertModel(transformers.AutoConfig.from_pretrained(saved("bert-base")), add_pooling_layer=False)
    model.save_pretrained("base")
    ran = run_here("train", "--init", "base", *QUICK, "--data", "three.csv", "-o", "ft")
    assert (ran.status, "bert.pooler.dense.weight: missing" in ran.err) == (1, True)
    assert "--reinit 'bert.pooler.*' draws these from the seed" in ran.err
    train("base", "--data", "three.csv", "--reinit", "bert.pooler.*", "-o", "ft")
    pretrained(Path("ft"))


def test_the_same_line_makes_the_same_bytes_and_the_file_says_the_line(saved: Save, place: Path) -> None:
    shutil.copytree(saved("masked"), "base")
    train("base", "--data", "three.csv", "--task", "classes", "--lr", 0.01, "-o", "ft")
    first = {file.name: file.read_bytes() for file in Path("ft").iterdir()}
    train("base", "--data", "three.csv", "--task", "classes", "--lr", 0.01, "-o", "ft")
    shutil.rmtree("ft")
    train("base", "--data", "three.csv", "--task", "classes", "--lr", 0.01, "-o", "ft")
    assert {file.name: file.read_bytes() for file in Path("ft").iterdir()} == first
    line = rebuilt_line("ft", read_metadata(Path("ft"))[1])
    assert line is not None
    words = ["three.csv" if word == "DATA" else word for word in shlex.split(line)[1:]]
    assert run_here(*words).status == 0  # the file is there, and is what it makes


def test_a_single_file_keeps_the_names_of_classes(saved: Save, place: Path) -> None:
    train(saved("bert-base"), "--data", "three.csv", "-o", "one.safetensors")
    assert run_here("convert", "one.safetensors", "-o", "again/model.safetensors").status == 0
    assert config_of("again")["id2label"] == {"0": "x", "1": "y", "2": "z"}
    pretrained(Path("again"))


def test_a_vocabulary_of_an_older_tokenizer_is_named(saved: Save, place: Path) -> None:
    shutil.copytree(saved("bert-base"), "base")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *map(str, range(20))]
    Path("base/vocab.txt").write_text("\n".join(words) + "\n")
    Path("base/tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    err = train("base", "--data", "three.csv", "-o", "bytes").err
    assert "no tokenizer.json there, texts are read as bytes" in err
    code = re.search(r"AutoTokenizer\.from_pretrained\('base'\)\.save_pretrained\('base'\)", err)
    assert code is not None
    eval(f"transformers.{code[0]}")
    assert "texts are read as bytes" not in train("base", "--data", "three.csv", "-o", "words").err
    assert Path("words/vocab.txt").exists() == Path("base/vocab.txt").exists()


def test_one_head_for_all(saved: Save, place: Path) -> None:
    train(saved("bert-base"), "--data", "three.csv", "--seed", 9, "-o", "begin")
    train("begin", "--data", "three.csv", "--seeds", "0-1", "-o", "ft/{seed}")
    begun, *tuned = (read_tensors(Path(each, "model.safetensors"))[1] for each in ("begin", "ft/0", "ft/1"))
    assert all(torch.equal(each[name], begun[name]) for each in tuned for name in begun)


def test_the_library_gives_a_head_too(saved: Save, place: Path) -> None:
    tokens = torch.randint(0, 256, (30, 6), generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = sc.train(init=saved("bert-base"), data=(tokens, torch.arange(30) % 4), epochs=1, optimizer="adamw")
    assert any("becomes a BertForSequenceClassification" in str(each.message) for each in told)
    sc.save(model, "ft")
    with torch.no_grad():
        torch.testing.assert_close(pretrained(Path("ft"))(tokens).logits, model.module()(tokens))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        more = sc.train(init=model, data=(tokens, torch.arange(30) % 2), reinit=["classifier.*"], epochs=1)
    sc.save(more, "more")
    assert pretrained(Path("more")).config.num_labels == 2


def test_a_head_of_timm(place: Path) -> None:
    timm = pytest.importorskip("timm")
    for name, count in (("none", 0), ("three", 3)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = timm.create_model("resnet10t", num_classes=count, in_chans=1)
        facts = {"input_size": [1, 32, 32], "mean": [0.5], "std": [0.5], "classifier": "fc"}
        config = {"architecture": "resnet10t", "num_classes": count, "model_args": {"in_chans": 1}}
        Path(name).mkdir()
        Path(name, "config.json").write_text(json.dumps({**config, "pretrained_cfg": facts}))
        write_tensors(Path(name, "model.safetensors"), network.state_dict(), {"format": "pt"})
    words = ("--data", "digits", "--limit", 20)
    assert "none: has no head, fc.* drawn from the seed" in train("none", *words, "-o", "made").err
    train("none", *words, "--normalise", "0.25:0.125", "-o", "normalised")
    written = config_of("normalised")["pretrained_cfg"]
    assert written == {**config_of("made")["pretrained_cfg"], "mean": [0.25], "std": [0.125]}
    ran = run_here("train", "--init", "three", *QUICK, *words, "-o", "other")
    assert (ran.status, "--reinit 'fc.*' draws a head for the classes of these data" in ran.err) == (1, True)
    train("three", *words, "--reinit", "fc.*", "-o", "other")
    for made, base in (("made", "none"), ("other", "three")):
        tensors, begun = (read(Path(each)).tensors for each in (made, base))
        assert all(torch.equal(tensors[name], begun[name]) for name in begun if _is_parameter_of_body(name))
        assert config_of(made)["num_classes"] == 10
        if "local-dir" not in inspect.getsource(timm.models._factory):  # releases that read no directory
            continue
        loaded = timm.create_model(f"local-dir:{made}", pretrained=True)
        assert loaded.num_classes == 10
        assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.state_dict().items())


def _is_parameter_of_body(name: str) -> bool:
    return not name.startswith("fc.") and "running_" not in name and "num_batches" not in name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "digits"), "the network hf:BertForSequenceClassification takes tokens, and digits has none"),
        ((), "--data is needed: base does not say what it was trained on"),
        (("--data", "text:bare.csv"), "no column 'label', which --task classes needs"),
    ],
)
def test_what_a_base_cannot_be_trained_on(saved: Save, place: Path, words: tuple[str, ...], said: str) -> None:
    shutil.copytree(saved("bert-base"), "base")
    Path("bare.csv").write_text("text\na b\nc d\n")
    ran = run_here("train", "--init", "base", *QUICK, *words, "-o", "ft")
    assert (ran.status, said in ran.err) == (1, True), ran.err


def test_a_saved_data_set_is_read_by_the_tokenizer_of_the_directory(saved: Save, place: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"text": ["a b c", "d e", "f 3", "g"] * 5, "label": [0, 1, 1, 0] * 5}
    names = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk("saved")
    with_tokenizer(Path(shutil.copytree(saved("masked"), "base")))
    train("base", "--data", "hf:saved", "-o", "ft")
    assert config_of("ft")["id2label"] == {"0": "bad", "1": "good"}
    [row] = run_here("eval", "ft", "--data", "hf:saved").rows
    pipe = transformers.pipeline("text-classification", model="ft", tokenizer="ft", device="cpu")
    assert {each["label"] for each in pipe(rows["text"][:2])} <= {"bad", "good"}
    assert 0 <= row["accuracy"] <= 1
    record = read_metadata(Path("ft"))[1].data
    assert record is not None
    assert record.tokenizer is not None
