"""What callers of the library give: models, networks and data in any common form."""

import copy
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn

from starcli.checkpoints.checkpoint import Checkpoint, Metadata, refuse_duplicates
from starcli.checkpoints.convert import read_any
from starcli.data.dataset import Dataset
from starcli.data.in_memory import Examples, dataset_in_memory
from starcli.errors import StarcliError, suggestion
from starcli.models.initialise import initialised
from starcli.runtime.progress import Progress
from starcli.workspace.choices import Choices
from starcli.workspace.workspace import Given, NetworkBuilder, Workspace, new_workspace, workspace_of

ModelLike = str | os.PathLike[str] | Checkpoint | nn.Module | Mapping[str, Tensor]
"""A model: a file, a checkpoint (also what this library returned), a module, or a state dict."""

NetworkLike = str | nn.Module | Callable[[], nn.Module]
"""A network: a name as `--arch` takes it, a module (its weights do not count), or a function that builds one."""

DataLike = str | Dataset | Examples | Mapping[str, Examples]
"""Data: a name as `--data` takes it, or examples in memory (see `starcli.data.in_memory`)."""


class Surroundings(TypedDict, total=False):
    """Keywords of all functions of the library besides network and data.

    arch_args: arguments of a network by name. data_dir, download, limit, val_fraction, split_seed: of data by name, as
        the options of these names.
    input_shape, input_dtype: of one input, without the batch, for a network without data.
    spec: a file with the permutation spec. unproved: take a spec at its word.
    device: auto, cpu, cuda or mps. precision: fp32 or bf16. threads: CPU threads of the process (default: as set).
    progress: who watches; by default notes become warnings.
    """

    arch_args: Mapping[str, Any]
    data_dir: str | Path | None
    download: bool
    limit: int | None
    val_fraction: float | None
    split_seed: int | None
    input_shape: Sequence[int] | None
    input_dtype: str | None
    spec: str | Path | None
    unproved: bool
    device: str
    precision: str
    threads: int | None
    progress: Progress


class Where(Surroundings, total=False):
    """The same, with the network and the data; left out, the models say them, as in the shell.

    arch: needed for state dicts and foreign files; a module in the place of a model is its own network.
    """

    arch: NetworkLike | None
    data: DataLike | None


KEYWORDS = (*Surroundings.__annotations__, "arch", "data")
"""Names of the keywords of `Where`."""


class StarcliWarning(UserWarning):
    """What the command line would print as a note."""


class Warnings(Progress):
    """The watcher of library calls: notes become warnings."""

    def note(self, text: str) -> None:
        """Warn."""
        warnings.warn(text, StarcliWarning, stacklevel=2)


@dataclass(frozen=True)
class MadeModel(Checkpoint):
    """A checkpoint in memory, made by a function of the library; it knows the network and data it was made with."""

    workspace: Workspace | None = None

    def module(self) -> nn.Module:
        """A new network with these weights, on the CPU, in eval mode."""
        assert self.workspace is not None
        flat = replace(self.workspace, device=torch.device("cpu")).network()
        flat.load(self.tensors)
        return flat.network.eval()


def open_models(
    models: Sequence[ModelLike],
    where: Where,
    *,
    data: bool = True,
    measures: bool = False,
    distinct: bool = False,
) -> tuple[Workspace, list[Checkpoint], Progress]:
    """The workspace that `models` share, the models as checkpoints, and who watches.

    distinct: refuse the same weights twice. data, measures: as of `workspace_of`.
    """
    checkpoints = [as_checkpoint(model, number) for number, model in enumerate(models)]
    if distinct:
        refuse_duplicates(checkpoints)
    modules = [model for model in models if isinstance(model, nn.Module)]
    choices, given = _understood(where, modules[0] if modules and where.get("arch") is None else None)
    made = next((each.workspace for each in checkpoints if isinstance(each, MadeModel) and each.workspace), None)
    if made is not None:
        choices, given = _as_made(choices, given, made)
    workspace = workspace_of(checkpoints, choices, data=data, measures=measures, given=given)
    return workspace, checkpoints, _watcher(where, workspace)


def _as_made(choices: Choices, given: Given, made: Workspace) -> tuple[Choices, Given]:
    """What is not said of network and data is as it was for a model that the library made."""
    if choices.arch is None and given.builder is None:
        choices = replace(choices, arch=made.choices.arch, arch_args={**made.choices.arch_args, **choices.arch_args})
        given = replace(given, builder=made.builder)
    if given.dataset is None and not choices.names_data:
        given = replace(given, dataset=made.opened)
    return choices, given


def open_network(network: NetworkLike, data: DataLike, where: Surroundings) -> tuple[Workspace, Progress]:
    """The workspace of a network that is to be trained on `data`, and who watches."""
    choices, given = _understood(cast(Where, {**where, "arch": network, "data": data}), None)
    workspace = new_workspace(choices, given)
    return workspace, _watcher(where, workspace)


def _watcher(where: Surroundings, workspace: Workspace) -> Progress:
    watcher = where.get("progress") or Warnings()
    for note in (*workspace.notes, *(workspace.opened.notes if workspace.opened else ())):
        watcher.note(note)
    return watcher


def as_checkpoint(model: ModelLike, number: int = 0) -> Checkpoint:
    """A model in any form as a checkpoint; `number` names one that has no name."""
    if isinstance(model, Checkpoint):
        return model
    if isinstance(model, str | os.PathLike):
        return read_any(Path(model))
    if isinstance(model, nn.Module):
        tensors = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
        return Checkpoint(tensors, Metadata(), f"{type(model).__name__} {number}")
    if isinstance(model, Mapping) and all(isinstance(tensor, Tensor) for tensor in model.values()):
        return Checkpoint(
            {str(name): tensor.detach().cpu() for name, tensor in model.items()}, Metadata(), f"model {number}"
        )
    raise StarcliError(f"model {number}: a {type(model).__name__} is no file, checkpoint, module or state dict")


def _understood(where: Where, module: nn.Module | None) -> tuple[Choices, Given]:
    """The keywords as choices, and what is given in memory; unknown keywords are errors."""
    if unknown := [name for name in where if name not in KEYWORDS]:
        raise StarcliError(f"unknown keyword {unknown[0]!r}{suggestion(unknown[0], KEYWORDS)}")
    arch, data = where.get("arch"), where.get("data")
    arch = module if arch is None else arch
    shape = where.get("input_shape")
    named = {field.name for field in fields(Choices)} & where.keys() - {"arch", "data", "input"}
    values: dict[str, Any] = {name: where[name] for name in named}  # type: ignore[literal-required]
    for name in ("data_dir", "spec"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    choices = Choices(
        arch=arch if isinstance(arch, str) else None,
        data=data if isinstance(data, str) else None,
        input=None if shape is None else ",".join(map(str, (1, *shape))),
        **values,
    )
    dataset = None
    if isinstance(data, Dataset):
        dataset = data
    elif data is not None and not isinstance(data, str):
        dataset = dataset_in_memory(data)
    builder = None if arch is None or isinstance(arch, str) else network_builder(arch)
    return choices, Given(dataset, builder, own_process=False)


def network_builder(network: nn.Module | Callable[[], nn.Module]) -> NetworkBuilder:
    """A function that makes copies of a module, or calls a function for new ones, with weights from a generator."""

    def build(generator: torch.Generator | None) -> nn.Module:
        if not isinstance(network, nn.Module):
            return initialised(network, generator or torch.Generator().manual_seed(0)).float().cpu()
        copied = copy.deepcopy(network).float().cpu().train()
        return copied if generator is None else initialised(lambda: _drawn_anew(copied), generator)

    return build


def _drawn_anew(network: nn.Module) -> nn.Module:
    """`network` with the weights of each module drawn as its `reset_parameters` does."""
    for name, module in network.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            raise StarcliError(
                f"{name or type(module).__name__}: has parameters, and no reset_parameters to draw them by",
                ["give arch as a function that builds the network"],
            )
    return network
