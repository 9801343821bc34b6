"""Tiny models of `transformers` from configs, saved by its own `save_pretrained`."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

_TEXT = {"vocab_size": 260, "max_position_embeddings": 32}
_SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
_BERT = ("BertForSequenceClassification", "BertConfig", {**_TEXT, **_SMALL, "num_labels": 3})
_LLAMA = {**_TEXT, **_SMALL, "num_attention_heads": 4, "num_key_value_heads": 2}
_DISTIL = {**_TEXT, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "num_labels": 3}
_GPT = {"vocab_size": 260, "n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
_VIT = {**_SMALL, "image_size": 8, "patch_size": 4, "num_channels": 1, "num_labels": 10}
_T5 = {"vocab_size": 260, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 1, "num_heads": 2}
_T5 |= {"pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 0}
_BART = {**_TEXT, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
_BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "pad_token_id": 0, "eos_token_id": 3}
_BART |= {"decoder_start_token_id": 3, "forced_eos_token_id": None}

KINDS = {
    "bert": _BERT,
    "sharded": _BERT,
    "distilbert": ("DistilBertForSequenceClassification", "DistilBertConfig", _DISTIL),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT),
    "llama": ("LlamaForCausalLM", "LlamaConfig", _LLAMA),
    "tied": ("LlamaForCausalLM", "LlamaConfig", {**_LLAMA, "tie_word_embeddings": True}),
    "masked": ("BertForMaskedLM", "BertConfig", {**_TEXT, **_SMALL}),
    "vit": ("ViTForImageClassification", "ViTConfig", _VIT),
}
if find_spec("transformers.integrations.moe"):  # before, experts were modules that a loop went through
    KINDS["mixtral"] = ("MixtralForCausalLM", "MixtralConfig", {**_LLAMA, "num_local_experts": 4})
_VIT_BASE = {key: value for key, value in _VIT.items() if key != "num_labels"}
_DISTIL_BASE = {key: value for key, value in _DISTIL.items() if key != "num_labels"}
BASES = {
    "bert-base": ("BertModel", "BertConfig", {**_TEXT, **_SMALL}),
    "bert-pretrained": ("BertForPreTraining", "BertConfig", {**_TEXT, **_SMALL}),
    "distilbert-base": ("DistilBertModel", "DistilBertConfig", _DISTIL_BASE),
    "vit-base": ("ViTModel", "ViTConfig", _VIT_BASE),
    "t5-base": ("T5Model", "T5Config", _T5),
    "t5-generating": ("T5ForConditionalGeneration", "T5Config", _T5),
    "bart-base": ("BartModel", "BartConfig", _BART),
    "gpt2-bare": ("GPT2Model", "GPT2Config", _GPT),
    "llama-bare": ("LlamaModel", "LlamaConfig", _LLAMA),
    "tied-bare": ("LlamaModel", "LlamaConfig", {**_LLAMA, "tie_word_embeddings": True}),
}
"""Models that are no classifiers and no language models."""
OF_COLOURS = {"colours": ("ViTForImageClassification", "ViTConfig", {**_VIT, "num_channels": 3})}

Save = Callable[..., Path]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Directory of a model by its kind and seed, made once."""
    root = tmp_path_factory.mktemp("directories")

    def save(kind: str, seed: int = 0) -> Path:
        path = root / f"{kind}-{seed}"
        if not path.exists():
            name, config, arguments = (KINDS | BASES | OF_COLOURS)[kind]
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                model: Any = getattr(transformers, name)(getattr(transformers, config)(**arguments))
                for parameter in model.parameters():  # its own are so small that every output is the same
                    torch.nn.init.normal_(parameter, std=0.3)
            model.save_pretrained(path, **({"max_shard_size": "12KB"} if kind == "sharded" else {}))
            path.joinpath("tokenizer_config.json").write_text("{}")
        return path

    return save


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of two lengths with one of three labels, in a table."""
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    rows = [f"{'abc' * (1 + number % 2)} {number % 7},{'xyz'[number % 3]}" for number in range(30)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def words_file(path: Path) -> Path:
    """A tokenizer of words, with BERT's special tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*"abcdefgh", *map(str, range(30))]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate([*special, *words])}, unk_token="[UNK]")
    )
    made.add_special_tokens(special)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.save(str(path))
    return path


def pretrained(path: Path) -> Any:
    """The model as its own library loads it, of the class that its config names; nothing may be missing."""
    config = transformers.AutoConfig.from_pretrained(path)
    model, told = getattr(transformers, config.architectures[0]).from_pretrained(
        path, torch_dtype="auto", output_loading_info=True
    )
    assert not any(told.values()), told
    return model.eval()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to run in, with texts of three classes, and of two of them."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{' '.join('abcdefgh'[: 2 + n % 5])} {n % 20},{'xyz'[n % 3]}" for n in range(30)]
    Path("three.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    Path("two.csv").write_text("\n".join(["text,label", *(row for row in rows if row[-1] != "y")]) + "\n")
    return tmp_path
