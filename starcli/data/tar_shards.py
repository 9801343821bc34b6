"""Shards of a webdataset: the tar files that a name means, and the split that each is of. Needs no torch."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from starcli.data.image_files import SPLIT_FOLDERS, split_called
from starcli.errors import StarcliError, few

MOST_SHARDS = 100_000
"""Largest number of files that a name may mean."""


def expand_braces(pattern: str) -> Iterator[str]:
    """Every name that a pattern stands for, as a shell writes them: {000..011} counts, {train,test} lists.

    >>> list(expand_braces("{a,b}-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if found is None:
        yield pattern
        return
    first, last, words = found.groups()
    if words is None:
        # like a shell: as wide as the wider end where one has zeros before it
        width = max(len(first), len(last)) if {first[0], last[0]} & {"0"} else 0
        step = 1 if int(first) <= int(last) else -1
        choices: Iterator[str] = (f"{number:0{width}d}" for number in range(int(first), int(last) + step, step))
    else:
        choices = iter(words.split(","))
    for choice in choices:
        yield from expand_braces(pattern[: found.start()] + choice + pattern[found.end() :])


def shard_files(name: str) -> dict[str, list[Path]]:
    """The tar files of each split, in order: train, and perhaps validation and test, or test alone.

    name: a folder with .tar files in it, or in folders of splits (`SPLIT_FOLDERS`); or a pattern with braces, *, ?. A
    file is of the split that its name says, or that of its folder (train-000.tar, train/000.tar); where none says one,
    all are for training. Raises StarcliError for files that are not there, and where some say a split and others none.
    """
    files = _listed(name)
    roles = {path: _role(path) for path in files}
    if not any(roles.values()):
        return {"train": files}
    if silent := [path.name for path, role in roles.items() if role is None]:
        hint = "shards say in their name of which split they are: train-000000.tar, val-000000.tar, test-000000.tar"
        raise StarcliError(f"--data {name}: of no split: {few(silent, 5)}", [hint])
    found = {role: [path for path in files if roles[path] == role] for role in SPLIT_FOLDERS}
    if not found["train"] and (found["validation"] or not found["test"]):
        there = few([path.name for path in files], 3)
        raise StarcliError(f"--data {name}: expected shards of train beside {there}")
    return {role: paths for role, paths in found.items() if paths}


def _listed(name: str) -> list[Path]:
    root = Path(name)
    if root.is_dir():
        folders = (each for each in sorted(root.iterdir()) if each.is_dir() and split_called(each.name))
        files = [path for place in (root, *folders) for path in sorted(place.glob("*.tar"))]
        if not files:
            raise StarcliError(f"--data {name}: no .tar files in it")
        return files
    files = []
    for each in expand_braces(name):
        matches = [each] if Path(each).is_file() else sorted(glob.glob(each))
        files += map(Path, matches)
        if len(files) > MOST_SHARDS:
            raise StarcliError(f"--data {name}: more than {MOST_SHARDS:,} files")
        if not matches:
            raise StarcliError(f"--data {name}: no such file: {each}")
    if len({*files}) < len(files):
        raise StarcliError(f"--data {name}: names a file twice")
    return files


def _role(path: Path) -> str | None:
    """The split that a file is of, by the words of its name, else by its folder."""
    found = {role for word in re.split(r"[^a-zA-Z]+", path.stem) if (role := split_called(word))}
    if len(found) > 1:
        raise StarcliError(f"{path}: is its split {' or '.join(sorted(found))}?")
    return found.pop() if found else split_called(path.parent.name)
