"""What stands beside weights in a directory of Hugging Face: config, tokenizer, settings of generation and images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.shards import WHOLE, checkpoints_in
from starcli.files.write import write_atomically
from starcli.huggingface.directory import (
    CONFIG,
    Directory,
    config_text,
    directory_of,
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
    "sentencepiece*.model",
    "spiece.model",
    "chat_template*",
)
"""Files that are copied; a model card speaks of the model that it came with, and is not."""


def write_companions(place: Path, directory: Directory | None, config: Mapping[str, Any], types: Sequence[str]) -> None:
    """Write `config` as config.json into `place`, and copy what else a model needs.

    directory: where it is copied from; without one there is nothing more. types: those of the floats of the weights.
    """
    if directory is not None:
        for file in sorted(file for pattern in _COPIED for file in directory.path.glob(pattern) if file.is_file()):
            write_atomically(place / file.name, file.read_bytes())
    if len(types) == 1 and "architectures" in config:
        key = next((key for key in ("dtype", "torch_dtype") if key in config), "dtype")
        config = {**config, key: types[0]}
    write_atomically(place / CONFIG, config_text(config))


def weights_in(place: Path, inputs: Sequence[Path]) -> Path | None:
    """The file for the weights of a new directory `place`, where a model among `inputs` is one; else None.

    In shards where that of the first one is. StarcliError where `place` has the config of another network.
    """
    first = next((found for path in inputs if (found := directory_of(path)) is not None), None)
    if first is None:
        return None
    if place.is_dir() and not checkpoints_in(place):
        there = directory_of(place)
        if there is not None and network_arguments(there.config) != network_arguments(first.config):
            raise StarcliError(f"{place / CONFIG}: is of another network, and would be overwritten")
    sharded = first.shard_size() is not None
    return place / (f"{WHOLE[0]}.index.json" if sharded else WHOLE[0])
