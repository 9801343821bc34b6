"""What a result rests on: hashes of the weights, the data, the version of the program."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.version import __version__

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


HASH_CHARACTERS = 12
"""Characters of a hash in results: as `inspect` shows them, enough to tell any models apart."""


Stamp = Callable[[Sequence[Checkpoint]], dict[str, Any]]


def stamps(workspace: "Workspace") -> Stamp:
    """What says of a result what it rests on, the same on every machine: `weights` of the files, `data` and `program`.

    The hashes are of the files as given: a model that is aligned before it is measured keeps the hash that it has.
    """
    dataset = workspace.dataset

    def stamp(models: Sequence[Checkpoint]) -> dict[str, Any]:
        data = {"name": dataset.name, "fingerprint": dataset.fingerprint[:HASH_CHARACTERS]}
        return {"weights": [model.sha256[:HASH_CHARACTERS] for model in models], "data": data, "program": __version__}

    return stamp
