"""Directories of Hugging Face: configs, settings of images, tokenizers' settings, adapters, indexes of shards."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from starcli.checkpoints import checkpoint
from starcli.errors import StarcliError
from starcli.huggingface.adapter_description import describe_adapter
from starcli.huggingface.adapters import read_adapter
from starcli.huggingface.classes import with_classes, without_classes
from starcli.huggingface.companions import _settings
from starcli.huggingface.directory import Directory, directory_of, directory_of_any, told_of_weights, why_unknown
from starcli.models.huggingface import config_of
from starcli.models.names import is_huggingface

from .data import tokenizer_file
from .target import Target

# -- readers -----------------------------------------------------------------------------------------------------------

READ: tuple[Callable[[Directory], object], ...] = (
    lambda found: (found.name, found.arguments, found.is_known, found.task, found.takes_images, found.class_names),
    lambda found: told_of_weights(found.name, found.arguments),
    lambda found: found.architecture_fields(),
    lambda found: found.padding_token,
    lambda found: (found.image_side, found.image_settings.resizing, found.image_settings.flips_channels),
    lambda found: found.image_settings.normalise,
    lambda found: found.shard_size(),
    lambda found: with_classes(without_classes(found), 3, ["a", "b", "c"]).class_names,
    lambda found: config_of(found.name.removeprefix("hf:"), found.arguments) if is_huggingface(found.name) else None,
)
"""What is read of a directory before its network is built."""


def _directory(path: Path) -> None:
    """All that a directory says, each thing by itself."""
    why_unknown(path.parent)
    directory_of_any(path.parent)
    found = directory_of(path.parent)
    for read in READ if found is not None else ():
        with contextlib.suppress(StarcliError):
            read(found)


def _images(path: Path) -> None:
    _directory(path)
    _settings(path, ([0.5], [0.25]))


def _adapter(path: Path) -> None:
    with contextlib.suppress(StarcliError):
        describe_adapter(path.parent).to_dict()
    read_adapter(path.parent).apply(BASE)


def _index(path: Path) -> None:
    checkpoint.read(path)


# -- sound inputs ------------------------------------------------------------------------------------------------------

BASE = {"layer.0.q.weight": torch.zeros(4, 6), "layer.1.q.weight": torch.zeros(4, 6), "head.weight": torch.zeros(2, 4)}
"""The model that an adapter is for."""

BERT: dict[str, Any] = {
    "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 7, "max_position_embeddings": 16,
    "id2label": {"0": "bad", "1": "good"}, "problem_type": None, "pad_token_id": 0,
}  # fmt: skip
VIT: dict[str, Any] = {
    "architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 8, "image_size": 8, "patch_size": 4, "num_channels": 3,
}  # fmt: skip
TIMM: dict[str, Any] = {
    "architecture": "resnet10t", "num_classes": 2, "global_pool": "avg", "model_args": {"drop_rate": 0.1},
    "label_names": ["a", "b"], "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5], "std": [0.5, 1, 2]},
}  # fmt: skip
PROCESSOR: dict[str, Any] = {
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5], "do_normalize": True, "do_rescale": True, "rescale_factor": 0.01,
    "size": {"height": 8, "width": 8}, "do_center_crop": True, "crop_size": 8, "rescale_offset": True,
}  # fmt: skip
ADAPTER: dict[str, Any] = {
    "peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "base", "target_modules": ["q"],
    "alpha_pattern": {"layer.1.q": 8, "layer\\.[02]+\\.q": 2.5}, "use_rslora": False, "fan_in_fan_out": False,
    "init_lora_weights": True,
}  # fmt: skip


def _adapter_weights() -> bytes:
    factors = {f"base_model.model.layer.{n}.q.lora_{kind}.weight": torch.ones(shape)
               for n in (0, 1) for kind, shape in (("A", (2, 6)), ("B", (4, 2)))}  # fmt: skip
    return save({**factors, "base_model.model.head.weight": torch.ones(2, 4)})


def targets() -> Iterator[Target]:
    """Their readers."""
    bert, vit, timm, processor, adapter = (json.dumps(each).encode() for each in (BERT, VIT, TIMM, PROCESSOR, ADAPTER))
    nested = b'{"image_processor": %s}' % processor
    special = b'{"pad_token": {"content": "[MASK]"}, "model_max_length": 8}'
    yield Target("config.json", [bert, vit, timm], _directory, "/config.json", {"preprocessor_config.json": processor})
    yield Target("preprocessor_config.json", [processor], _images, "/preprocessor_config.json", {"config.json": vit})
    yield Target("processor_config.json", [nested], _images, "/processor_config.json", {"config.json": vit})
    texts = {"config.json": bert, "tokenizer.json": tokenizer_file()}
    yield Target("tokenizer_config.json", [special], _directory, "/tokenizer_config.json", texts)
    yield Target("tokenizer.json of a model", [texts["tokenizer.json"]], _directory, "/tokenizer.json",
                 {"config.json": bert, "tokenizer_config.json": special})  # fmt: skip
    weights = _adapter_weights()
    yield Target("adapter_config.json", [adapter], _adapter, "/adapter_config.json",
                 {"adapter_model.safetensors": weights})  # fmt: skip
    yield Target("adapter weights", [weights], _adapter, "/adapter_model.safetensors", {"adapter_config.json": adapter})
    files = {name: f"model-{n}-of-00002.safetensors" for n, name in (("00001", "a"), ("00002", "b"))}
    index = json.dumps({"metadata": {"total_size": 16, "starcli": "{}"}, "weight_map": files}).encode()
    shards = {file: save({name: torch.zeros(2)}) for name, file in files.items()}
    yield Target("index of shards", [index], _index, "/model.safetensors.index.json", shards)
