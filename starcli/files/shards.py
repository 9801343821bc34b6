"""Checkpoints in shards, as Hugging Face writes them: an index says which file beside it holds which tensor.

The index, `NAME.safetensors.index.json` or `NAME.bin.index.json`: `{"metadata": {...}, "weight_map": {tensor: file}}`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError, few
from starcli.files.formats_of_others import directory_not_read
from starcli.files.safetensors import Header, TensorInfo, read_header
from starcli.files.strict_json import read_strict_json
from starcli.files.write import raise_os_error

INDEX = ".index.json"
"""Suffix of an index."""

ADAPTER = "adapter_config.json"
"""File in a folder that holds no weights of a network but an adapter, as the package `peft` names it."""

TensorPlaces = Mapping[str, tuple[Path, int, TensorInfo]]
"""Where tensors lie, by their names: the file, where the data begin in it, the entry in its header."""

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
    if not found and (kind := directory_not_read(path)):
        raise StarcliError(f"{path}: is {kind.kind}, which is not read", [kind.way])
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
        names, metadata = _parse(read_strict_json(path))
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


def tensor_places(path: Path) -> TensorPlaces:
    """Where each tensor of a safetensors file or its shards lies."""
    file = file_of(path)
    if is_index(file):
        return _places(read_index(file))
    return places_in(file, read_header(file))


def places_in(file: Path, header: Header) -> TensorPlaces:
    """The same of one file whose header was read."""
    return {name: (file, header.data_begin + info.begin, info) for name, info in header.tensors.items()}


def _places(index: Index) -> dict[str, tuple[Path, int, TensorInfo]]:
    found = dict[str, tuple[Path, int, TensorInfo]]()
    for shard in index.shards():
        header = read_header(shard)
        index.check(shard, header.tensors)
        found |= places_in(shard, header)
    return found
