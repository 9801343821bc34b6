"""Models that callers of the library give, in any common form: as checkpoints of the workspace that they share."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from starcli.checkpoints import checkpoint
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.checkpoints.several import labelled, refuse_duplicates
from starcli.data.dataset import Dataset
from starcli.errors import StarcliError, first_of, type_in_words
from starcli.library.made_models import MadeModel
from starcli.library.networks import NetworkCopies, copies_of, refuse_other_network, tensors_of
from starcli.library.notes import Watcher
from starcli.library.where import (
    DataLike,
    NetworkLike,
    Surroundings,
    Where,
    data_by_name_or_held,
    type_word,
    understood,
)
from starcli.models.copies import uncompiled
from starcli.models.state_dicts import versions_of
from starcli.runtime.progress import Progress
from starcli.training.beginning import Beginning
from starcli.workspace.agreement import data_differ
from starcli.workspace.choices import FLOATS, Choices
from starcli.workspace.given import Given, NetworkBuilder
from starcli.workspace.source_data import workspace_of_sources
from starcli.workspace.trained_on import workspace_trained_on
from starcli.workspace.workspace import Workspace, new_workspace, workspace_of

ModelLike = str | os.PathLike[str] | Checkpoint | nn.Module | Mapping[str, Tensor]
"""A model: a file, a checkpoint (also what this library returned), a module, or a state dict."""

Numbers = Sequence[float] | Tensor | NDArray[Any]
"""Numbers in a row, one for each model or class."""

ModelForms = (str, os.PathLike, Checkpoint, nn.Module, Mapping)
"""The classes of `ModelLike`."""


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

    distinct: of so many, the first, refuse the same weights twice. data: as of `workspace_of`. measures: as of
        `Choices`. uses_data: whether notes on the data matter; to rename units takes nothing from them but the shape of
        an input. dtype: of the weights that will be made.
    """
    checkpoints, choices, given = _understood_with(models, where, distinct)
    made = next(_made_in(checkpoints), None)
    if made is not None:
        choices, given = _as_made(choices, given, made)
    if dtype is not None:
        choices = replace(choices, dtype=type_word("dtype", dtype, FLOATS))
    choices = replace(choices, measures=measures)
    workspace, found = workspace_of(checkpoints, choices, data=data, given=given)
    _refuse_other_networks(models, workspace, found)
    return workspace, found, _watcher(where, workspace, uses_data)


def open_sources(
    sources: Sequence[ModelLike], others: Sequence[ModelLike], where: Where, source_data: Sequence[DataLike] | None
) -> tuple[Workspace, list[Checkpoint], tuple[Dataset, ...], Progress]:
    """The workspace of sources and others, these, the data that each source has alone, and who watches.

    source_data: as of `workspace_of_sources`, in any form.
    """
    models = [*sources, *others]
    checkpoints, choices, given = _understood_with(models, where, len(sources))
    own, said = checkpoints[: len(sources)], [data_by_name_or_held(each, choices) for each in source_data or ()]
    made = next(_made_in(checkpoints), None)
    if made is not None:
        choices, as_made = _as_made(choices, given, made)
        given = replace(given, builder=as_made.builder) if said or data_differ(own, choices) else as_made
    read_anew = replace(choices, data=None).names_data
    held = [None if read_anew else next((each.opened for each in _made_in([one])), None) for one in own]
    workspace, found, data = workspace_of_sources(
        own, checkpoints[len(sources) :], choices, said, held=held, given=given
    )
    _refuse_other_networks(models, workspace, found)
    return workspace, found, data, _watcher(where, workspace)


def _understood_with(
    models: Sequence[ModelLike], where: Where, distinct: int
) -> tuple[list[Checkpoint], Choices, Given]:
    """Models as checkpoints, and what is said of network and data; see `open_models`."""
    if not models:
        raise StarcliError("no model is given")
    checkpoints = as_checkpoints(models)
    refuse_duplicates(checkpoints[:distinct])
    modules = [model for model in models if isinstance(model, nn.Module)]
    return checkpoints, *understood(where, modules[0] if modules and where.get("arch") is None else None)


def _made_in(models: Iterable[Checkpoint]) -> Iterator[Workspace]:
    """The workspaces of those models that the library made."""
    return (each.workspace for each in models if isinstance(each, MadeModel) and each.workspace)


def _refuse_other_networks(models: Sequence[ModelLike], workspace: Workspace, found: Sequence[Checkpoint]) -> None:
    """Refuse models in memory whose networks compute something else than the workspace's."""
    for model, fitted in zip(models, found, strict=True):
        if (own := _own_network(model, workspace.builder)) is not None:
            refuse_other_network(own, workspace.build(), workspace.example(), fitted)


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


def open_network(
    network: NetworkLike | None,
    data: DataLike | None,
    where: Surroundings,
    *,
    init: ModelLike | None,
    reinit: Sequence[str],
    start_epoch: int,
) -> tuple[Workspace, Beginning | None, Progress]:
    """The workspace of a network that is to be trained on `data`, what it begins at, and who watches.

    init, reinit: as of `workspace_trained_on`; what is None of network and data is then the model's. start_epoch: as of
        `Beginning`.
    """
    named = {name: given for name, given in (("arch", network), ("data", data)) if given is not None}
    if init is None:
        if len(named) < 2:
            raise StarcliError(f"train needs {'a network' if network is None else 'data'}, found None")
        choices, given = understood(cast(Where, {**where, **named}), None, frozen=True)
        workspace = new_workspace(choices, given)
        return workspace, None, _watcher(where, workspace)
    [model] = labelled([as_checkpoint(init)])
    own = init if isinstance(init, nn.Module) and network is None else None
    choices, given = understood(cast(Where, {**where, **named}), own, frozen=True)
    if isinstance(model, MadeModel) and model.workspace is not None:
        choices, given = _as_made(choices, given, model.workspace)
    workspace, model, drawn = workspace_trained_on(model, choices, given, reinit)
    return workspace, Beginning(model, drawn, start_epoch), _watcher(where, workspace)


def _watcher(where: Surroundings, workspace: Workspace, uses_data: bool = True) -> Progress:
    watcher = where.get("progress") or Watcher()
    workspace.tell_notes(watcher, of_data=uses_data)
    return watcher


def listed(models: Iterable[ModelLike], what: str) -> list[ModelLike]:
    """The models of a list or other iterable, called `what`; StarcliError for a single model in its place."""
    if isinstance(models, ModelForms) or not isinstance(models, Iterable):
        raise StarcliError(f"{what}: expected a list of models, found {type_in_words(models)}")
    return list(models)


def as_weights(weights: Numbers | None) -> list[float] | None:
    """Weights as plain numbers. StarcliError for what are none."""
    try:
        return None if weights is None else [float(each) for each in weights]
    except (TypeError, ValueError):
        raise StarcliError(f"weights={weights!r:.80}: expected a number for each model") from None


def bends_in(curve: ModelLike | Sequence[ModelLike] | None) -> list[ModelLike]:
    """The bends of a curve, of which one may stand alone; none where no curve is given."""
    return [] if curve is None else [curve] if isinstance(curve, ModelForms) else listed(curve, "curve")


def as_checkpoints(models: Sequence[ModelLike]) -> list[Checkpoint]:
    """The models as checkpoints, under names that tell them apart."""
    return labelled([as_checkpoint(model, number) for number, model in enumerate(models)])


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
        if isinstance(model, torch.jit.ScriptModule):
            raise StarcliError(f"{name}: a module of TorchScript cannot be traced: expected the one it was made of")
        return Checkpoint(tensors_of(model, name), Metadata(), name, versions=versions_of(model))
    if not isinstance(model, Mapping):
        hints = ["several models are arguments of their own: *models"] * isinstance(model, list | tuple)
        raise StarcliError(f"{name}: {type_in_words(model)} is no file, checkpoint, module or state dict", hints)
    others = [f"{key}: {type_in_words(value)}" for key, value in model.items() if not isinstance(value, Tensor)]
    if others:
        raise StarcliError(f"{name}: a state dict holds tensors alone, this dictionary more", first_of(others, 10))
    tensors = copies_of({str(key): value for key, value in model.items()}, name)
    return Checkpoint(tensors, Metadata(), name, versions=getattr(model, "_metadata", None))
