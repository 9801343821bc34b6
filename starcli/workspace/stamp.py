"""Stamp of a result: hashes of the weights, network, data, the precision, the version of the program."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.registry.tasks import LOSS_KINDS
from starcli.version import __version__

if TYPE_CHECKING:
    from starcli.data.dataset import Dataset, TestData
    from starcli.workspace.workspace import Workspace


HASH_CHARACTERS = 12
"""Characters of a hash in results: as `inspect` shows them, enough to tell any models apart."""


Stamp = Callable[[Sequence[Checkpoint]], dict[str, Any]]


def stamps(workspace: "Workspace") -> Stamp:
    """The function that says on what a result rests, alike on every machine: `weights`, `data`, `precision`, `program`.

    Also `architecture`, its name and arguments, unless the network is one in memory, which has none; `train_data` where
    these are not the data that is measured on, `task` and `loss_kind` where neither classes nor next tokens are
    predicted. The hashes are of the files as given: a model that is aligned before it is measured keeps the hash that
    it has.
    """
    dataset = workspace.dataset
    # the hash is of the whole data: of a part of them, training loss and BatchNorm statistics are others
    parts = {name: value for name in ("limit", "val_fraction") if (value := getattr(dataset, name))}
    data: dict[str, Any] = {"data": {**_named(dataset), **parts}}
    if dataset.tested:
        data = {"data": _named(dataset.tested), "train_data": data["data"]}
    how = {**task_facts(dataset.task), **data, "precision": workspace.precision, "program": __version__}
    if workspace.builder is None:
        how = {"architecture": workspace.architecture.model_dump(mode="json", include={"name", "arguments"}), **how}
    return lambda models: {"weights": short_hashes(models), **how}


def _named(data: "Dataset | TestData") -> dict[str, str]:
    return {"name": data.name, "fingerprint": data.fingerprint[:HASH_CHARACTERS]}


def task_facts(task: str) -> dict[str, str]:
    """`task` and `loss_kind` of results; nothing where classes or next tokens are predicted.

    >>> task_facts("regression")
    {'task': 'regression', 'loss_kind': 'mean squared error'}
    """
    return {"task": task, "loss_kind": LOSS_KINDS[task]} if task in LOSS_KINDS else {}


def short_hashes(models: Sequence[Checkpoint]) -> list[str]:
    """Hashes of the models' files, cut as in all results."""
    return [model.sha256[:HASH_CHARACTERS] for model in models]
