"""Directories of Hugging Face among a command's models: what they settle, their names of tensors, and new ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from starcli.checkpoints import checkpoint
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import MODELS, Architecture, Metadata
from starcli.data.names import IMAGES_OF_ANY_SIZE, parse_name
from starcli.data.normalise_option import MeanStd, normalise_words, parse_normalise, same_statistics
from starcli.data.text_options import OF_TEXTS, OPTIONS_OF_KINDS
from starcli.errors import StarcliError, few
from starcli.files.lazy_tensors import LazyTensors
from starcli.files.shards import INDEX, WHOLE, is_index
from starcli.files.write_shards import SHARD_METADATA
from starcli.huggingface.classes import with_classes
from starcli.huggingface.companions import write_companions
from starcli.huggingface.directory import (
    PREFIX,
    PROBLEM_TYPES,
    TOKENIZER,
    Directory,
    directory_of,
)
from starcli.models.dtypes import float_types
from starcli.models.huggingface import config_file, from_disk, least_arguments, names_in_class, to_disk, turned_modules
from starcli.models.names import is_huggingface
from starcli.workspace.choices import Choices
from starcli.workspace.new_heads import number_of_classes


def directory_among(choices: Choices, checkpoints: Sequence[Checkpoint] = ()) -> Directory | None:
    """The directory that `--arch hf:DIR` names, else the first that a model is read from."""
    if named := _named_by(choices):
        return named
    return next(iter(directories_of(checkpoints)), None)


def _named_by(choices: Choices) -> Directory | None:
    """The directory that `--arch hf:DIR` names."""
    if choices.arch is None or not is_huggingface(choices.arch):
        return None
    path = Path(choices.arch.removeprefix(PREFIX))
    return directory_of(path) if path.is_dir() else None


def settled_by(directory: Directory | None, choices: Choices, *, recorded: bool) -> Choices:
    """The choices, and what they leave open of network and data as a directory has it.

    recorded: whether a model says what it was trained on, which then holds.
    """
    if directory is None:
        return choices
    if _named_by(choices) is not None:
        own = _least(directory.name, directory.arguments) if is_huggingface(directory.name) else directory.arguments
        choices = replace(choices, arch=directory.name, arch_args={**own, **choices.arch_args})
    elif choices.arch is None and directory.is_timm:  # the command line names it, in naming the directory
        choices = replace(choices, arch=directory.name, arch_args={**directory.arguments, **choices.arch_args})
    if choices.data is None:
        return choices
    kind = parse_name(choices.data)[0]
    if kind in OF_TEXTS and not directory.takes_images:
        choices = replace(choices, tokenizer=choices.tokenizer or directory.tokenizer)
    if recorded:
        return choices
    if directory.task in PROBLEM_TYPES and kind in OPTIONS_OF_KINDS:
        choices = replace(choices, task=choices.task or directory.task)
    if kind in ("text", "arrays") and not directory.takes_images:
        choices = replace(choices, task=choices.task or directory.task, class_names=directory.class_names or None)
    if directory.takes_images:
        choices = replace(choices, normalise=choices.normalise or directory.image_settings.normalise)
    if kind in IMAGES_OF_ANY_SIZE:
        choices = replace(choices, image_size=choices.image_size or directory.image_side)
    if kind == "folder":
        choices = replace(choices, class_names=directory.class_names or None)
    return choices


def refuse_other_directories(choices: Choices, checkpoints: Sequence[Checkpoint]) -> None:
    """Raise StarcliError where directories of the models say different things of the same data: the first one's hold.

    So do other orders of classes, which outputs have without data too.
    """
    found = directories_of(checkpoints)
    if _named_by(choices) is not None or not found:
        return
    refuse_other_orders(checkpoints)
    if choices.data is None:
        return
    kind, problems = parse_name(choices.data)[0], []
    if kind in OF_TEXTS and choices.tokenizer is None and (other := with_other_tokenizer(found)) is not None:
        problems.append(f"their tokenizers differ, those of {found[0].path} and {other.path}: --tokenizer names one")
    if choices.normalise is None and (hows := _other_normalisation(checkpoints)):
        problems.append(f"their images are normalised otherwise: {hows}; --normalise says how")
    if problems:
        raise StarcliError("these models read the same data differently: measure each alone", problems)


def refuse_other_orders(checkpoints: Sequence[Checkpoint]) -> None:
    """Raise StarcliError where models have the same classes in different orders, as they record or a config says it."""
    named = [(each.name, classes) for each in checkpoints if (classes := _classes_of(each))]
    for name, classes in named[1:]:
        if classes != named[0][1] and sorted(classes) == sorted(named[0][1]):
            names = ", ".join(f"{few(words, 5)} in {model}" for model, words in (named[0], (name, classes)))
            raise StarcliError("these models do not belong together", [f"their classes are in another order: {names}"])


def _classes_of(model: Checkpoint) -> tuple[str, ...]:
    """Names of the classes of a model's outputs in order; none where nothing says them."""
    if model.metadata.data is not None:
        return tuple(model.metadata.data.class_names)
    return next((each.class_names for each in directories_of([model], any_class=True)), ())


def _other_normalisation(checkpoints: Sequence[Checkpoint]) -> str | None:
    """Two models of which a directory normalises images otherwise than the first that says it; None where none does.

    Those that record their data, which say it first, are compared with each other elsewhere.
    """
    recorded = [(each.name, each.metadata.data) for each in checkpoints if each.metadata.data is not None]
    known: list[tuple[str, tuple[Sequence[float], Sequence[float]]]]
    known = [(name, (data.mean, data.std)) for name, data in recorded if data.mean and data.vocab_size is None]
    found = directories_of([each for each in checkpoints if each.metadata.data is None])
    said = [(str(each.path), statistics) for each in found if (statistics := _said_of_images(each))]
    hows = [*known[:1], *said]
    other = next((each for each in hows[1:] if not same_statistics(hows[0][1], each[1])), None)
    return other and ", ".join(f"{normalise_words(*each)} in {name}" for name, each in (hows[0], other))


def _said_of_images(directory: Directory) -> MeanStd | None:
    """How a directory says that images are normalised; None where it does not, and where inputs are no images."""
    said = directory.image_settings.normalise if directory.takes_images else None
    return parse_normalise(said) if said else None


def directories_of(checkpoints: Sequence[Checkpoint], *, any_class: bool = False) -> list[Directory]:
    """The directories that models are read from, in order; of `any_class`, also those whose network is not known."""
    return [found for each in checkpoints if (found := each.found_directory(any_class=any_class)) is not None]


def with_other_tokenizer(directories: Sequence[Directory]) -> Directory | None:
    """The first directory that makes other tokens than the very first one; those without a tokenizer file do not count.

    Where the very first has none, and its tokens would be bytes, that is any with such a file.
    """
    first, *others = (each.tokenizer for each in directories)
    differs = (file is not None and (first is None or not _same_tokens(first, file)) for file in others)
    return next((each for each, other in zip(directories[1:], differs, strict=True) if other), None)


def notes_without_tokenizer(choices: Choices, checkpoints: Sequence[Checkpoint]) -> tuple[str, ...]:
    """A note where texts are read for directories that have no tokenizer file, and none is named.

    Models that record their data say there what their tokens are.
    """
    if choices.data is None or parse_name(choices.data)[0] not in OF_TEXTS or choices.tokenizer is not None:
        return ()
    silent, named = [each for each in checkpoints if each.metadata.data is None], _named_by(choices)
    found = directories_of(silent) if named is None or not silent else [named]
    missing = [each for each in found if each.tokenizer is None]
    if not missing:
        return ()
    first = directory_among(choices, checkpoints)
    file = None if first is None else first.tokenizer
    how = "texts are read as bytes" if file is None else f"texts are read by {file}"
    said = f"{few(list(dict.fromkeys(str(each.path) for each in missing)), 3)}: no {TOKENIZER} there, {how}"
    ways = ["--tokenizer names another"]
    if older := next((each for each in missing if each.vocabulary), None):
        place = f"'{older.path}'"
        ways.append(f"AutoTokenizer.from_pretrained({place}).save_pretrained({place}) makes one of {older.vocabulary}")
    return (f"{said}; {', and '.join(ways)}",)


def _same_tokens(one: Path, other: Path) -> bool:
    """Whether two tokenizer files make the same tokens; their truncation and padding are not used."""
    first, second = one.read_bytes(), other.read_bytes()
    if first == second:
        return True
    try:
        contents = [json.loads(each) for each in (first, second)]
        made = [{key: each[key] for key in each.keys() - {"truncation", "padding"}} for each in contents]
    except (ValueError, AttributeError, RecursionError):  # what it is instead, its reader says
        return False
    return made[0] == made[1]


def in_terms_of_network(model: Checkpoint, choices: Choices) -> Checkpoint:
    """A model of a class of `transformers` with the arguments that tell it and the names that the class has.

    The class is the one that `choices` name, or the model's own.
    Raises StarcliError where the package or the class is missing, or the weights do not fit it.
    """
    architecture = model.metadata.architecture
    full_name = choices.arch or (architecture.name if architecture else "")
    if not is_huggingface(full_name):
        return model
    name, arguments = full_name.removeprefix(PREFIX), dict(choices.arch_args)
    if architecture is not None and architecture.name == full_name:
        arguments = _least(full_name, {**architecture.arguments, **arguments})
        model = _with_arguments(model, architecture, arguments)
    if model.tensors.keys() == names_in_class(name, arguments):
        return model
    return model.with_tensors(from_disk(name, arguments, model.tensors))


def without_defaults(model: Checkpoint) -> Checkpoint:
    """A model with the arguments alone that tell its class of `transformers`: a config.json says many defaults."""
    architecture = model.metadata.architecture
    if architecture is None or not is_huggingface(architecture.name):
        return model
    return _with_arguments(model, architecture, _least(architecture.name, architecture.arguments))


def _with_arguments(model: Checkpoint, architecture: Architecture, arguments: Mapping[str, Any]) -> Checkpoint:
    told = architecture.model_copy(update={"arguments": arguments})
    return replace(model, metadata=model.metadata.model_copy(update={"architecture": told}))


def adapted(base: Checkpoint, place: Path) -> Checkpoint:
    """`base` with the LoRA adapter in the directory `place` applied, a model made from it. Errors as of `apply`."""
    from starcli.huggingface.adapter_description import other_base
    from starcli.huggingface.adapters import read_adapter

    adapter = read_adapter(place)
    model = in_terms_of_network(base, Choices())
    parents, ancestors = checkpoint.ancestry([base])
    network = model.metadata.architecture
    turned = None
    if network is not None and is_huggingface(network.name):
        turned = turned_modules(network.name.removeprefix(PREFIX), network.arguments)
    metadata = Metadata(architecture=network, parents=parents, ancestors=ancestors)
    named, notes = adapter.config.get("base_model_name_or_path"), base.notes
    if named and base.path is not None and other_base(str(named), base.path):
        notes = (*notes, f"is put on {base.path}, and its config names {named} as its base")
    tensors = adapter.apply(model.tensors, turned)
    return Checkpoint(tensors, metadata, place.absolute().name, base.path, notes=notes)


def _least(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return least_arguments(name.removeprefix(PREFIX), arguments)


def _other_than(directory: Directory | None, metadata: Metadata) -> MeanStd | None:
    """How a model records that its images are normalised; None where it does not, and where its directory says so."""
    data, said = metadata.data, directory and _said_of_images(directory)
    if not said or data is None or not data.mean or same_statistics(said, (data.mean, data.std)):
        return None
    return tuple(data.mean), tuple(data.std)


def _named_classes(config: Mapping[str, Any], metadata: Metadata) -> Mapping[str, Any]:
    """A config with what a model records of its outputs: names, where it has as many of them, and another task."""
    count, data = metadata.architecture and number_of_classes(metadata.architecture), metadata.data
    if data is None or not count or not (len(data.class_names) == count or data.task_name in PROBLEM_TYPES):
        return config
    return with_classes(Directory(Path(), config), count, data.class_names, data.task_name).config


def write_model(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Metadata,
    directory: Directory | None,
    *,
    shard_size: int | None = None,
) -> Metadata:
    """Write a checkpoint, and where it is the one of a directory of Hugging Face, what stands beside it there.

    directory: the one of a model that it was made from. `LazyTensors` are those of files, by their names there. Other
    arguments and the result as of `checkpoint.write`.
    """
    architecture = metadata.architecture
    whole = path.name in WHOLE or path.name.removesuffix(INDEX) in WHOLE
    if architecture is None:  # tensors of a network in memory are not those of a directory, unless nothing knows that
        known = directory is not None and not directory.is_known
    else:
        known = directory is not None or is_huggingface(architecture.name)
    if not (whole and known) or metadata.kind not in MODELS:
        return checkpoint.write(path, tensors, metadata, shard_size=shard_size)
    config: Mapping[str, Any] = directory.config if directory is not None else {}
    types = [] if isinstance(tensors, LazyTensors) else float_types(tensors)
    if architecture is not None and is_huggingface(architecture.name) and not isinstance(tensors, LazyTensors):
        own = architecture.name.removeprefix(PREFIX), architecture.arguments
        tensors, config = to_disk(*own, tensors), config or _named_classes(config_file(*own), metadata)
    if is_index(path) and shard_size is None and directory is not None:
        shard_size = directory.shard_size()
        if shard_size is None:  # its own weights are in one file: so are these, behind their index
            shard_size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_companions(path.parent, directory, config, types, _other_than(directory, metadata))
    return checkpoint.write(path, tensors, metadata, shard_size=shard_size, words=SHARD_METADATA)
