"""Directories of Hugging Face and adapters: sound files, their readers, and hostile ones."""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from starcli.errors import StarcliError
from starcli.huggingface.adapter_description import describe_adapter
from starcli.huggingface.adapters import read_adapter
from starcli.huggingface.classes import with_classes, without_classes
from starcli.huggingface.directory import Directory, directory_of, directory_of_any, told_of_weights, why_unknown
from starcli.models.huggingface import config_of
from starcli.models.names import is_huggingface

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


def read_directory(path: Path) -> None:
    """All that a directory says, each thing by itself."""
    why_unknown(path.parent)
    directory_of_any(path.parent)
    found = directory_of(path.parent)
    for read in READ if found is not None else ():
        with contextlib.suppress(StarcliError):
            read(found)


def read_adapter_at(path: Path) -> None:
    with contextlib.suppress(StarcliError):
        describe_adapter(path.parent).to_dict()
    read_adapter(path.parent).apply(BASE)


# -- sound files -------------------------------------------------------------------------------------------------------

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


def adapter_weights() -> bytes:
    factors = {f"base_model.model.layer.{n}.q.lora_{kind}.weight": torch.ones(shape)
               for n in (0, 1) for kind, shape in (("A", (2, 6)), ("B", (4, 2)))}  # fmt: skip
    return save({**factors, "base_model.model.head.weight": torch.ones(2, 4)})


# -- hostile ones ------------------------------------------------------------------------------------------------------


def _config(**said: Any) -> dict[str, bytes]:
    return {"config.json": json.dumps({**BERT, **said}).encode()}


def _adapter(**said: Any) -> dict[str, bytes]:
    config = json.dumps({**ADAPTER, **said}).encode()
    return {"adapter_config.json": config, "adapter_model.safetensors": adapter_weights()}


CODE = {"modeling_x.py": b"open('ran', 'w').close()\n"}

CONFIGS: Mapping[str, Callable[[], dict[str, bytes]]] = {
    "nested JSON": lambda: {"config.json": b"[" * 100_000},
    "no JSON": lambda: {"config.json": b"\0\xff"},
    "a key twice": lambda: {"config.json": b'{"architectures": ["BertForMaskedLM"], "architectures": ["X"]}'},
    "16 MB": lambda: {"config.json": json.dumps({**BERT, "x": "y" * (16 << 20)}).encode()},
    "code beside it": lambda: {**_config(auto_map={"AutoModel": "modeling_x.Model"}), **CODE},
    "a class by a path": lambda: {**_config(architectures=["modeling_x.XForMaskedLM"]), **CODE},
    "an image of 2^60": lambda: _config(image_size=2**60),
    "names that are lists": lambda: _config(id2label=[[]]),
    "a class that is a table": lambda: _config(architectures=[{"a": 1}]),
    "sizes that are words": lambda: _config(hidden_size="x", num_hidden_layers={}),
    "settings of nested JSON": lambda: {**_config(), "preprocessor_config.json": b"[" * 100_000},
    "a tokenizer of nested JSON": lambda: {**_config(), "tokenizer.json": b"[" * 100_000},
}
"""The files of a folder. All but those that are not JSON may be read, as far as they say something."""

ADAPTERS: Mapping[str, Callable[[], dict[str, bytes]]] = {
    "a pattern of years": lambda: _adapter(alpha_pattern={"(l|a|y|e|r|[01]|[.]|q)*x|((.*)*)*y": 1}),
    "a pattern that repeats": lambda: _adapter(alpha_pattern={".*" * 30 + "x": 1}),
    "a pattern of 99,999,999,999": lambda: _adapter(alpha_pattern={"q{99999999999}": 1}),
    "nested patterns": lambda: _adapter(alpha_pattern={"(" * 5_000 + "q" + ")" * 5_000: 1}),
    "1,001 patterns": lambda: _adapter(alpha_pattern={f"q{n}$": 1 for n in range(1_001)}),
    "an alpha of many digits": lambda: _adapter(lora_alpha=10**4000),
    "no alpha": lambda: _adapter(lora_alpha=None),
    "another kind": lambda: _adapter(peft_type="os.system"),
    "nested JSON": lambda: {**_adapter(), "adapter_config.json": b"[" * 100_000},
    "empty weights": lambda: {**_adapter(), "adapter_model.safetensors": b""},
    "weights that are pickled": lambda: {
        "adapter_config.json": json.dumps(ADAPTER).encode(),
        "adapter_model.bin": b"\x80",
    },
}
"""The files of a folder."""
