"""Merges of weights alone of directories whose class is not one of those that are read: no network is needed."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from huggingface.conftest import Save
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


def test_quantised_weights_of_any_class_are_refused(saved: Save, tmp_path: Path) -> None:
    for place in ("a", "b"):
        shutil.copytree(saved("bert-base", "ab".index(place)), tmp_path / place)
        config = json.loads((tmp_path / place / "config.json").read_text())
        (tmp_path / place / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    ran = run_here("fuse", "--method", "linear", "--sources", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c")
    assert (ran.status, "its weights are quantised, which cannot be merged" in ran.err) == (1, True)
