"""From words to checkpoints: what is wrong with them is said before any work begins."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.errors import StarcliError
from starcli.files.names import is_standard_stream
from starcli.runtime import distributed

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint


def read_groups(*groups: Sequence[Path], distinct: bool = True) -> "list[list[Checkpoint]]":
    """The checkpoints of each group, all read together, so that a file given twice is found across groups too.

    `distinct` refuses the same weights under two names as well: a set of solutions has no repeats. What compares
    models admits them: an alignment may have found that two models are one.
    """
    from starcli.checkpoints.several import read_all

    refuse_repeats([path for group in groups for path in group])
    if distributed.launched() > 1 and any(is_standard_stream(path) for group in groups for path in group):
        raise StarcliError("several ranks cannot read one stdin", ["give the checkpoint as a file"])
    return grouped_like(groups, read_all([path for group in groups for path in group], distinct=distinct))


def grouped_like(groups: Sequence[Sequence[Any]], models: "Iterable[Checkpoint]") -> "list[list[Checkpoint]]":
    """`models` in groups of the sizes of `groups`."""
    following = iter(models)
    return [list(islice(following, len(group))) for group in groups]


def refuse_repeats(paths: Sequence[Path], what: str = "a model") -> None:
    """Refuse the same path twice, and stdin twice, without reading anything."""
    seen: set[Path] = set()
    problems = []
    for path in paths:
        key = path if is_standard_stream(path) else path.absolute()
        if key in seen:
            problems.append(f"{path} occurs twice")
        seen.add(key)
    if problems:
        raise StarcliError(f"{what} is given twice", sorted(set(problems)))
