"""Several checkpoints: read together, named apart, none of them twice."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from starcli.checkpoints.checkpoint import Checkpoint, read
from starcli.checkpoints.metadata import Sha256
from starcli.errors import StarcliError, few
from starcli.files.names import shortest_names

if TYPE_CHECKING:
    from starcli.checkpoints.state_dict import Pick


def read_all(
    paths: Sequence[Path],
    *,
    distinct: bool = True,
    verify: bool = True,
    pick: "Pick | None" = None,
) -> list[Checkpoint]:
    """Read several checkpoints; one StarcliError reports all that cannot be read. `distinct` refuses equal weights."""
    checkpoints, problems = [], []
    for path in paths:
        try:
            checkpoints.append(read(path, verify=verify, pick=pick))
        except StarcliError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = [line for error in problems for line in str(error).split("\n")]
        raise StarcliError(f"{len(problems)} files cannot be read", lines)
    checkpoints = labelled(checkpoints)
    if distinct:
        refuse_duplicates(checkpoints)
    return checkpoints


AnyCheckpoint = TypeVar("AnyCheckpoint", bound=Checkpoint)


def labelled(checkpoints: Sequence[AnyCheckpoint]) -> list[AnyCheckpoint]:
    """The checkpoints under the shortest names that tell their files apart: `run1/model.safetensors`."""
    names = shortest_names([checkpoint.path or Path(checkpoint.name) for checkpoint in checkpoints])
    return [
        checkpoint if checkpoint.path is None or checkpoint.name == name else replace(checkpoint, name=name)
        for checkpoint, name in zip(checkpoints, names, strict=True)
    ]


def notes_of(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Notes on how weights were found in files of others, one line for all files that it concerns."""
    names: dict[str, list[str]] = {}
    for checkpoint in checkpoints:
        for note in checkpoint.notes:
            names.setdefault(note, []).append(checkpoint.name)
    return [f"{few(each, 3)}: {note}" for note, each in names.items()]


def refuse_duplicates(checkpoints: Sequence[Checkpoint]) -> None:
    """Raise StarcliError where two checkpoints have the same weights: a set of solutions has no repeats.

    They are the same with the prefixes of DataParallel and the like before their names too.
    """
    from starcli.checkpoints.convert import unwrapped

    seen: dict[Sha256, str] = {}
    problems = []
    for checkpoint in checkpoints:
        weights = unwrapped(checkpoint).sha256
        if weights in seen:
            problems.append(f"{checkpoint.name} has the same weights as {seen[weights]}")
        seen.setdefault(weights, checkpoint.name)
    if problems:
        raise StarcliError("a model is given twice", problems)
