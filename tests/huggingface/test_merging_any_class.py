"""Merges of weights alone of directories whose class is not one of those that are read: no network is needed."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from huggingface.conftest import Save, pretrained
from support.program import run_here

import starcli as sc

OTHERS = {
    "encoder": ("BertModel", "BertConfig", {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}),
    "tagger": (
        "BertForTokenClassification",
        "BertConfig",
        {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 3},
    ),
    "translator": ("T5ForConditionalGeneration", "T5Config", {"d_model": 16, "num_layers": 1, "num_heads": 2}),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_output_is_a_directory_of_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    name, config, arguments = OTHERS[kind]
    models = []
    for seed, place in enumerate("ab"):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = getattr(transformers, config)(vocab_size=20, intermediate_size=8, d_ff=8, **arguments)
            models.append(getattr(transformers, name)(made))
        models[-1].save_pretrained(place)
        Path(place, "tokenizer_config.json").write_text("{}")
    assert run_here("fuse", "--method", "linear", "--sources", "a", "b", "-o", "mean").status == 0
    assert json.loads(Path("mean/config.json").read_text()) == json.loads(Path("a/config.json").read_text())
    assert Path("mean/tokenizer_config.json").is_file()
    found, told = getattr(transformers, name).from_pretrained("mean", output_loading_info=True)
    assert not any(told.values()), told
    states = [dict(model.named_parameters()) for model in models]
    for key, tensor in found.named_parameters():
        torch.testing.assert_close(tensor, (states[0][key] + states[1][key]) / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other seeds
        sc.save(sc.fuse(["a", "b"], method="linear"), "again")
    first, second = (Path(place, "model.safetensors").read_bytes() for place in ("mean", "again"))
    assert first == second
    assert run_here("fuse", "--method", "linear", "--sources", "mean", "a", "-o", "more").status == 0
    getattr(transformers, name).from_pretrained("more")


def test_files_of_tokenizers_and_processors_of_all_kinds_are_copied(saved: Save, tmp_path: Path) -> None:
    """Names that tokenizers of `transformers` give their files: Marian's, Whisper's, XLM's, FSMT's, SpeechT5's."""
    places = [Path(shutil.copytree(saved("bert-base", seed), tmp_path / str(seed))) for seed in range(2)]
    names = {"source.spm", "target.spm", "normalizer.json", "bpe.codes", "target_vocab.json", "spm_char.model"}
    for name in names:
        (places[0] / name).write_text("{}")
    (places[0] / "README.md").write_text("of the first model")
    assert run_here("fuse", "--method", "linear", "--sources", *places, "-o", tmp_path / "mean").status == 0
    found = {file.name for file in (tmp_path / "mean").iterdir()}
    assert (found >= names, "README.md" in found) == (True, False)


def changed(path: Path, **values: object) -> None:
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_other_networks_of_a_class_that_is_not_read_are_noted(saved: Save, tmp_path: Path) -> None:
    places = [Path(shutil.copytree(saved("bert-base", seed), tmp_path / str(seed))) for seed in range(2)]
    merge = ("fuse", "--method", "linear", "--sources", *places, "--force", "-o", tmp_path / "mean")
    changed(places[1], attention_probs_dropout_prob=0.3, pad_token_id=2)
    ran = run_here(*merge)
    assert (ran.status, "says another value" in ran.err) == (0, False), ran.err
    changed(places[1], num_attention_heads=4, hidden_act="relu")
    ran = run_here(*merge)
    assert ran.status == 0, ran.err
    assert f"hidden_act, num_attention_heads: {places[1]} says another value than {places[0]}" in ran.err
    ours = {"hidden_act": "quick_gelu", "dropout": 0.1, "rope_parameters": {"rope_theta": 1e4}, "model_type": "a"}
    theirs = {"hidden_act": "gelu", "dropout": 0.2, "rope_parameters": {"rope_theta": 1e6}, "more": 1}
    for place, part in zip(places, (ours, theirs), strict=True):  # as CLIP's and LLaVA's configs have parts
        changed(place, num_attention_heads=2, hidden_act="gelu", text_config=part, vision_config={"image_size": 8})
    which = f"text_config.hidden_act, text_config.rope_parameters.rope_theta: {places[1]} says another value"
    assert f"note: {which}" in run_here(*merge).err


def test_classes_of_other_names_are_noted(saved: Save, tmp_path: Path) -> None:
    one, other = (Path(shutil.copytree(saved("bert", seed), tmp_path / str(seed))) for seed in range(2))
    changed(one, id2label={"0": "x", "1": "y", "2": "z"})
    merge = ("fuse", "--method", "linear", "--sources", one, other, "--force", "-o", tmp_path / "mean")
    assert "other names" not in run_here(*merge).err
    changed(other, id2label={"0": "bad", "1": "good", "2": "fair"})
    assert f"other names: x, y, z in {one}, bad, good, fair in {other}" in run_here(*merge).err


def test_special_tokens_and_dropout_do_not_keep_language_models_apart(saved: Save, tmp_path: Path) -> None:
    """Those of a base model and of one that was tuned to answer often differ; how it attends may not."""
    base, chat = (Path(shutil.copytree(saved("llama", seed), tmp_path / str(seed))) for seed in range(2))
    changed(chat, eos_token_id=[7, 9], pad_token_id=5, attention_dropout=0.1, initializer_range=0.5)
    ran = run_here("fuse", "--method", "linear", "--sources", base, chat, "-o", tmp_path / "mean")
    assert ran.status == 0, ran.err
    assert json.loads((tmp_path / "mean/config.json").read_text())["eos_token_id"] == 2
    assert run_here("align", base, chat, "-o", tmp_path / "aligned").status == 0
    assert json.loads((tmp_path / "aligned/config.json").read_text())["eos_token_id"] == [7, 9]
    changed(chat, hidden_act="gelu")
    ran = run_here("fuse", "--method", "linear", "--sources", base, chat, "-o", tmp_path / "other")
    assert (ran.status, "architecture hidden_act" in ran.err) == (1, True), ran.err


def test_an_aligned_model_keeps_its_own_tokenizer_and_config(saved: Save, tmp_path: Path) -> None:
    """In the form of the first one's weights, which may be shards."""
    reference, model = (Path(shutil.copytree(saved(*each), tmp_path / each[0])) for each in (("sharded",), ("bert", 1)))
    changed(model, label2id={"x": 0, "y": 1, "z": 2}, id2label={"0": "x", "1": "y", "2": "z"})
    (reference / "tokenizer_config.json").write_text('{"model_max_length": 7}')
    (model / "special_tokens_map.json").write_text("{}")
    assert run_here("align", reference, model, "-o", tmp_path / "by_command").status == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.save(sc.align(reference, model), tmp_path / "by_library")
    for place in (tmp_path / "by_command", tmp_path / "by_library"):
        assert json.loads((place / "config.json").read_text())["id2label"]["2"] == "z"
        assert (place / "tokenizer_config.json").read_text() == "{}"
        assert (place / "special_tokens_map.json").is_file()
    tokens = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        before, after = (pretrained(each)(tokens).logits for each in (model, tmp_path / "by_command"))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_quantised_weights_of_any_class_are_refused(saved: Save, tmp_path: Path) -> None:
    for place in ("a", "b"):
        shutil.copytree(saved("bert-base", "ab".index(place)), tmp_path / place)
        config = json.loads((tmp_path / place / "config.json").read_text())
        (tmp_path / place / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    ran = run_here("fuse", "--method", "linear", "--sources", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")
    assert (ran.status, "its weights are quantised, which cannot be merged" in ran.err) == (1, True)
