"""Checkpoints in shards, as Hugging Face writes them: an index says which file beside it holds which tensor.

The index, `NAME.safetensors.index.json` or `NAME.bin.index.json`: `{"metadata": {...}, "weight_map": {tensor: file}}`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.errors import StarcliError, few
from starcli.files.lazy_tensors import Each, LazyTensors, write_lazily
from starcli.files.safetensors import MAXIMUM_HEADER, Header, TensorInfo, read_header, strict_json
from starcli.files.write import holds, raise_os_error, tensor_pieces, write_atomically, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

INDEX = ".index.json"
"""Suffix of an index."""

SHARD_METADATA = {"format": "pt"}
"""What a shard says of itself: that its tensors are PyTorch's, which others ask for."""

ADAPTER = "adapter_config.json"
"""File in a folder that holds no weights of a network but an adapter, as the package `peft` names it."""

WHOLE = ("model.safetensors", "pytorch_model.bin")
"""Files without shards in a folder, as `save_pretrained` of Hugging Face names them."""


@dataclass(frozen=True)
class Index:
    """Checked index: the file of each tensor, and the words that the index keeps beside them."""

    path: Path
    files: Mapping[str, Path]
    metadata: Mapping[str, str]

    def shards(self) -> list[Path]:
        """The files, each once, in order of their names."""
        return sorted(set(self.files.values()))

    def check(self, shard: Path, names: Iterable[str]) -> None:
        """Refuse a shard that holds other tensors than the index says."""
        found, said = set(names), {name for name, file in self.files.items() if file == shard}
        problems = [f"{name}: not in {shard.name}" for name in sorted(said - found)]
        problems += [f"{name}: in {shard.name}, but not by the index" for name in sorted(found - said)]
        if problems:
            raise StarcliError(f"{self.path}: its shards are not those that it speaks of", problems)


def checkpoints_in(folder: Path) -> list[Path]:
    """Indexes of shards in a folder, and files that are WHOLE; those of safetensors alone where there are any."""
    found = sorted([*folder.glob(f"*{INDEX}"), *(folder / name for name in WHOLE if (folder / name).is_file())])
    return [each for each in found if each.name.removesuffix(INDEX).endswith(".safetensors")] or found


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter and no model."""
    return path.is_dir() and (path / ADAPTER).is_file() and not checkpoints_in(path)


def file_of(path: Path) -> Path:
    """The file that a checkpoint is read from: of a folder the one in it, its index of shards or the whole.

    Raises StarcliError for a folder with none or several.
    """
    if not path.is_dir():
        return path
    found = checkpoints_in(path)
    if is_adapter(path):
        raise StarcliError(f"{path}: holds an adapter, no model; starcli convert {path} --base BASE -o OUT applies it")
    if len(found) != 1:
        there = few([each.name for each in found], 5) if found else "none"
        read = f"of one, its index of shards (*{INDEX}), {' or '.join(WHOLE)} is read"
        raise StarcliError(f"{path}: is a directory; {read}: there is {there}")
    return found[0]


def is_index(path: Path) -> bool:
    """Whether a file is an index, by its name."""
    return path.name.endswith(INDEX)


def read_index(path: Path) -> Index:
    """Read an index. StarcliError where it is none, leads out of its folder, or one of its shards is not there."""
    try:
        if path.stat().st_size > MAXIMUM_HEADER:
            raise ValueError("it is longer than 8 MiB")
        content = strict_json(path.read_text(encoding="utf-8"))
        names, metadata = _parse(content)
    except OSError as error:
        raise_os_error(path, error, "read")
    except (ValueError, RecursionError) as error:
        raise StarcliError(f"{path}: no index of a checkpoint in shards: {str(error)[:120]}") from error
    bare = {name for name in names.values() if name == Path(name).name and name != ".." and not {*"\\\0"} & {*name}}
    if outside := set(names.values()) - bare:
        problems = [f"{name!r:.100}" for name in sorted(outside)]
        raise StarcliError(f"{path}: names files outside its folder, which are not read", problems)
    if missing := [name for name in sorted(set(names.values())) if not path.with_name(name).is_file()]:
        raise StarcliError(f"{path}: shards are missing", [f"{name} does not lie beside it" for name in missing])
    return Index(path, {name: path.with_name(file) for name, file in names.items()}, metadata)


def _parse(content: Any) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """`weight_map`, and of `metadata` what is text. Raises ValueError."""
    if not isinstance(content, dict) or not isinstance(content.get("weight_map"), dict) or not content["weight_map"]:
        raise ValueError("it has no weight_map")
    if not all(isinstance(file, str) and file for file in content["weight_map"].values()):
        raise ValueError("its weight_map is no table of file names")
    metadata = content.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is no table")
    return content["weight_map"], {key: value for key, value in metadata.items() if isinstance(value, str)}


def files_of(path: Path) -> list[Path]:
    """The files that hold a checkpoint: itself, or its index and shards."""
    file = file_of(path)
    return [file, *read_index(file).shards()] if is_index(file) else [file]


def header_of(path: Path) -> Header:
    """Header of a safetensors file, or what those of all shards say together. Errors as of `read_header`."""
    file = file_of(path)
    if not is_index(file):
        return read_header(file)
    index = read_index(file)
    tensors = {name: info for name, (_, _, info) in _places(index).items()}
    return Header(tensors, index.metadata, data_begin=0)


def tensor_places(path: Path) -> Mapping[str, tuple[Path, int, TensorInfo]]:
    """Where each tensor of a safetensors file or its shards lies: its file, where its data begins, its entry."""
    file = file_of(path)
    if is_index(file):
        return _places(read_index(file))
    header = read_header(file)
    return {name: (file, header.data_begin + info.begin, info) for name, info in header.tensors.items()}


def _places(index: Index) -> dict[str, tuple[Path, int, TensorInfo]]:
    found = dict[str, tuple[Path, int, TensorInfo]]()
    for shard in index.shards():
        header = read_header(shard)
        index.check(shard, header.tensors)
        found |= {name: (shard, header.data_begin + info.begin, info) for name, info in header.tensors.items()}
    return found


# -- writing -----------------------------------------------------------------------------------------------------------


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

    StarcliError where some exist, unless `force`, and where some are links.
    """
    refuse_links(index)
    if not force and not index.exists() and (there := shards_beside(index)):
        raise StarcliError(f"{there[0]}: exists; --force overwrites it")


def write_shards(index: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str], size: int) -> None:
    """Write safetensors files of at most `size` bytes of tensors beside `index`, and the index last.

    A tensor that is larger has a file of its own. Shards and index of an older checkpoint of this name are removed
    first, so that a reader never finds an index with shards of another one.
    """
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}

    def write(path: Path, names: Sequence[str]) -> None:
        write_tensors(path, {each: tensors[each] for each in names}, SHARD_METADATA)

    _write_groups(index, sizes, lambda: metadata, size, write)


def write_shards_lazily(
    index: Path, tensors: LazyTensors, metadata: Callable[[], Mapping[str, str]], size: int, each: Each
) -> None:
    """`write_shards` of tensors that are made one by one. metadata: called once all were; each: of `write_lazily`."""
    sizes = {name: form.nbytes for name, form in tensors.forms.items()}
    tensors.prepare()

    def write(path: Path, names: Sequence[str]) -> None:
        some = LazyTensors({name: tensors.forms[name] for name in names}, tensors.__getitem__)
        write_lazily(path, some, lambda: SHARD_METADATA, each)

    _write_groups(index, sizes, metadata, size, write)


def _write_groups(
    index: Path,
    sizes: Mapping[str, int],
    metadata: Callable[[], Mapping[str, str]],
    size: int,
    write: Callable[[Path, Sequence[str]], None],
) -> None:
    """Write tensors of these `sizes` in groups of at most `size` bytes, each by `write`, and the index last."""
    refuse_links(index)
    try:
        index.unlink(missing_ok=True)
        for path in shards_beside(index):
            path.unlink()
    except OSError as error:
        raise_os_error(index, error, "write")
    shards = _shards_of(index, sizes, size)
    for path, names in shards.items():
        write(path, names)
    write_atomically(index, _index_text(shards, sizes, metadata()))


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
