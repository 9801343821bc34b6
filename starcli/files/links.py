"""Outputs that are links: what is written takes the place of the file that they lead to."""

import os
from pathlib import Path

from starcli.errors import StarcliError


def behind_links(path: Path) -> Path:
    """The file that a link leads to, whether it is there yet or not; a path that is no link as it is.

    StarcliError for links in a circle.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise StarcliError(f"{path}: is a link that leads back to itself")
    return target
