"""Where a run is logged besides its own log: what `--log` says, and what it needs."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from starcli.errors import StarcliError
from starcli.files.names import stem
from starcli.registry.entry import lookup, resolve
from starcli.registry.run_logs import RUN_LOGS

NEEDS_PLACE = ("tensorboard", "mlflow")
"""Logs that are written to a directory, which has to be said."""

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""Packages that logs need; each is an extra of the same name."""


@dataclass(frozen=True)
class RunFacts:
    """Facts of a run that a log has beside curves: its checkpoint, the hash of all that decides it, its settings."""

    checkpoint: Path
    run_id: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The checkpoint's path without a model's suffix, and without what leads out of the present directory.

        >>> RunFacts(Path("../ckpts/0.safetensors")).name, RunFacts(Path("ckpts/lr0.1")).name
        ('ckpts/0', 'ckpts/lr0.1')
        """
        parts = self.checkpoint.with_name(stem(self.checkpoint)).parts
        return "/".join(part for part in parts if part not in ("..", self.checkpoint.anchor))


class RunLog(Protocol):
    """Where the curves of one run are logged."""

    def record(self, epoch: int, curves: Mapping[str, float]) -> None:
        """Add the values of an epoch; the first epoch of a run that goes on comes after those that are there."""

    def close(self, *, finished: bool) -> None:
        """Write what is not written yet; `finished`: the run was not stopped."""


@dataclass(frozen=True)
class LogTarget:
    """A word of `--log`: the kind of log, and its directory or project."""

    kind: str
    place: str

    @classmethod
    def of(cls, text: str) -> "LogTarget":
        """Read `tensorboard:DIR`, `wandb`, `wandb:PROJECT`, `mlflow:DIR` or `csv`.

        Raises StarcliError for another kind, a directory that is missing or not wanted, a package that is not there.

        >>> LogTarget.of("csv")
        LogTarget(kind='csv', place='')
        """
        kind, _, place = text.partition(":")
        lookup(RUN_LOGS, "log", kind)
        if kind in NEEDS_PLACE and not place:
            raise StarcliError(f"--log {text}: say where, --log {kind}:DIR")
        if kind == "csv" and place:
            raise StarcliError(f"--log {text}: the table lies beside the checkpoint, --log csv")
        package = PACKAGES.get(kind)
        if package and importlib.util.find_spec(package) is None:
            raise StarcliError(f"--log {kind} needs the package {package}: pip install 'starcli[{kind}]'")
        return cls(kind, os.path.expanduser(place))  # behind a colon no shell expands ~

    @property
    def directory(self) -> Path | None:
        """Where it is written, if that is said."""
        return Path(self.place) if self.kind in NEEDS_PLACE else None

    def open(self, facts: RunFacts) -> RunLog:
        """The log of a run. Raises StarcliError, with what its package says, where it cannot be opened."""
        with self.errors("opened"):
            log: RunLog = resolve(RUN_LOGS, "log", self.kind)(self.place, facts)
        return log

    @contextlib.contextmanager
    def errors(self, deed: str) -> Iterator[None]:
        """Raise as StarcliError what the log's package raises, whatever that is, where it cannot be `deed`."""
        try:
            yield
        except StarcliError:
            raise
        except Exception as error:
            raise StarcliError(f"--log {self.kind}: cannot be {deed}", [f"{type(error).__name__}: {error}"]) from error
