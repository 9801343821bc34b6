"""The readers that are fuzzed, and the sound inputs that cases are made from."""

from collections.abc import Iterator

from ..trial import have_packages
from . import checkpoints, data, huggingface, results
from .target import ENOUGH, Feeder, Target, file_name

__all__ = ["ENOUGH", "Feeder", "Target", "file_name", "targets"]


def targets() -> Iterator[Target]:
    """All readers of files that may be a stranger's."""
    for part in (checkpoints, results, *((data, huggingface) if have_packages() else ())):
        yield from part.targets()
