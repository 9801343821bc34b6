"""Files beside weights in a directory of Hugging Face: config, tokenizer, settings of generation and images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.shards import INDEX, WHOLE, checkpoints_in
from starcli.files.write import write_atomically
from starcli.huggingface.directory import (
    CONFIG,
    Directory,
    config_text,
    directory_of,
    directory_of_any,
    network_arguments,
)

_COPIED = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*vocab.json",
    "sentencepiece*.model",
    "spiece.model",
    "spm*.model",
    "*.spm",
    "*.tiktoken",
    "bpe.codes",
    "normalizer.json",
    "video_preprocessor_config.json",
    "chat_template*",
)
"""Files that are copied; a model card speaks of the model that it came with, and is not."""


def write_companions(place: Path, directory: Directory | None, config: Mapping[str, Any], types: Sequence[str]) -> None:
    """Write `config` as config.json into `place`, and copy what else a model needs.

    directory: where it is copied from; without one there is nothing more. types: those of the floats of the weights.
    """
    if directory is not None:
        for file in _copied(directory):
            write_atomically(place / file.name, file.read_bytes())
    if len(types) == 1 and "architectures" in config:
        key = next((key for key in ("dtype", "torch_dtype") if key in config), "dtype")
        config = {**config, key: types[0]}
    write_atomically(place / CONFIG, config_text(config))


def _copied(directory: Directory) -> list[Path]:
    return sorted({file for pattern in _COPIED for file in directory.path.glob(pattern) if file.is_file()})


def weights_in(place: Path, inputs: Sequence[Path]) -> Path | None:
    """The file for the weights of a new directory `place`, where a model among `inputs` is one; else None.

    In shards where that of the first one is. StarcliError where `place` is an input, or has what is of another model.
    """
    directories = [found for path in inputs if (found := directory_of_any(path)) is not None]
    if not directories:
        return None
    first = directories[0]
    weights = place / (WHOLE[0] if first.shard_size() is None else f"{WHOLE[0]}{INDEX}")
    if place.is_dir():
        if any(place.samefile(each.path) for each in directories):
            raise StarcliError(f"{place}: is an input; a model is never written over one")
        if others := [each for each in checkpoints_in(place) if each != weights]:
            raise StarcliError(f"{others[0]}: exists, and this model is {weights.name}; choose another directory")
        if not checkpoints_in(place):
            _refuse_others(place, first)
    return weights


def _refuse_others(place: Path, directory: Directory) -> None:
    """Refuse a directory without weights that has another config, or other files than those that come into it."""
    there = directory_of(place)
    if there is not None and network_arguments(there.config) != network_arguments(directory.config):
        raise StarcliError(f"{place / CONFIG}: is of another network, and would be overwritten")
    for file in _copied(directory):
        old = place / file.name
        if old.exists() and not (old.is_file() and old.read_bytes() == file.read_bytes()):
            raise StarcliError(f"{old}: is of another model, and would be overwritten")
