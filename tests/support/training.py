"""What the tests of training and stars share: a small workspace on the embedded digits, and a watcher that stops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Architecture, Metadata
from starcli.data.dataset import Dataset, open_data
from starcli.models.build import build_network, build_outline, complete_arguments
from starcli.models.flat_network import FlatNetwork
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import Progress
from starcli.star.settings import StarSettings
from starcli.star.star_search import StarSearch
from starcli.symmetry.archspec.resolve import resolve_for
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.shipped import shipped_spec


@dataclass(frozen=True)
class Spec:
    """The part of `specs.Proved` that training looks at."""

    resolved: Resolved
    movable: bool = True


@dataclass(frozen=True)
class Small:
    """A `Workspace` without a command line: an architecture by name on a part of the digits."""

    name: str
    arguments: Mapping[str, Any]
    dataset: Dataset
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    average_buffers: bool = False
    task_name: str = "classes"
    builder: None = None

    @property
    def architecture(self) -> Architecture:
        return Architecture(name=self.name, arguments=dict(self.arguments), input_shape=list(self.dataset.input_shape))

    def network(self, seed: int | None = None) -> FlatNetwork:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return FlatNetwork(build_network(self.name, generator=generator, **self.arguments)).to(self.device)

    def outline(self) -> nn.Module:
        return build_outline(self.name, **self.arguments)

    @cached_property
    def spec(self) -> Spec:
        network = build_network(self.name, **self.arguments)
        found = shipped_spec(self.name, self.arguments)
        assert found is not None
        return Spec(resolve_for(network, *found))


@dataclass(frozen=True)
class Frozen(Small):
    """Networks whose first layer stays as it was drawn."""

    def network(self, seed: int | None = None) -> FlatNetwork:
        network = build_network(self.name, generator=torch.Generator().manual_seed(seed or 0), **self.arguments)
        network.fc1.requires_grad_(False)
        return FlatNetwork(network)


def small(name: str = "mlp", *, limit: int = 200, val_fraction: float = 0.0, **arguments: Any) -> Small:
    """A workspace on `limit` digits."""
    dataset = open_data("digits", limit=limit, val_fraction=val_fraction)
    complete = complete_arguments(name, arguments, input_shape=dataset.input_shape, num_classes=dataset.num_classes)
    return Small(name, complete, dataset)


def search_of(models: Sequence[Mapping[str, Tensor]], recipe: Recipe, settings: StarSettings) -> StarSearch:
    """A search by seed 0 for a star of state dicts, which are called by their numbers."""
    sources = [Checkpoint(tensors, Metadata(), str(number)) for number, tensors in enumerate(models)]
    return StarSearch(recipe=recipe, settings=settings, seed=0, sources=sources)


class Memory:
    """A state file that forgets with the process; `saves` counts."""

    def __init__(self, save_every: float | None = None) -> None:
        self.save_every = save_every
        self.content: bytes | None = None
        self.saves = 0
        self.diverged = False

    def save(self, state: Mapping[str, Any]) -> None:
        import io

        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        self.content = buffer.getvalue()
        self.saves += 1

    def load(self) -> dict[str, Any] | None:
        import io

        return None if self.content is None else torch.load(io.BytesIO(self.content), weights_only=True)

    def mark_diverged(self) -> None:
        self.diverged = True


class Counted(Progress):
    """Counts the steps of what is announced."""

    total = done = 0

    def start(self, task: str, total: int) -> None:
        self.total += total

    def step(self, count: int = 1, **figures: float) -> None:
        self.done += count


class Stopping(Progress):
    """Asks to stop after `steps` more steps, and keeps what it is told."""

    def __init__(self, steps: int = 10**9) -> None:
        self.left = steps
        self.rows: list[Mapping[str, Any]] = []
        self.notes: list[str] = []
        self.resumed = -1

    def start(self, task: str, total: int) -> None:
        self.resumed = -1

    def step(self, count: int = 1, **figures: float) -> None:
        if self.resumed < 0:  # the first call says how far an earlier run had come
            self.resumed = count
            return
        self.left -= count
        if self.left <= 0:
            self.stop_signal = 2

    def record(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)

    def note(self, text: str) -> None:
        self.notes.append(text)
