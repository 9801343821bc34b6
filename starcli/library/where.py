"""Keywords of nearly all functions: which network, which data, which device; and what they mean to a workspace."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import nn

from starcli.data.dataset import Dataset
from starcli.data.in_memory import Examples, dataset_in_memory
from starcli.errors import StarcliError, type_in_words
from starcli.library.networks import network_copies
from starcli.models.names import check_architecture_name
from starcli.registry.entry import either
from starcli.runtime.progress import Progress
from starcli.workspace.choices import Choices
from starcli.workspace.given import Given

NetworkLike = str | nn.Module | Callable[[], nn.Module]
"""A network: a name as `--arch` takes it, a module (its weights do not count), or a function that builds one."""

DataLike = str | os.PathLike[str] | Dataset | Examples | Mapping[str, Examples]
"""Data: a name or a file as `--data` takes it, or examples in memory (see `starcli.data.in_memory`)."""


class Surroundings(TypedDict, total=False):
    """Keywords of all functions besides network and data: see `Where`."""

    arch_args: Mapping[str, Any]
    data_dir: str | Path | None
    download: bool
    limit: int | None
    val_fraction: float | None
    split_seed: int | None
    image_size: int | None
    normalise: str | None
    text_column: str | None
    label_column: str | None
    tokenizer: str | Path | None
    length: int | None
    task: str | None
    input_shape: Sequence[int] | None
    input_dtype: str | torch.dtype | None
    spec: str | Path | None
    unproved: bool
    device: str | torch.device
    precision: str
    fast: bool
    threads: int | None
    progress: Progress


class Where(Surroundings, total=False):
    """Keywords of nearly all functions: which network, which data, which device. What the models say need not be said.

    arch: the network, for state dicts and foreign files: a name as `--arch` takes it, a module, or a function that
        builds one. A module in the place of a model is its own network; a model that the library made knows its own.
        Of modules all parameters count as weights, also those that take no gradient.
    data: a name as `--data` takes it, `(inputs, labels)` of tensors, NumPy arrays or pandas tables, a torch data set or
        loader of pairs, or `{"train": ..., "test": ...}` of these; a model that the library made knows what it was made
        with.
    arch_args: arguments of a network by name.
    data_dir, download, limit, val_fraction, split_seed, image_size: of data by name, as the options of these names.
    normalise: how inputs are normalised: "none", "data", "imagenet" or "MEAN:STD", see
        `starcli.data.normalise_option`. By default data in memory and floats are taken as they are, and images of bytes
        by name standardised.
    text_column, label_column, tokenizer, length, task: of texts, `text:FILE`, see `starcli.data.text_options`.
    input_shape, input_dtype: of one input, without the batch, for a network without data.
    spec: a file with the permutation spec. unproved: take that spec at its word.
    device: auto (cuda, else cpu), cpu, cuda, cuda:1 or mps, or a `torch.device`. precision: fp32, tf32 (GPUs) or bf16
        (autocast).
    fast: let a GPU take sums in another order each time: results are no longer the same to the bit.
    threads: CPU threads of this call (default: as set, one for a small network, which is faster so).
    average_buffers: between models, average buffers that nothing computes anew (codebooks, scales); else an error.
    progress: who watches, a subclass of `Watcher` that shows how far the call is; by default nothing is shown, and
        notes are warnings (`StarcliWarning`).
    """

    arch: NetworkLike | None
    data: DataLike | None
    average_buffers: bool


class WhereMeasured(Where, total=False):
    """Keywords of what measures: those of `Where`, and `train_data`.

    train_data: the models' own data, where `data` are others, of which the test split alone then counts: BatchNorm
        statistics, temperatures and losses of training are of the models' own.
    """

    train_data: DataLike | None


_OF_TEXTS = ("text_column", "label_column", "tokenizer", "length", "task")
_OF_NAMED_DATA = ("data_dir", "download", "limit", "val_fraction", "split_seed", "image_size", *_OF_TEXTS[:-1])


def understood(where: Where, module: nn.Module | None, *, frozen: bool = False) -> tuple[Choices, Given]:
    """The keywords as choices, and what is given in memory; those of no effect are errors.

    frozen: as of `NetworkCopies`.
    """
    arch, data = where.get("arch"), where.get("data")
    data = os.fspath(data) if isinstance(data, os.PathLike) else data
    arch = module if arch is None else arch
    train_data = cast(DataLike | None, where.get("train_data"))
    train_data = os.fspath(train_data) if isinstance(train_data, os.PathLike) else train_data
    named = {field.name for field in fields(Choices)} & where.keys() - {"arch", "data", "train_data", "input"}
    values: dict[str, Any] = {name: where[name] for name in named}  # type: ignore[literal-required]
    for name in ("data_dir", "spec", "tokenizer"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    values["device"] = str(values.get("device") or "auto")
    if values.get("input_dtype") is not None:
        values["input_dtype"] = type_word("input_dtype", values["input_dtype"], ("float32", "int64"))
    if not isinstance(values.setdefault("arch_args", {}), Mapping):
        raise StarcliError(f"arch_args: {type_in_words(values['arch_args'])}, expected a dictionary")
    if isinstance(arch, str):
        check_architecture_name(arch)
    in_memory = [data is not None and not isinstance(data, str), arch is not None and not isinstance(arch, str)]
    for held, what, names in zip(in_memory, ("data", "a network"), (_OF_NAMED_DATA, ("arch_args",)), strict=True):
        if said := [name for name in names if held and where.get(name)]:
            raise StarcliError(f"{said[0]} goes with {what} by name, and has no effect on {what} in memory")
    choices = Choices(
        arch=arch if isinstance(arch, str) else None,
        data=data if isinstance(data, str) else None,
        train_data=train_data if isinstance(train_data, str) else None,
        input=_input(where.get("input_shape")),
        **values,
    )
    datasets = _held(data, choices), _held(train_data, choices)
    builder = network_copies(arch, frozen=frozen) if in_memory[1] else None
    return choices, Given(*datasets, builder=builder, own_process=False)


def data_by_name_or_held(data: DataLike, choices: Choices) -> str | Dataset:
    """Data in any form: by name as text, else in memory, normalised as asked for."""
    named = os.fspath(data) if isinstance(data, os.PathLike) else data
    return named if isinstance(named, str) else cast(Dataset, _held(named, choices))


def _held(data: DataLike | None, choices: Choices) -> Dataset | None:
    """Data in memory, normalised as asked for; None of data by name."""
    if data is None or isinstance(data, str):
        return None
    dataset = data if isinstance(data, Dataset) else dataset_in_memory(cast(Examples, data), choices.task)
    return dataset if choices.normalise is None else dataset.normalised_by(choices.normalise)


def _input(shape: Any) -> str | None:
    """An `input_shape`, without the batch, as the command line has it, with a batch."""
    if shape is None:
        return None
    if isinstance(shape, str) or not isinstance(shape, Iterable):
        raise StarcliError(f"input_shape={shape!r:.80}: expected sizes without the batch, as in (3, 32, 32)")
    sizes = list(shape)
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise StarcliError(f"input_shape={tuple(sizes)!r:.80}: expected sizes without the batch, as in (3, 32, 32)")
    return ",".join(map(str, (1, *sizes)))


def split_keywords(options: Mapping[str, Any], kind: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of a typed dictionary `kind` among `options`, and all others.

    >>> split_keywords({"data": "digits", "epochs": 3}, Where)
    ({'data': 'digits'}, {'epochs': 3})
    """
    mine = {name: value for name, value in options.items() if name in kind.__annotations__}
    return mine, {name: value for name, value in options.items() if name not in mine}


def type_word(keyword: str, dtype: Any, known: Sequence[str]) -> str:
    """A type, also torch's own, as a word, one of `known`."""
    word = str(dtype).removeprefix("torch.")
    if word not in known:
        raise StarcliError(f"{keyword}={dtype!s:.80}: expected {either(known)}")
    return word
