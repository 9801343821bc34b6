"""Workspace of a command: an architecture, its data and spec, a device, agreed upon by all checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Architecture, DataRecord, SpecRecord
from starcli.checkpoints.several import notes_of
from starcli.data.dataset import Dataset
from starcli.data.names import IN_MEMORY, needs_path
from starcli.errors import StarcliError
from starcli.huggingface.directory import Directory
from starcli.models.build import build_network, build_outline, runnable
from starcli.models.external import is_of_library
from starcli.models.flat_network import FlatNetwork
from starcli.models.inputs import example_input
from starcli.models.names import is_external
from starcli.models.own_inputs import admits_channels_last, give_own_inputs_
from starcli.registry.tasks import CLASSES
from starcli.runtime.arithmetic import set_arithmetic
from starcli.runtime.device import choose_device
from starcli.runtime.memory import keep_freed_memory
from starcli.runtime.progress import Progress
from starcli.runtime.threads import choose_threads
from starcli.symmetry.find import Proved, find_spec, spec_without_name
from starcli.symmetry.find_kinds import find_kinds
from starcli.symmetry.fingerprint import network_fingerprint
from starcli.symmetry.kinds.kinds import Kinds
from starcli.workspace.agreement import first_that_says, fitted, note_of_types, refuse_differences, replaced
from starcli.workspace.architecture import agreed_architecture, chosen_architecture, refuse_other_inputs, require_flags
from starcli.workspace.choices import Choices
from starcli.workspace.data import (
    open_agreed,
    open_named,
    record_of,
    refuse_leaks,
    refuse_unknown_tokens,
)
from starcli.workspace.data_notes import misfits_explained, statistics_note
from starcli.workspace.directories import (
    directory_among,
    in_terms_of_network,
    notes_without_tokenizer,
    refuse_other_directories,
    settled_by,
)
from starcli.workspace.directory_notes import notes_of_directory
from starcli.workspace.first_run import run_once
from starcli.workspace.given import NOTHING_GIVEN, Given, NetworkBuilder
from starcli.workspace.opening import opened_data
from starcli.workspace.training_notes import training_notes


@dataclass(frozen=True)
class Workspace:
    """Architecture, data and device of one command; networks are built and the spec is found when asked for.

    data: what checkpoints keep of the data, where there are any. opened: the data, where the command is known to need
        them; else they are opened when they are asked for.
    """

    architecture: Architecture
    data: DataRecord | None
    device: torch.device
    choices: Choices
    record: SpecRecord | None = None
    opened: Dataset | None = None
    notes: tuple[str, ...] = ()
    """What a command should say of the data that it measures on."""
    builder: NetworkBuilder | None = None
    """Makes the network where it has no name; None: `architecture` names it."""
    model_notes: tuple[str, ...] = ()
    """What a command should say of the models' weights: how it found them in files of others, and of their types."""
    statistics_notes: tuple[str, ...] = ()
    """What a command should say of BatchNorm statistics that it estimates anew."""
    directory: Directory | None = None
    """The first directory of Hugging Face that a model is read from."""

    @cached_property
    def dataset(self) -> Dataset:
        """The data. StarcliError where nothing says which."""
        return self.opened or open_agreed(self.choices, self.data, "the model")[0]

    def on(self, dataset: Dataset) -> "Workspace":
        """The same network on other data."""
        return replace(self, opened=dataset, data=record_of(dataset))

    @property
    def names_data(self) -> bool:
        """Whether something says which data `dataset` is."""
        recorded = self.data is not None and not needs_path(self.data.name)
        return self.opened is not None or self.choices.data is not None or recorded

    @property
    def task_name(self) -> str:
        """Name of the network's task, one of `starcli.registry.tasks.TASKS`; without data as its directory says it."""
        if self.data is not None:
            return self.data.task_name
        return (self.directory and self.directory.task) or CLASSES

    def network(self, seed: int | None = None, *, dtype: torch.dtype = torch.float32) -> FlatNetwork:
        """A fresh network on the device, its weights drawn from `seed` (None: they will be loaded).

        One of another type than float32 is for arithmetic, and stays on the CPU: not every device has the type. The
        entries of its vector have the same order.
        """
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        if dtype != torch.float32:
            return FlatNetwork(self.build(generator), dtype=dtype, memory_format=self._layout)
        flat = FlatNetwork(self.build(generator), memory_format=self._layout).to(self.device)
        if self.is_users_own:
            give_own_inputs_(flat.network, self._layout)
        return flat

    @property
    def is_users_own(self) -> bool:
        """Whether the network is code of the user's own: of nobody else it is unknown what it does to its input."""
        name = self.architecture.name
        return self.builder is not None or (is_external(name) and not is_of_library(name))

    @property
    def _layout(self) -> torch.memory_format:
        """Channels innermost where device and network take that: a fifth faster for convolutions (measured on CPUs)."""
        return torch.channels_last if self._takes_channels_last else torch.contiguous_format

    @cached_property  # no layout is kept: `torch.save` cannot pickle one
    def _takes_channels_last(self) -> bool:
        example = self.example()
        plain = self.is_users_own and example.dim() == 4 and not admits_channels_last(self.build(), example)
        return not plain and self.device.type != "mps"

    def build(self, generator: torch.Generator | None = None) -> torch.nn.Module:
        """A fresh network as its builder makes it, on the CPU; see `network`."""
        if self.builder is not None:
            return self.builder(generator)
        return build_network(
            self.choices.arch or self.architecture.name,  # a file's path, which is not recorded
            generator=generator,
            trusted=self.choices.arch is not None,
            **self.architecture.arguments,
        )

    def outline(self) -> torch.nn.Module:
        """The network for its names and shapes alone: on the meta device where the architecture is ours."""
        if self.builder is not None or is_external(self.architecture.name):
            return self.build()
        return build_outline(self.architecture.name, **self.architecture.arguments)

    @cached_property
    def fingerprint(self) -> str | None:
        """Hash that tells a network from outside the registry: empty where its name does, None where nothing does."""
        if self.builder is not None:
            return None
        return network_fingerprint(self.architecture.name, self.build(), (self.example(),))

    @property
    def precision(self) -> str:
        """Type that networks compute in."""
        return self.choices.precision

    @property
    def average_buffers(self) -> bool | None:
        """Whether buffers in which models differ may be averaged; None: no, and nobody can choose it."""
        return self.choices.average_buffers

    @property
    def is_known(self) -> bool:
        """Whether it is known for sure which network and data these are, so that results may be kept."""
        return IN_MEMORY not in (self.dataset.name, self.dataset.test_name) and self.fingerprint is not None

    @cached_property
    def spec(self) -> Proved:
        """The permutation spec, proved unless the user waived it; that of a network without a name is never cached."""
        how: dict[str, Any] = {"file": self.choices.spec, "accept_unproved": self.choices.unproved}
        if self.builder is not None:
            return spec_without_name(self.build(), (self.example(),), **how)
        return find_spec(self.architecture, self.build(), (self.example(),), record=self.record, **how)

    @cached_property
    def kinds(self) -> Kinds:
        """The kinds of symmetry that act on the units of each group of the spec, proved; its notes are for the user."""
        named = None if self.builder is not None else self.architecture
        return find_kinds(self.spec, named, self.build(), (self.example(),), file=self.choices.spec)

    def tell_notes(self, progress: Progress, *, of_data: bool = True) -> None:
        """Tell `model_notes` and, where data are used (`of_data`), all that should be said of these."""
        data = (*self.notes, *(self.opened.notes if self.opened else ()))
        for note in (*self.model_notes, *(data if of_data else ())):
            progress.note(note)

    def example(self) -> Tensor:
        """Two inputs as the network takes them."""
        return example_input(self.architecture.input_shape, self.architecture.input_dtype)


def new_workspace(choices: Choices, given: Given = NOTHING_GIVEN) -> Workspace:
    """The workspace of a network that does not exist yet: the choices, or what is `given`, say all of it."""
    directory = directory_among(choices)
    choices = settled_by(directory, choices, recorded=False)
    if choices.arch is None and given.builder is None:
        raise StarcliError("--arch is needed: which network to train", ["for example --arch resnet --data digits"])
    dataset = given.dataset or open_named(choices, None)
    record = record_of(dataset)
    with misfits_explained(dataset):
        architecture = given.architecture(record, choices) or chosen_architecture(str(choices.arch), choices, record)
    device = choose_device(choices.device)
    workspace = Workspace(
        architecture,
        record,
        device,
        choices,
        opened=dataset,
        notes=training_notes(dataset),
        builder=given.builder,
        directory=directory,
    )
    network = runnable(workspace.outline())
    # a network of the registry has run already, and was made for these data
    notes = run_once(network, workspace) if given.builder or is_external(architecture.name) else []
    return replace(workspace, notes=(*workspace.notes, *notes, *_tune(network, workspace, given)))


def workspace_of(
    checkpoints: Sequence[Checkpoint],
    choices: Choices,
    *,
    data: bool = True,
    given: Given = NOTHING_GIVEN,
    reinit: Sequence[str] = (),
) -> tuple[Workspace, list[Checkpoint]]:
    """The workspace that all `checkpoints` share, and these with the tensors that its network makes of theirs.

    Where they differ, or miss something, all of it is reported.

    Without `data`, for what only renames or averages weights, none are opened that the command line does not name, and
    there need not be any. What is `given` in memory has no name and takes the place of what names say. reinit: patterns
    of names of tensors that a new network has in the place of the checkpoints'.
    """
    directory = directory_among(choices, checkpoints)
    recorded = any(each.metadata.data is not None for each in checkpoints)
    refuse_other_directories(choices, checkpoints)
    of_tokens = notes_without_tokenizer(choices, checkpoints)
    choices = settled_by(directory, choices, recorded=recorded)
    checkpoints = [in_terms_of_network(each, choices) for each in checkpoints]
    refuse_differences(checkpoints, choices)
    first, trained = first_that_says(checkpoints, "architecture"), first_that_says(checkpoints, "data")
    record = trained.metadata.data
    if given.builder is None:
        require_flags(first.metadata.architecture, record, choices, data=data and given.dataset is None)
    opened, notes = opened_data(choices, given, record, trained.name, needed=data)
    if opened is not None:
        refuse_unknown_tokens(opened, first.metadata.architecture)
        for each in checkpoints:
            refuse_leaks(opened, each.metadata.data, each.name)
        record, notes = record_of(opened), (*notes, *of_tokens)
    with misfits_explained(opened):
        architecture = given.architecture(record, choices) or agreed_architecture(first, choices, record, data=data)
    refuse_other_inputs(architecture, record, choices)
    if not recorded:
        notes = (*notes, *notes_of_directory(directory, opened))
    workspace = Workspace(
        architecture,
        record,
        choose_device(choices.device),
        choices,
        record=first_that_says(checkpoints, "spec").metadata.spec,
        opened=opened,
        notes=notes,
        builder=given.builder,
        directory=directory,
    )
    outline = workspace.outline()
    if reinit:
        network = runnable(workspace.outline())
        checkpoints = [replaced(each, network, reinit) for each in checkpoints]
    models = fitted(checkpoints, outline, lambda: runnable(workspace.outline()), architecture.name)
    network = runnable(outline)  # takes memory only once the files are seen to hold as many weights
    of_statistics = statistics_note(network, record, trained.metadata.data)
    notes = (*notes, *run_once(network, workspace), *_tune(network, workspace, given))
    said = [*notes_of(models), *note_of_types(models, writes=not data, dtype=choices.dtype)]
    return replace(workspace, notes=notes, model_notes=tuple(said), statistics_notes=of_statistics), models


def _tune(network: torch.nn.Module, workspace: Workspace, given: Given) -> list[str]:
    """Set the device's arithmetic and take the threads that suit the network; return what is to be said of it.

    Freed memory is kept unless the process is somebody else's.
    """
    choices, device = workspace.choices, workspace.device
    notes = set_arithmetic(device, workspace.precision, fast=choices.fast)
    if device.type != "cuda" or choices.threads is not None:  # beside a GPU threads align, however small the network is
        choose_threads(network, workspace.example(), choices.threads)
    if given.own_process:
        keep_freed_memory()
    return notes
