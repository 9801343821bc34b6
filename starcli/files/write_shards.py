"""Checkpoints written in shards: files of at most so many bytes, and last the index that readers look for."""

import contextlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from starcli.errors import StarcliError
from starcli.files.lazy_tensors import Each, LazyTensors, write_lazily
from starcli.files.shards import INDEX
from starcli.files.write import (
    flush_directory,
    holds,
    partial_place,
    raise_os_error,
    tensor_pieces,
    write_atomically,
    write_tensors,
)
from starcli.runtime.rehearsal import present_rehearsal

if TYPE_CHECKING:
    from torch import Tensor

SHARD_METADATA = {"format": "pt"}
"""What a shard says of itself: that its tensors are PyTorch's, which others ask for."""


def byte_count(text: str) -> int:
    """`2GB` as 2000000000, `512MiB` as 536870912; a number alone is bytes.

    >>> byte_count("1.5 kB"), byte_count("2GiB")
    (1500, 2147483648)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", text.strip(), re.IGNORECASE)
    size = 0.0
    if found is not None:
        size = float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " ")
    if size < 1:
        raise StarcliError(f"--shard-size {text}: no size in bytes, as 500MB or 2GB")
    return int(size)


def index_for(path: Path) -> Path:
    """The index of the shards of a checkpoint that is to be written to `path`, `DIR/NAME.safetensors`."""
    if path.suffix != ".safetensors":
        raise StarcliError(f"{path}: shards are safetensors files: -o DIR, or DIR/NAME.safetensors, names them")
    return path.with_name(f"{path.name}{INDEX}")


def shard_name(index: Path, number: int, count: int) -> str:
    """Name of a shard beside its index, counted from 1.

    >>> shard_name(Path("model.safetensors.index.json"), 1, 3)
    'model-00001-of-00003.safetensors'
    """
    return f"{index.name.removesuffix(INDEX).removesuffix('.safetensors')}-{number:05d}-of-{count:05d}.safetensors"


def shards_beside(index: Path) -> list[Path]:
    """Files that are named as shards of this index, whether or not it is there."""
    begin = shard_name(index, 0, 0).removesuffix("00000-of-00000.safetensors")
    numbered = re.compile(re.escape(begin) + r"[0-9]{5}-of-[0-9]{5}\.safetensors")
    return sorted(path for path in index.parent.glob("*.safetensors") if numbered.fullmatch(path.name))


def refuse_links(index: Path) -> None:
    """StarcliError where an index that is to be written, or one of its old shards, is a link.

    Who reads an index looks for the shards beside it, not beside what it leads to: written through a link they would
    not be found by one of the two names.
    """
    if links := [path for path in (index, *shards_beside(index)) if path.is_symlink()]:
        raise StarcliError(
            f"{links[0]}: is a link to {links[0].readlink()}; an index and its shards are files beside each other",
            ["-o with the place that it leads to, or a link of the whole folder, writes them there"],
        )


def check_shards(index: Path, *, force: bool = False) -> None:
    """Check, before any work is done, that shards can be written.

    StarcliError where some exist, unless `force`, and where some are links. Those that a process left which was killed
    while it put a set in its place do not count.
    """
    refuse_links(index)
    if not (force or index.exists() or _renaming(index).exists()) and (there := shards_beside(index)):
        raise StarcliError(f"{there[0]}: exists; --force overwrites it")


def write_shards(index: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str], size: int) -> None:
    """Write safetensors files of at most `size` bytes of tensors beside `index`, in place of older ones of its name.

    A tensor that is larger has a file of its own. All are complete before the first old one goes, so that the disk
    needs room for both; a reader finds the old index, none, or the new one, and never one with shards of another.
    """
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}

    def write(path: Path, names: Sequence[str], into: Path) -> None:
        write_tensors(path, {each: tensors[each] for each in names}, SHARD_METADATA, into=into)

    _write_groups(index, sizes, lambda: metadata, size, write)


def write_shards_lazily(
    index: Path, tensors: LazyTensors, metadata: Callable[[], Mapping[str, str]], size: int, each: Each
) -> None:
    """`write_shards` of tensors that are made one by one. metadata: called once all were; each: of `write_lazily`."""
    sizes = {name: form.nbytes for name, form in tensors.forms.items()}
    tensors.prepare()

    def write(path: Path, names: Sequence[str], into: Path) -> None:
        some = LazyTensors({name: tensors.forms[name] for name in names}, tensors.__getitem__)
        write_lazily(path, some, lambda: SHARD_METADATA, each, into=into)

    _write_groups(index, sizes, metadata, size, write)


def _write_groups(
    index: Path,
    sizes: Mapping[str, int],
    metadata: Callable[[], Mapping[str, str]],
    size: int,
    write: Callable[[Path, Sequence[str], Path], None],
) -> None:
    """Write tensors of these `sizes` in groups of at most `size` bytes, each by `write`, and the index last."""
    refuse_links(index)
    shards = _shards_of(index, sizes, size)
    rehearsed = present_rehearsal() is not None
    with contextlib.nullcontext(index.parent) if rehearsed else partial_place(index) as place:
        for path, names in shards.items():
            write(path, names, place)
        write_atomically(index, _index_text(shards, sizes, metadata()), into=place)
        if not rehearsed:
            _put_in_place(index, shards, place)


def _put_in_place(index: Path, shards: Collection[Path], place: Path) -> None:
    """Rename new shards and their index, which lie in `place`; old ones go."""
    mark = _renaming(index)
    try:
        mark.touch()
        index.unlink(missing_ok=True)
        for old in {*shards_beside(index)} - {*shards}:
            old.unlink()
        for path in (*shards, index):
            (place / path.name).replace(path)
        flush_directory(index.parent)
        mark.unlink()
    except OSError as error:
        raise_os_error(index, error, "write")


def _renaming(index: Path) -> Path:
    """A file that is there while shards are put in their place: those that it is found with are of no whole set."""
    return index.with_name(f".{index.name}.renaming")


def shards_hold(index: Path, tensors: Mapping[str, "Tensor"], size: int) -> bool:
    """Whether an index and its shards are just what `write_shards` makes of tensors without metadata, byte for byte."""
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    shards = _shards_of(index, sizes, size)
    if list(shards) != shards_beside(index) or not holds(index, [_index_text(shards, sizes, {})]):
        return False
    return all(
        holds(path, tensor_pieces({name: tensors[name] for name in names}, SHARD_METADATA))
        for path, names in shards.items()
    )


def _index_text(shards: Mapping[Path, Sequence[str]], sizes: Mapping[str, int], metadata: Mapping[str, str]) -> bytes:
    """The content of an index: metadata, and the shard of each tensor."""
    files = {name: path.name for path, names in shards.items() for name in names}
    content = {"metadata": {"total_size": sum(sizes.values()), **metadata}, "weight_map": files}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _shards_of(index: Path, sizes: Mapping[str, int], size: int) -> dict[Path, list[str]]:
    """Each shard beside an index, in order, and the names of its tensors."""
    groups = _grouped(sizes, size)
    return {index.with_name(shard_name(index, at, len(groups))): names for at, names in enumerate(groups, start=1)}


def _grouped(sizes: Mapping[str, int], size: int) -> list[list[str]]:
    """Names of the tensors of each shard, in order."""
    groups: list[list[str]] = [[]]
    free = size
    for name, needed in sizes.items():
        if groups[-1] and needed > free:
            groups.append([])
            free = size
        groups[-1].append(name)
        free -= needed
    return groups
