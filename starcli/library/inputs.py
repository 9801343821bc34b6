"""What callers of the library give: models, networks and data in any common form."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn

from starcli.checkpoints import checkpoint
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.checkpoints.several import labelled, refuse_duplicates
from starcli.data.dataset import Dataset
from starcli.data.in_memory import Examples, dataset_in_memory
from starcli.errors import StarcliError, first_of
from starcli.library.calls import in_python
from starcli.library.networks import NetworkCopies, copies_of, network_copies, refuse_other_network, tensors_of
from starcli.models.copies import uncompiled
from starcli.models.dtypes import float_types
from starcli.models.names import check_architecture_name
from starcli.models.state_dicts import load_state, versions_of
from starcli.runtime.progress import Progress
from starcli.workspace.choices import FLOATS, Choices
from starcli.workspace.workspace import Given, NetworkBuilder, Workspace, new_workspace, workspace_of

ModelLike = str | os.PathLike[str] | Checkpoint | nn.Module | Mapping[str, Tensor]
"""A model: a file, a checkpoint (also what this library returned), a module, or a state dict."""

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
    data: a name as `--data` takes it, `(inputs, labels)`, a torch data set or loader of pairs, or
        `{"train": ..., "test": ...}` of these; a model that the library made knows what it was made with.
    arch_args: arguments of a network by name.
    data_dir, download, limit, val_fraction, split_seed, image_size: of data by name, as the options of these names.
    normalise: how inputs are normalised: "none", "data", "imagenet" or "MEAN:STD", see
        `starcli.data.normalise_option`. By default data in memory and floats are taken as they are, and images of bytes
        by name standardised.
    text_column, label_column, tokenizer, length, task: of texts, `text:FILE`, see `starcli.data.text_options`.
    input_shape, input_dtype: of one input, without the batch, for a network without data.
    spec: a file with the permutation spec. unproved: take that spec at its word.
    device: auto, cpu, cuda, cuda:1 or mps, or a `torch.device`. precision: fp32, tf32 (GPUs) or bf16 (autocast).
    fast: let a GPU take sums in another order each time: results are no longer the same to the bit.
    threads: CPU threads of this call (default: as set, one for a small network, which is faster so).
    average_buffers: between models, average buffers that nothing computes anew (codebooks, scales); else an error.
    progress: who watches; by default notes become warnings (`StarcliWarning`).
    """

    arch: NetworkLike | None
    data: DataLike | None
    average_buffers: bool


ModelForms = (str, os.PathLike, Checkpoint, nn.Module, Mapping)
"""The classes of `ModelLike`."""

_OF_TEXTS = ("text_column", "label_column", "tokenizer", "length", "task")
_OF_NAMED_DATA = ("data_dir", "download", "limit", "val_fraction", "split_seed", "image_size", *_OF_TEXTS[:-1])


class StarcliWarning(UserWarning):
    """A note: what a result rests on, or what is odd about it. On the command line notes go to stderr."""


class Warnings(Progress):
    """The watcher of library calls: notes become warnings."""

    def note(self, text: str) -> None:
        """Warn."""
        warnings.warn(in_python(text), StarcliWarning, stacklevel=_frames_of_ours())


def _frames_of_ours() -> int:
    """The `stacklevel` of the line outside this package that asked: Python shows it, and repeats no line's warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] == "starcli":
        level, frame = level + 1, frame.f_back
    return level


@dataclass(frozen=True, eq=False, repr=False)
class MadeModel(Checkpoint):
    """A checkpoint in memory, made by a function of the library; it knows the network and data it was made with."""

    workspace: Workspace | None = None

    def module(self) -> nn.Module:
        """A new network with these weights, on the CPU, in eval mode: in float64 where they are, else in float32."""
        assert self.workspace is not None
        dtype = torch.float64 if "float64" in float_types(self.tensors) else torch.float32
        network = self.workspace.build().to(dtype)
        load_state(network, self.tensors, versions_of(network))
        return network.eval()


def open_models(
    models: Sequence[ModelLike],
    where: Where,
    *,
    data: bool = True,
    measures: bool = False,
    distinct: int = 0,
    uses_data: bool = True,
    dtype: str | torch.dtype | None = None,
) -> tuple[Workspace, list[Checkpoint], Progress]:
    """The workspace that `models` share, the models as checkpoints of its network, and who watches.

    distinct: of so many, the first, refuse the same weights twice. data, measures: as of `workspace_of`. uses_data:
        whether notes on the data matter; to rename units takes nothing from them but the shape of an input. dtype: of
        the weights that will be made.
    """
    if not models:
        raise StarcliError("no model is given")
    checkpoints = labelled([as_checkpoint(model, number) for number, model in enumerate(models)])
    refuse_duplicates(checkpoints[:distinct])
    modules = [model for model in models if isinstance(model, nn.Module)]
    choices, given = _understood(where, modules[0] if modules and where.get("arch") is None else None)
    made = next((each.workspace for each in checkpoints if isinstance(each, MadeModel) and each.workspace), None)
    if made is not None:
        choices, given = _as_made(choices, given, made)
    if dtype is not None:
        choices = replace(choices, dtype=_dtype("dtype", dtype, FLOATS))
    workspace, found = workspace_of(checkpoints, choices, data=data, measures=measures, given=given)
    for model, fitted in zip(models, found, strict=True):
        if (own := _own_network(model, workspace.builder)) is not None:
            refuse_other_network(own, workspace.build(), workspace.example(), fitted)
    return workspace, found, _watcher(where, workspace, uses_data)


def _own_network(model: ModelLike, builder: NetworkBuilder | None) -> nn.Module | None:
    """The network in memory that a model has of its own, unless it is the one of which `builder` makes copies."""
    if isinstance(model, nn.Module):
        own = uncompiled(model)
        return None if isinstance(builder, NetworkCopies) and builder.network is own else own
    made = model.workspace if isinstance(model, MadeModel) else None
    return None if made is None or made.builder == builder else model.module()  # type: ignore[union-attr]


def _as_made(choices: Choices, given: Given, made: Workspace) -> tuple[Choices, Given]:
    """What is not said of network and data is as it was for a model that the library made."""
    if choices.arch is None and given.builder is None:
        if made.builder is not None and choices.arch_args:
            raise StarcliError("arch_args goes with a network by name, and has no effect on a network in memory")
        choices = replace(choices, arch=made.choices.arch, arch_args={**made.choices.arch_args, **choices.arch_args})
        given = replace(given, builder=made.builder)
    if given.dataset is None and not choices.names_data:
        given = replace(given, dataset=made.opened)
        if made.opened is None and choices.input is None:
            choices = replace(choices, input=made.choices.input, input_dtype=made.choices.input_dtype)
    return choices, given


def open_network(network: NetworkLike, data: DataLike, where: Surroundings) -> tuple[Workspace, Progress]:
    """The workspace of a network that is to be trained on `data`, and who watches."""
    if network is None or data is None:
        raise StarcliError(f"train needs {'a network' if network is None else 'data'}, found None")
    choices, given = _understood(cast(Where, {**where, "arch": network, "data": data}), None, frozen=True)
    workspace = new_workspace(choices, given)
    return workspace, _watcher(where, workspace)


def _watcher(where: Surroundings, workspace: Workspace, uses_data: bool = True) -> Progress:
    watcher = where.get("progress") or Warnings()
    for note in workspace.model_notes:
        watcher.note(note)
    if not uses_data:
        return watcher
    for note in (*workspace.notes, *(workspace.opened.notes if workspace.opened else ())):
        watcher.note(note)
    return watcher


def listed(models: Iterable[ModelLike], what: str) -> list[ModelLike]:
    """The models of a list or other iterable, called `what`; StarcliError for a single model in its place."""
    if isinstance(models, ModelForms) or not isinstance(models, Iterable):
        raise StarcliError(f"{what}: expected a list of models, found a {type(models).__name__}")
    return list(models)


def bends_in(curve: ModelLike | Sequence[ModelLike] | None) -> list[ModelLike]:
    """The bends of a curve, of which one may stand alone; none where no curve is given."""
    return [] if curve is None else [curve] if isinstance(curve, ModelForms) else listed(curve, "curve")


def as_checkpoint(model: ModelLike, number: int = 0) -> Checkpoint:
    """A model in any form as a checkpoint; `number` names one that has no name.

    Tensors of modules and state dicts are copied: their owner may train on, and results still be asked for more.
    """
    if isinstance(model, Checkpoint):
        return model
    if isinstance(model, str | os.PathLike):
        return checkpoint.read(Path(model))
    name = f"model {number}"
    if isinstance(model, nn.Module):
        model = uncompiled(model)
        name = f"{type(model).__name__} {number}"
        return Checkpoint(tensors_of(model, name), Metadata(), name, versions=versions_of(model))
    if not isinstance(model, Mapping):
        raise StarcliError(f"{name}: a {type(model).__name__} is no file, checkpoint, module or state dict")
    others = [f"{key}: a {type(value).__name__}" for key, value in model.items() if not isinstance(value, Tensor)]
    if others:
        raise StarcliError(f"{name}: a state dict holds tensors alone, this dictionary more", first_of(others, 10))
    tensors = copies_of({str(key): value for key, value in model.items()}, name)
    return Checkpoint(tensors, Metadata(), name, versions=getattr(model, "_metadata", None))


def _understood(where: Where, module: nn.Module | None, *, frozen: bool = False) -> tuple[Choices, Given]:
    """The keywords as choices, and what is given in memory; those of no effect are errors.

    frozen: as of `NetworkCopies`.
    """
    arch, data = where.get("arch"), where.get("data")
    data = os.fspath(data) if isinstance(data, os.PathLike) else data
    arch = module if arch is None else arch
    named = {field.name for field in fields(Choices)} & where.keys() - {"arch", "data", "input"}
    values: dict[str, Any] = {name: where[name] for name in named}  # type: ignore[literal-required]
    for name in ("data_dir", "spec", "tokenizer"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    values["device"] = str(values.get("device") or "auto")
    if values.get("input_dtype") is not None:
        values["input_dtype"] = _dtype("input_dtype", values["input_dtype"], ("float32", "int64"))
    if not isinstance(values.setdefault("arch_args", {}), Mapping):
        raise StarcliError(f"arch_args: a {type(values['arch_args']).__name__}, expected a dictionary")
    if isinstance(arch, str):
        check_architecture_name(arch)
    in_memory = [data is not None and not isinstance(data, str), arch is not None and not isinstance(arch, str)]
    for held, what, names in zip(in_memory, ("data", "a network"), (_OF_NAMED_DATA, ("arch_args",)), strict=True):
        if said := [name for name in names if held and where.get(name)]:
            raise StarcliError(f"{said[0]} goes with {what} by name, and has no effect on {what} in memory")
    choices = Choices(
        arch=arch if isinstance(arch, str) else None,
        data=data if isinstance(data, str) else None,
        input=_input(where.get("input_shape")),
        **values,
    )
    dataset = None
    if in_memory[0]:
        dataset = data if isinstance(data, Dataset) else dataset_in_memory(cast(Examples, data), values.get("task"))
        dataset = dataset if choices.normalise is None else dataset.normalised_by(choices.normalise)
    builder = network_copies(arch, frozen=frozen) if in_memory[1] else None
    return choices, Given(dataset, builder, own_process=False)


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


def _dtype(keyword: str, dtype: Any, known: Sequence[str]) -> str:
    """A type, also torch's own, as a word, one of `known`."""
    word = str(dtype).removeprefix("torch.")
    if word not in known:
        raise StarcliError(f"{keyword}={dtype!s:.80}: expected {', '.join(known[:-1])} or {known[-1]}")
    return word
