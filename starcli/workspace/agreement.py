"""What checkpoints must have in common, and with their network: all that is wrong is said at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from starcli.checkpoints.checkpoint import Architecture, Checkpoint, Metadata
from starcli.errors import StarcliError, first_of, short
from starcli.models.external import is_external


def refuse_differences(checkpoints: Sequence[Checkpoint]) -> None:
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
                f"{what} {key}: {short(theirs.get(key))} in {other.name}, {short(mine.get(key))} in {first.name}"
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


def unsaid_words(architecture: Architecture, said: Mapping[str, Any]) -> list[str]:
    """What must be said again of an architecture from outside the registry: recorded arguments that are words, one line
    each. A file comes from a stranger, and code may take a word for a path or an address.
    """
    if not is_external(architecture.name):
        return []
    words = {name: value for name, value in architecture.arguments.items() if name not in said and not _number(value)}
    return [
        f"--arch-arg {name}={short(value)}, for only the command line hands words to code"
        for name, value in words.items()
    ]


def _number(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_number, value))
    return value is None or isinstance(value, int | float)


MISFITS = 12
"""As many lines tell what is wrong; where all names differ, a hundred say no more."""


def refuse_misfits(checkpoints: Sequence[Checkpoint], expected: Mapping[str, Tensor], network: str) -> None:
    """Each checkpoint must have exactly the tensors of `network`, all of them finite."""
    problems = []
    for checkpoint in checkpoints:
        problems += [f"{line} in {checkpoint.name}" for line in misfits(checkpoint.fresh_tensors(), expected)]
    if problems:
        raise StarcliError(f"the weights do not fit the network {network}", first_of(problems, MISFITS))


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
