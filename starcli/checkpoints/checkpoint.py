"""Checkpoint: a safetensors file whose metadata (`checkpoints.metadata`) says what its weights are.

Files without it (foreign ones) read as checkpoints whose architecture and data are unknown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from starcli.checkpoints.hashes import WeightsDigest, weights_sha256
from starcli.checkpoints.metadata import (
    KEY,
    MODELS,
    Ancestor,
    Architecture,
    DataRecord,
    Kind,
    Metadata,
    Sha256,
    parse_metadata,
)
from starcli.errors import StarcliError, number_of, with_article
from starcli.files import safetensors
from starcli.files.cache import hash_json
from starcli.files.lazy_tensors import LazyTensors, write_lazily
from starcli.files.moments import Moment, of_one_moment, times_written
from starcli.files.names import is_standard_stream
from starcli.files.other_weights import remove_other_weights
from starcli.files.shards import header_of
from starcli.files.write import write_tensors
from starcli.files.write_shards import SHARD_METADATA, write_shards, write_shards_lazily
from starcli.huggingface.directory import Directory, directory_of, directory_of_any
from starcli.runtime.garbage import garbage_collection_paused
from starcli.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from starcli.checkpoints.state_dict import Pick


SMALL_BYTES = 2**20
"""Tensors of up to so many bytes are mapped once: to open their file again takes longer than to read them."""


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint:
    """Checkpoint that was read: memory-mapped tensors (never write to them), metadata, and its name for people.

    `name` is the file's base name, or as many of its last parts as tell it from others: see `labelled`. `versions` are
    those of its network's modules, as torch keeps them beside a state dict (None: not known). `stored` are the tensors
    of the file, where a network made others of them, which are then `tensors`. `notes` say how they were chosen from a
    file of others, `pick` what its reader said of that. `directory` is the one of Hugging Face that it is from, where
    something else holds than is written there.

    Two are equal where they are the same object: tensors have no single answer. `sha256` compares weights.
    """

    tensors: "Mapping[str, Tensor]"
    metadata: Metadata
    name: str
    path: Path | None = None
    reopen: "Callable[[], Mapping[str, Tensor]] | None" = None
    versions: Mapping[str, Any] | None = None
    stored: "Mapping[str, Tensor] | None" = None
    notes: tuple[str, ...] = ()
    pick: "Pick | None" = None
    directory: Directory | None = None

    def __repr__(self) -> str:
        """Class, name, kind and sizes, in one line: the weights would fill the screen."""
        count = sum(tensor.numel() for tensor in self.tensors.values())
        what = f"{self.metadata.kind}, {number_of(len(self.tensors), 'tensor')} of {number_of(count, 'number')}"
        return f"{type(self).__name__}({self.name!r}: {what})"

    @property
    def base_name(self) -> str:
        """The name without directories, which is what files record."""
        return PurePath(self.name).name

    def fresh_tensors(self) -> "Mapping[str, Tensor]":
        """The tensors, mapped anew from their file, for reading them once; of a small file `tensors` themselves.

        Pages that were read stay resident as long as their mapping; those of `tensors` do so to the end of the command.
        """
        small = sum(tensor.nbytes for tensor in self.tensors.values()) <= SMALL_BYTES
        return self.tensors if small or self.reopen is None else self.reopen()

    def with_tensors(self, tensors: "Mapping[str, Tensor]", **changes: Any) -> Self:
        """The same file, of whose tensors a network makes these; `changes` are of other fields."""
        stored = self.tensors if self.stored is None else self.stored
        return replace(self, **{"tensors": tensors, "reopen": None, "stored": stored, **changes})

    def found_directory(self, *, any_class: bool = False) -> Directory | None:
        """The directory of Hugging Face that it is from, if any; of `any_class`, also one of a network not known."""
        look = directory_of_any if any_class else directory_of
        return self.directory or (look(self.path) if self.path else None)

    @cached_property
    def sha256(self) -> Sha256:
        """Hash of the weights in the file: as recorded, or computed for a foreign one."""
        return self.metadata.weights_sha256 or weights_sha256(self.tensors if self.stored is None else self.stored)

    @cached_property
    def tensors_sha256(self) -> Sha256:
        """Hash of `tensors`, for what is kept of results: one file can be two models, in networks that read it so."""
        return self.sha256 if self.stored is None else weights_sha256(self.tensors)

    def facts_under(self, data: DataRecord | None, **figures: Any) -> dict[str, Any]:
        """What a file of the same function on `data` says: these scores with `figures` beside them, and statistics.

        Scores of training examples hold where these are the same: another `--limit` takes others, and another
        validation split does.
        """
        metrics, own = self.metadata.metrics, self.metadata.data
        parts = ("limit", "val_fraction", "split_seed")
        same = own is None or data is None or all(getattr(own, name) == getattr(data, name) for name in parts)
        if metrics is not None and not same:
            metrics = {name: value for name, value in metrics.items() if name not in ("train", "validation")}
        if figures:
            metrics = {**(metrics or {}), **figures}
        return {"metrics": metrics, "statistics": self.metadata.statistics}


def run_id(**settings: Any) -> Sha256:
    """Hash of everything that decides a result: architecture, data, resolved recipe, seed, ancestors.

    >>> run_id(recipe={"epochs": 25}, seed=0) == run_id(seed=0, recipe={"epochs": 25})
    True
    """
    return hash_json(settings)


def ancestry(parents: Sequence[Checkpoint]) -> tuple[list[Sha256], list[Ancestor]]:
    """Fields `parents` and `ancestors` of a file made from `parents`: all generations, each ancestor once."""
    found = generations(parents)
    return [parent.sha256 for parent in parents], [found[key] for key in sorted(found)]


def generations(models: Sequence[Checkpoint]) -> dict[Sha256, Ancestor]:
    """Models and all their ancestors, by their hashes.

    Weights that came back (a permutation and its inverse, an alignment that moves nothing) are those of the first file
    that had them: an ancestor never descends from itself.
    """
    found: dict[Sha256, Ancestor] = {}
    for model in models:
        metadata = model.metadata
        itself = Ancestor(
            sha256=model.sha256,
            name=model.base_name,
            kind=metadata.kind,
            parents=metadata.parents,
            made_of=metadata.made_of,
        )
        for ancestor in (*metadata.ancestors, itself):
            found.setdefault(ancestor.sha256, ancestor)
    return found


# -- reading and writing -----------------------------------------------------------------------------------------------


def read_metadata(path: Path) -> tuple[safetensors.Header, Metadata]:
    """Header and metadata of a file, without its tensors and without torch."""
    with garbage_collection_paused():
        header = header_of(path)
        return header, with_network(parse_metadata(header.metadata.get(KEY), str(path)), path)


def with_network(metadata: Metadata, path: Path) -> Metadata:
    """Metadata of a file, with the network of the directory that it lies in where it says nothing of itself."""
    directory = directory_of(path) if metadata == Metadata() else None
    if directory is None:
        return metadata
    fields = directory.architecture_fields()
    return metadata.model_copy(update={"architecture": Architecture.model_validate(fields)})


def read(path: Path, *, kinds: Sequence[Kind] = MODELS, verify: bool = True, pick: "Pick | None" = None) -> Checkpoint:
    """Read a checkpoint of ours, or weights of others in any file (see `read_weights`); `-` reads stdin.

    pick: which of the weights in a file of others are meant.
    Raises StarcliError where the file cannot be read, holds another kind than `kinds`, or, with `verify`, weights other
    than those whose hash is recorded: results are cached under that hash.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as place:
    ...     stored = write(Path(place, "a.safetensors"), {"w": torch.zeros(2)}, Metadata(seed=3))
    ...     found = read(Path(place, "a.safetensors"))
    >>> found.metadata.seed, found.sha256 == stored.weights_sha256
    (3, True)
    """
    read_it = partial(_read, path, kinds, verify, pick)
    return read_it(None) if is_standard_stream(path) else of_one_moment(path, read_it)


def _read(path: Path, kinds: Sequence[Kind], verify: bool, pick: "Pick | None", written: Moment) -> Checkpoint:
    """`read` where the file stays as it was `written`."""
    from starcli.checkpoints.state_dict import EVERYTHING
    from starcli.checkpoints.weights import read_weights

    from_stdin = is_standard_stream(path)
    source, which = "stdin" if from_stdin else str(path), pick or EVERYTHING
    with garbage_collection_paused():
        found = read_weights(path, which)
        metadata = parse_metadata(found.metadata.get(KEY), source)
    if metadata != Metadata() and which != EVERYTHING:
        raise StarcliError(f"{source}: --key and --ignore are for files from elsewhere, this is one of starcli")
    if metadata.kind not in kinds:
        wanted = with_article(" or ".join(kinds))
        raise StarcliError(f"{source}: holds {with_article(metadata.kind)}, wanted {wanted}")
    if verify and metadata.weights_sha256 and found.sha256() != metadata.weights_sha256:
        raise StarcliError(
            f"{source}: the weights are not those that its metadata speak of ({metadata.weights_sha256[:12]})",
            ["starcli convert --plain takes them out without what is no longer true"] if kinds == MODELS else [],
        )
    if from_stdin:
        return Checkpoint(found.tensors, metadata, "stdin", notes=found.notes, pick=which)
    metadata = with_network(metadata, path)
    reopen = partial(_read_again, path, which, written, found.tensors)
    return Checkpoint(
        found.tensors, metadata, path.absolute().name, path, reopen, found.versions, notes=found.notes, pick=which
    )


def _read_again(path: Path, which: "Pick", written: Moment, tensors: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
    """What was read: of a file that was replaced since, the mapping of the old one, which is still whole."""
    from starcli.checkpoints.weights import read_weights

    return read_weights(path, which).tensors if times_written(path) == written else tensors


def write(
    path: Path,
    tensors: "Mapping[str, Tensor]",
    metadata: Metadata,
    *,
    shard_size: int | None = None,
    words: Mapping[str, str] = MappingProxyType({}),
) -> Metadata:
    """Write tensors and metadata, with the hash of the weights filled in, and return the metadata that was stored.

    shard_size: the largest number of bytes in a file; `path` is then the index of the shards. words: what other
    programs want to read beside our metadata. `LazyTensors` are made one by one, each once.
    """
    if isinstance(tensors, LazyTensors) and not is_standard_stream(path):
        stored = _write_lazily(path, tensors, metadata, shard_size)
    else:
        stored = _completed(metadata, weights_sha256(tensors))
        if shard_size is None:
            write_tensors(path, tensors, {KEY: stored.to_text(), **words})
        else:
            write_shards(path, tensors, {KEY: stored.to_text()}, shard_size)
    remove_other_weights(path)
    return stored


def _write_lazily(path: Path, tensors: LazyTensors, metadata: Metadata, shard_size: int | None) -> Metadata:
    """`write` of tensors that are made one by one, hashed as they come."""
    digest = WeightsDigest()

    def said() -> dict[str, str]:
        own = {KEY: _completed(metadata, digest.hexdigest()).to_text()}
        return own | (SHARD_METADATA if shard_size is None else {})

    if shard_size is None:
        write_lazily(path, tensors, said, digest.add)
    else:
        write_shards_lazily(path, tensors, said, shard_size, digest.add)
    return _completed(metadata, digest.hexdigest())


def _completed(metadata: Metadata, weights: Sha256) -> Metadata:
    return metadata.model_copy(update={"weights_sha256": weights, "program": __version__})
