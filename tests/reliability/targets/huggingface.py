"""Directories of Hugging Face: configs, settings of images, tokenizers' settings, adapters, indexes of shards."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save

from starcli.checkpoints import checkpoint
from starcli.huggingface.companions import _settings

from ..hostile.data_files import tokenizer_file
from ..hostile.models import ADAPTER, BERT, PROCESSOR, TIMM, VIT, adapter_weights, read_adapter_at, read_directory
from .target import Target

# -- readers -----------------------------------------------------------------------------------------------------------


def _images(path: Path) -> None:
    read_directory(path)
    _settings(path, ([0.5], [0.25]))


def _index(path: Path) -> None:
    checkpoint.read(path)


def targets() -> Iterator[Target]:
    """Their readers."""
    bert, vit, timm, processor, adapter = (json.dumps(each).encode() for each in (BERT, VIT, TIMM, PROCESSOR, ADAPTER))
    nested = b'{"image_processor": %s}' % processor
    special = b'{"pad_token": {"content": "[MASK]"}, "model_max_length": 8}'
    yield Target(
        "config.json", [bert, vit, timm], read_directory, "/config.json", {"preprocessor_config.json": processor}
    )
    yield Target("preprocessor_config.json", [processor], _images, "/preprocessor_config.json", {"config.json": vit})
    yield Target("processor_config.json", [nested], _images, "/processor_config.json", {"config.json": vit})
    texts = {"config.json": bert, "tokenizer.json": tokenizer_file()}
    yield Target("tokenizer_config.json", [special], read_directory, "/tokenizer_config.json", texts)
    yield Target("tokenizer.json of a model", [texts["tokenizer.json"]], read_directory, "/tokenizer.json",
                 {"config.json": bert, "tokenizer_config.json": special})  # fmt: skip
    weights = adapter_weights()
    yield Target("adapter_config.json", [adapter], read_adapter_at, "/adapter_config.json",
                 {"adapter_model.safetensors": weights})  # fmt: skip
    yield Target(
        "adapter weights", [weights], read_adapter_at, "/adapter_model.safetensors", {"adapter_config.json": adapter}
    )
    files = {name: f"model-{n}-of-00002.safetensors" for n, name in (("00001", "a"), ("00002", "b"))}
    index = json.dumps({"metadata": {"total_size": 16, "starcli": "{}"}, "weight_map": files}).encode()
    shards = {file: save({name: torch.zeros(2)}) for name, file in files.items()}
    yield Target("index of shards", [index], _index, "/model.safetensors.index.json", shards)
