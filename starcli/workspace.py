"""What every command works with: an architecture, its data and spec, a device, agreed upon by all checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from starcli import models
from starcli.checkpoint import Architecture, Checkpoint, DataRecord, Metadata, SpecRecord
from starcli.data import Dataset, needs_path, open_data
from starcli.errors import StarcliError
from starcli.memory import keep_freed_memory
from starcli.models.flat import FlatNetwork
from starcli.specs import Proved, find
from starcli.threads import choose_threads

PRECISIONS = {"fp32": "32-bit floats throughout", "bf16": "bfloat16 autocast for the heavy operators"}
DEVICES = {"auto": "cuda or mps where there is one, else cpu", "cpu": "", "cuda": "", "mps": ""}


@dataclass(frozen=True)
class Choices:
    """What the command line says; None leaves it to the checkpoints' metadata."""

    arch: str | None = None
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    spec: Path | None = None
    unproved: bool = False
    data: str | None = None
    data_dir: Path | None = None
    download: bool = False
    limit: int | None = None
    val_fraction: float | None = None
    split_seed: int | None = None
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `mps` stands for here; one that is not there is an error."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if not available.get(name, False):
        raise StarcliError(f"--device {name}: there is none here; use auto or cpu")
    return torch.device(name)


@dataclass(frozen=True)
class Workspace:
    """Architecture, data and device of one command; networks are built and the spec is found when asked for."""

    architecture: Architecture
    dataset: Dataset
    device: torch.device
    precision: str
    choices: Choices
    record: SpecRecord | None = None

    def network(self, seed: int | None = None) -> FlatNetwork:
        """A fresh network on the device, its weights drawn from `seed` (None: they will be loaded)."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        # convolutions are a fifth faster with the channels innermost (measured on CPUs); mps knows no such layout
        layout = torch.contiguous_format if self.device.type == "mps" else torch.channels_last
        return FlatNetwork(self._build(generator), memory_format=layout).to(self.device)

    def _build(self, generator: torch.Generator | None = None) -> torch.nn.Module:
        return models.build(
            self.architecture.name,
            generator=generator,
            trusted=self.choices.arch is not None,
            **self.architecture.arguments,
        )

    def outline(self) -> torch.nn.Module:
        """The network for its names and shapes alone: on the meta device where the architecture is ours."""
        if models.is_external(self.architecture.name):
            return self._build()
        return models.outline(self.architecture.name, **self.architecture.arguments)

    @cached_property
    def spec(self) -> Proved:
        """The permutation spec, proved unless the user waived it."""
        return find(
            self.architecture,
            self._build(),
            (torch.randn(2, *self.architecture.input_shape, generator=torch.Generator().manual_seed(0)),),
            file=self.choices.spec,
            record=self.record,
            accept_unproved=self.choices.unproved,
        )

    def data_record(self) -> DataRecord:
        """What a checkpoint keeps of the data."""
        return record_of(self.dataset)


def record_of(dataset: Dataset) -> DataRecord:
    """What a checkpoint keeps of a data set: everything that identifies it, no path."""
    return DataRecord(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        num_classes=dataset.num_classes,
        input_shape=list(dataset.input_shape),
        mean=list(dataset.mean),
        std=list(dataset.std),
        val_fraction=dataset.val_fraction,
        split_seed=dataset.split_seed,
        limit=dataset.limit,
    )


def new_workspace(choices: Choices) -> Workspace:
    """The workspace of a network that does not exist yet: architecture and data come from the command line alone."""
    if choices.arch is None:
        raise StarcliError("--arch is needed: which network to train", ["for example --arch resnet --data digits"])
    dataset = _open(choices, None)
    architecture = _chosen(choices.arch, choices, dataset)
    workspace = Workspace(architecture, dataset, choose_device(choices.device), choices.precision, choices)
    choose_threads(models.runnable(workspace.outline()), dataset.input_shape, choices.threads)
    keep_freed_memory()
    return workspace


def workspace_of(checkpoints: Sequence[Checkpoint], choices: Choices) -> Workspace:
    """The workspace that all `checkpoints` share; where they differ, or miss something, all of it is reported."""
    first = checkpoints[0]
    _refuse_differences(checkpoints)
    _require_flags(first.metadata, choices)
    record = first.metadata.data
    dataset = _open(choices, record)
    recorded = first.metadata.architecture
    if choices.arch is not None:
        # the same name again, as networks outside the registry need it, keeps the arguments that are recorded
        kept = recorded.arguments if recorded is not None and recorded.name == choices.arch else {}
        architecture = _chosen(choices.arch, choices, dataset, kept)
    elif recorded is not None:
        architecture = recorded
    else:
        raise StarcliError(f"{first.name}: does not say what network it is; give --arch and --data")
    workspace = Workspace(
        architecture, dataset, choose_device(choices.device), choices.precision, choices, first.metadata.spec
    )
    network = _refuse_misfits(workspace, checkpoints)
    choose_threads(network, dataset.input_shape, choices.threads)
    keep_freed_memory()
    return workspace


def _chosen(
    name: str, choices: Choices, dataset: Dataset, recorded: Mapping[str, Any] = MappingProxyType({})
) -> Architecture:
    """The architecture that the command line names, which alone may name one outside the registry.

    Arguments that it does not give are as `recorded`, then as the data and the defaults have them.
    """
    shape = dataset.input_shape
    given = {**recorded, **choices.arch_args}
    arguments = models.complete(name, given, input_shape=shape, num_classes=dataset.num_classes, trusted=True)
    return Architecture(name=name, arguments=arguments, input_shape=list(shape))


def _require_flags(metadata: Metadata, choices: Choices) -> None:
    """Say at once all that a checkpoint must not or cannot tell: code to import, and where data lie."""
    record, architecture = metadata.data, metadata.architecture
    problems = []
    if choices.data is None and record is not None and needs_path(record.name):
        problems.append(f"--data, for it was trained on {record.name} data, and no file keeps a path")
    if choices.arch is None and architecture is not None and models.is_external(architecture.name):
        problems.append(f"--arch {architecture.name}, for code is imported only where the command line names it")
    if problems:
        raise StarcliError("what the checkpoint does not settle is needed again", problems)


def _open(choices: Choices, record: DataRecord | None) -> Dataset:
    name = choices.data or (record.name if record else None)
    if name is None:
        raise StarcliError("--data is needed: the checkpoint does not say what it was trained on")

    def chosen(given: Any, recorded: Any) -> Any:
        return recorded if given is None and record is not None else given

    dataset = open_data(
        name,
        data_dir=choices.data_dir,
        download=choices.download,
        limit=chosen(choices.limit, record and record.limit),
        val_fraction=chosen(choices.val_fraction, record and record.val_fraction) or 0.0,
        split_seed=chosen(choices.split_seed, record and record.split_seed) or 0,
        # images of a folder are scaled as they were for the checkpoint
        image_size=record.input_shape[-1] if record is not None and record.name == "folder" else None,
    )
    if record is not None and choices.data is None and dataset.fingerprint != record.fingerprint:
        raise StarcliError(
            f"{name}: not the data that the checkpoint was trained on",
            [f"fingerprint {dataset.fingerprint[:12]} here, {record.fingerprint[:12]} in the checkpoint"],
        )
    return dataset


def _refuse_differences(checkpoints: Sequence[Checkpoint]) -> None:
    """All checkpoints must have the architecture, spec, data and split of the first."""
    first, problems = checkpoints[0], []
    for other in checkpoints[1:]:
        for what in ("architecture", "data", "spec"):
            mine, theirs = _settled(first.metadata, what), _settled(other.metadata, what)
            if mine is None or theirs is None:
                continue
            different = [key for key in mine | theirs if mine.get(key) != theirs.get(key)]
            if "name" in different:
                different = ["name"]  # all else follows from it
            problems += [
                f"{what} {key}: {_short(theirs.get(key))} in {other.name}, {_short(mine.get(key))} in {first.name}"
                for key in different
            ]
            if different:
                break
    if problems:
        raise StarcliError("the checkpoints do not belong together", problems)


def _settled(metadata: Metadata, what: str) -> dict[str, Any] | None:
    """What a checkpoint says of its architecture, data or spec, arguments beside the rest; of a spec the hash."""
    record = getattr(metadata, what)
    if record is None:
        return None
    fields: dict[str, Any] = record.model_dump(mode="json", include={"sha256"} if what == "spec" else None)
    arguments = fields.pop("arguments", {})
    return {**fields, **arguments}


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    if isinstance(value, str) and len(value) == 64:
        return value[:12]  # a hash
    return text if len(text) <= 80 else text[:77] + "..."


MISFITS = 12
"""As many lines tell what is wrong; where all names differ, a hundred say no more."""


def _refuse_misfits(workspace: Workspace, checkpoints: Sequence[Checkpoint]) -> torch.nn.Module:
    """Each checkpoint must have exactly the network's tensors, all finite, and as many classes as the data.

    Returns a network that can be run; it takes memory only once the files are seen to hold as many weights.
    """
    network = workspace.outline()
    expected = network.state_dict()
    problems = []
    for checkpoint in checkpoints:
        problems += [f"{line} in {checkpoint.name}" for line in misfits(checkpoint.opened(), expected)]
    if problems:
        more = [f"and {len(problems) - MISFITS} more"] if len(problems) > MISFITS else []
        summary = f"the weights do not fit the network {workspace.architecture.name}"
        raise StarcliError(summary, [*problems[:MISFITS], *more])
    network = models.runnable(network)
    with torch.no_grad():
        outputs = network.eval()(torch.zeros(2, *workspace.architecture.input_shape))
    if tuple(outputs.shape) != (2, workspace.dataset.num_classes):
        raise StarcliError(
            f"the network has outputs of shape {tuple(outputs.shape[1:])}, the data {workspace.dataset.name} "
            f"has {workspace.dataset.num_classes} classes"
        )
    return network


def misfits(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """What keeps `tensors` from being a state of a network whose state is `expected`, one line each."""
    problems = [f"{name}: missing" for name in expected if name not in tensors]
    problems += [f"{name}: not in the network" for name in tensors if name not in expected]
    for name in expected.keys() & tensors.keys():
        found, wanted = tensors[name], expected[name]
        if found.shape != wanted.shape:
            problems.append(f"{name}: shape {tuple(found.shape)}, the network has {tuple(wanted.shape)}")
        elif found.is_floating_point() != wanted.is_floating_point():
            problems.append(f"{name}: {found.dtype}, the network has {wanted.dtype}")
        elif found.is_floating_point() and not bool(torch.isfinite(found).all()):
            problems.append(f"{name}: has values that are not finite")
    return sorted(problems)
