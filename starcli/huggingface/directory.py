"""A directory of `transformers` or `timm`: which network it is of, and what it says of inputs. Needs no torch."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.shards import INDEX, WHOLE, file_of, is_index, read_index
from starcli.files.strict_json import read_strict_json
from starcli.huggingface.image_settings import ImageSettings
from starcli.huggingface.tasks import LENGTHS, input_of_class, task_of
from starcli.registry.tasks import CLASSES, MULTI_LABEL, REGRESSION

CONFIG, PREPROCESSOR, TOKENIZER = "config.json", "preprocessor_config.json", "tokenizer.json"
PROCESSOR = "processor_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
"""Names of files beside the weights."""

PREFIX = "hf:"
"""Before the name of a class of `transformers`, in the name of an architecture."""

PROBLEM_TYPES = {REGRESSION: "regression", MULTI_LABEL: "multi_label_classification"}
"""What `problem_type` calls tasks whose outputs are no logits of classes."""

_OF_ITS_OWN = (
    "architectures", "model_type", "auto_map", "transformers_version", "dtype", "torch_dtype", "use_cache",
    "return_dict", "output_attentions", "output_hidden_states", "torchscript", "attn_implementation",
    "finetuning_task", "problem_type", "task_specific_params", "tokenizer_class", "label2id",
)  # fmt: skip
"""Keys of config.json that say nothing of the network; those that begin with `_` do not either."""

_OF_TRAINING, _OF_TOKENS = r"drop|^initializer_|^layer_norm_init|^gradient_", r"^(bos|eos|pad|sep|cls|unk)_token_id$"
"""Keys that say how weights are drawn and trained, and which tokens are special."""

_VOCABULARIES = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
"""Files that `transformers` makes a tokenizer of."""


@dataclass(frozen=True)
class Directory:
    """A directory with a config.json that names a network.

    >>> config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 16}
    >>> found = Directory(Path("gpt"), config)
    >>> found.name, found.arguments, found.task
    ('hf:GPT2LMHeadModel', {'n_embd': 16}, 'next-token')
    """

    path: Path
    config: Mapping[str, Any]

    @cached_property
    def name(self) -> str:
        """The network as `--arch` names it: `hf:CLASS` or `timm:NAME`."""
        if self.is_timm:
            return f"timm:{self.config['architecture']}"
        return f"{PREFIX}{self.config['architectures'][0]}"

    @property
    def is_timm(self) -> bool:
        """Whether the network is one of timm's."""
        return "architectures" not in self.config and "architecture" in self.config

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the network: of `transformers` all of the config that is of it."""
        if self.is_timm:
            own = {key: self.config[key] for key in ("num_classes", "global_pool") if key in self.config}
            return {**own, **(self.config.get("model_args") or {})}
        return network_arguments(self.config)

    @property
    def is_known(self) -> bool:
        """Whether the network is one that is read, and not of another class."""
        return _names_network(self.config)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one input, where timm says it."""
        sizes = (self.config.get("pretrained_cfg") or {}).get("input_size") if self.is_timm else None
        return None if sizes is None else tuple(sizes)

    def architecture_fields(self) -> dict[str, Any]:
        """Fields of the record of an architecture."""
        if self.is_timm:
            shape = self.input_shape or (3, 224, 224)
            return {"name": self.name, "arguments": self.arguments, "input_shape": list(shape)}
        shape = input_of_class(self.name, self.arguments)
        dtype = "float32" if task_of(self.name).images else "int64"
        return {"name": self.name, "arguments": self.arguments, "input_shape": list(shape), "input_dtype": dtype}

    @property
    def task(self) -> str | None:
        """The task as `--task` says it; None of images, where their classes are told apart."""
        if self.is_timm:
            return None
        task = task_of(self.name)
        if not (task.images or task.texts == CLASSES):
            return task.texts
        one = len(self.config.get("id2label") or {}) == 1 or self.config.get("num_labels") == 1
        said = self.config.get("problem_type") or ("regression" if one else None)
        return next((each for each, problem in PROBLEM_TYPES.items() if problem == said), task.texts)

    @property
    def takes_images(self) -> bool:
        """Whether inputs are images."""
        return self.is_timm or task_of(self.name).images

    @property
    def tokenizer(self) -> Path | None:
        """The tokenizer file, where there is one."""
        file = self.path / TOKENIZER
        return file if file.is_file() else None

    @property
    def vocabulary(self) -> str | None:
        """Name of the file of a tokenizer that is written in an older way, where there is one."""
        return next((name for name in _VOCABULARIES if (self.path / name).is_file()), None)

    @property
    def padding_token(self) -> int | None:
        """Number of the token behind a text, where the tokenizer's files say it."""
        if self.tokenizer is None:
            return None
        said = read_json(self.path / TOKENIZER_CONFIG).get("pad_token")
        token = said.get("content") if isinstance(said, Mapping) else said
        try:  # of any size: those of large vocabularies are longer than a config may be
            added = json.loads(self.tokenizer.read_bytes())["added_tokens"]
            return next((int(each["id"]) for each in added if each["content"] == token), None)
        except (ValueError, LookupError, TypeError, RecursionError):  # what it is instead, its reader says
            return None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in order, where the config gives them any."""
        if self.is_timm:
            listed = self.config.get("label_names")
            return tuple(map(str, listed)) if isinstance(listed, list) else ()
        named = self.config.get("id2label") or {}
        names = tuple(str(named[key]) for key in sorted(named, key=int))
        usual = all(name == f"LABEL_{number}" for number, name in enumerate(names))
        return () if usual else names

    @cached_property
    def image_settings(self) -> ImageSettings:
        """What the directory says of how images are made into inputs."""
        if self.is_timm:
            return ImageSettings(self.config.get("pretrained_cfg") or {})
        nested = read_json(self.path / PROCESSOR).get("image_processor")  # of `transformers` 5, which reads it first
        return ImageSettings(nested if isinstance(nested, Mapping) else read_json(self.path / PREPROCESSOR))

    @property
    def image_side(self) -> int | None:
        """Side of the images that the network is for, as the settings of images say it, else the config."""
        if self.input_shape is not None:
            return self.input_shape[-1]
        said = self.arguments.get("image_size")
        return self.image_settings.side or (said if isinstance(said, int) else None)

    def shard_size(self) -> int | None:
        """Size in bytes of the largest shard; None where the weights are in one file."""
        file = file_of(self.path)
        return max(shard.stat().st_size for shard in read_index(file).shards()) if is_index(file) else None


def directory_of(path: Path) -> Directory | None:
    """The directory that `path` is, or whose weights it is; None where no config.json names a network that is known.

    Raises StarcliError for a config.json that cannot be read, or has no tables where these belong.
    """
    found = directory_of_any(path)
    if found is None or not found.is_known:
        return None
    if wrong := _malformed(found.config):
        raise StarcliError(f"{found.path / CONFIG}: {wrong[0]} is not what it is in a config of transformers or timm")
    return found


def directory_of_any(path: Path) -> Directory | None:
    """`directory_of` also where the class is not known, or none is named but the type of the model."""
    if not path.is_dir():
        if path.name not in WHOLE and path.name.removesuffix(INDEX) not in WHOLE:
            return None
        path = path.parent
    config = read_json(path / CONFIG)
    return Directory(path, config) if config.keys() & {"architectures", "architecture", "model_type"} else None


def _malformed(config: Mapping[str, Any]) -> list[str]:
    """Keys of what is read of a config, and is of another form than these have."""
    wrong = [key for key in ("id2label", "pretrained_cfg", "model_args") if not _is_table(config.get(key))]
    if wrong:
        return wrong
    names = [] if all(map(_is_number, config.get("id2label") or {})) else ["id2label"]
    sizes = {
        "input_size": _are_sizes((config.get("pretrained_cfg") or {}).get("input_size"), 3),
        "image_size": _is_size(config.get("image_size")) or _are_sizes(config.get("image_size"), 2),
        "num_channels": _is_size(config.get("num_channels")),
    }
    return names + [key for key, fits in sizes.items() if not fits]


def _is_table(value: object) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdecimal()


def _is_size(value: object) -> bool:
    return value is None or (isinstance(value, int) and 0 < value < 2**31)


def _are_sizes(value: object, count: int) -> bool:
    return value is None or (
        isinstance(value, list) and len(value) == count and None not in value and all(map(_is_size, value))
    )


def _names_network(config: Mapping[str, Any]) -> bool:
    if "architectures" in config:
        names = config["architectures"]
        return isinstance(names, list) and len(names) > 0 and isinstance(names[0], str) and task_of(names[0]).known
    return isinstance(config.get("architecture"), str)


def why_unknown(path: Path) -> list[str]:
    """Why a directory, or one whose weights `path` is, names no network that is read; nothing where it has no config.

    One line, or none.
    """
    place = path if path.is_dir() else path.parent
    if directory_of(path) is not None or not (place / CONFIG).is_file():
        return []
    names = read_json(place / CONFIG).get("architectures")
    if not (isinstance(names, list) and names and isinstance(names[0], str)):
        return [f"{place / CONFIG} names no class of a network (architectures)"]
    read = "read are classifiers of images and texts, causal and masked models"
    return [f"{place / CONFIG} names {names[0]}; {read}; train --init gives a base model a head"]


def network_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that decides the network: nothing of its files, classes by their number alone.

    >>> network_arguments({"hidden_size": 8, "id2label": {"0": "bad", "1": "good"}, "transformers_version": "5.0"})
    {'hidden_size': 8, 'num_labels': 2}
    """
    kept = {key: value for key, value in config.items() if key not in _OF_ITS_OWN and not key.startswith("_")}
    names = kept.pop("id2label", None)
    return kept | ({"num_labels": len(names)} if names else {})


def told_of_weights(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a class that weights go by: not how it is trained, nor which tokens end a text it writes.

    Nor how long a text may be: where there is a weight for each position, its size says it. Of classifiers special
    tokens stay: some of them read a text at one.

    >>> told_of_weights("GPT2LMHeadModel", {"n_embd": 8, "n_positions": 64, "eos_token_id": 2, "attn_pdrop": 0.1})
    {'n_embd': 8}
    """
    task = task_of(name)
    left_out = _OF_TRAINING if task.images or task.texts == CLASSES else f"{_OF_TRAINING}|{_OF_TOKENS}"
    lengths = () if task.images or _turns_by_length(arguments) else LENGTHS
    return {key: value for key, value in arguments.items() if key not in lengths and not re.search(left_out, key)}


def _turns_by_length(arguments: Mapping[str, Any]) -> bool:
    """Whether rotary positions are scaled by the longest length that there may be."""
    said = (arguments.get(key) for key in ("rope_scaling", "rope_parameters"))
    kinds = {each.get("rope_type", each.get("type", "default")) for each in said if isinstance(each, Mapping)}
    return not kinds <= {"default", "linear", "llama3"}


def read_json(path: Path) -> Mapping[str, Any]:
    """Content of a JSON file; empty where there is none. StarcliError for a file that is no JSON object."""
    try:
        content = read_strict_json(path)
        if not isinstance(content, dict):
            raise ValueError("it is no object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise StarcliError(f"{path}: cannot be read: {str(error)[:120]}") from error
    return content


def config_text(config: Mapping[str, Any]) -> bytes:
    """A config as it is written."""
    return (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
