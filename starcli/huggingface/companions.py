"""Files beside weights in a directory of Hugging Face: config, tokenizer, settings of generation and images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.other_weights import other_weights
from starcli.files.shards import INDEX, WHOLE, checkpoints_in
from starcli.files.write import remove, write_atomically
from starcli.huggingface.directory import (
    CONFIG,
    PREPROCESSOR,
    PROCESSOR,
    Directory,
    config_text,
    directory_of,
    directory_of_any,
    network_arguments,
    read_json,
)
from starcli.huggingface.image_settings import ImageSettings

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


ImageStatistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of images in [0, 1], one number a channel."""
_AS_THEY_ARE: ImageStatistics = ([0.0], [1.0])


def write_companions(
    place: Path,
    directory: Directory | None,
    config: Mapping[str, Any],
    types: Sequence[str],
    normalised: ImageStatistics | None,
) -> None:
    """Write `config` as config.json into `place`, and copy what else a model needs.

    directory: where it is copied from; without one there is nothing more, and a tokenizer that is there stays. With
    one such files of a model that is replaced go, whose tokenizer would be taken for the new one's. types: those of the
    floats of the weights.
    normalised: how images were for them, where it is otherwise than the directory says: its settings then say this.
    """
    if directory is not None:
        copied = _companions(directory.path)
        if checkpoints_in(place):  # of a model that is replaced
            for old in _companions(place):
                if old.name not in {file.name for file in copied}:
                    remove(old)
        for file in copied:
            write_atomically(place / file.name, _settings(file, normalised) if normalised else file.read_bytes())
        if normalised and config.get("pretrained_cfg"):
            config = {**config, "pretrained_cfg": ImageSettings(config["pretrained_cfg"]).normalising(*normalised)}
    if len(types) == 1 and "architectures" in config:
        key = next((key for key in ("dtype", "torch_dtype") if key in config), "dtype")
        config = {**config, key: types[0]}
    write_atomically(place / CONFIG, config_text(config))


def _settings(file: Path, normalised: ImageStatistics) -> bytes:
    """A file as it is copied, where it has settings of images with this normalisation."""
    if file.name not in (PREPROCESSOR, PROCESSOR):
        return file.read_bytes()
    content = read_json(file)
    nested = content.get("image_processor")
    if isinstance(nested, Mapping):
        return config_text({**content, "image_processor": ImageSettings(nested).normalising(*normalised)})
    if file.name == PROCESSOR:
        return file.read_bytes()
    return config_text(ImageSettings(content).normalising(*normalised))


def _companions(place: Path) -> list[Path]:
    """Files of a directory that belong to its model."""
    return sorted({file for pattern in _COPIED for file in place.glob(pattern) if file.is_file()})


def weights_in(place: Path, inputs: Sequence[Path]) -> Path | None:
    """The file for the weights of a new directory `place`, where a model among `inputs` is one; else None.

    In shards where that of the first one is. StarcliError where `place` is an input, or has what is of another model,
    except weights that `--force` replaces.
    """
    directories = [found for path in inputs if (found := directory_of_any(path)) is not None]
    if not directories:
        return None
    first = directories[0]
    weights = place / (WHOLE[0] if first.shard_size() is None else f"{WHOLE[0]}{INDEX}")
    if place.is_dir():
        if any(place.samefile(each.path) for each in directories):
            raise StarcliError(f"{place}: is an input; a model is never written over one")
        known = (weights, *other_weights(weights))
        if others := [each for each in checkpoints_in(place) if each not in known]:
            raise StarcliError(f"{others[0]}: exists, and this model is {weights.name}; choose another directory")
        if not checkpoints_in(place):
            _refuse_others(place, first)
    return weights


def _refuse_others(place: Path, directory: Directory) -> None:
    """Refuse a directory without weights that has another config, or other files than those that come into it."""
    there = directory_of(place)
    if there is not None and network_arguments(there.config) != network_arguments(directory.config):
        raise StarcliError(f"{place / CONFIG}: is of another network, and would be overwritten")
    for file in _companions(directory.path):
        old = place / file.name
        if old.exists() and not (old.is_file() and _settings(old, _AS_THEY_ARE) == _settings(file, _AS_THEY_ARE)):
            raise StarcliError(f"{old}: is of another model, and would be overwritten")
