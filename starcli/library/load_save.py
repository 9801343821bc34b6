"""Models in from files and out to files."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack, overload

from torch import nn

from starcli.checkpoints import checkpoint
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.convert import PlainFile
from starcli.checkpoints.metadata import Metadata
from starcli.checkpoints.several import labelled, notes_of
from starcli.checkpoints.state_dict import Pick
from starcli.errors import StarcliError
from starcli.files.formats import is_pickled
from starcli.files.names import as_path, named_after, refuse_other_kind_of_name
from starcli.files.other_weights import refuse_other_weights
from starcli.files.write import check_output
from starcli.files.write_shards import byte_count, check_shards, index_for
from starcli.huggingface.adapter_means import write_adapter
from starcli.huggingface.adapters import Adapter
from starcli.huggingface.companions import weights_in
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, as_checkpoint, open_models
from starcli.library.made_models import MadeModel, network_with
from starcli.library.notes import Watcher
from starcli.library.where import Where
from starcli.models.state_dicts import versions_of
from starcli.workspace.choices import Choices
from starcli.workspace.directories import adapted, in_terms_of_network, write_model


@overload
def load(
    path: str | os.PathLike[str],
    /,
    *,
    key: str | None = None,
    ignore: Sequence[str] = (),
    base: ModelLike | None = None,
) -> Checkpoint: ...
@overload
def load(
    path: str | os.PathLike[str],
    /,
    *paths: str | os.PathLike[str],
    key: str | None = None,
    ignore: Sequence[str] = (),
    base: ModelLike | None = None,
) -> list[Checkpoint]: ...
@library_call
def load(
    path: str | os.PathLike[str],
    /,
    *paths: str | os.PathLike[str],
    key: str | None = None,
    ignore: Sequence[str] = (),
    base: ModelLike | None = None,
) -> Checkpoint | list[Checkpoint]:
    """Read a checkpoint, or several as a list: files of starcli, safetensors files of others, PyTorch's own files.

    Weights are mapped into memory, never copied; code in a file is never run. What a file of starcli says of itself is
    in `.metadata`, and later calls need no more; `module` gives the network. Names of `.tensors` are those in the file,
    and calls that know the network leave a trainer's prefix out. Notes on what was chosen and left out of a file of
    others become warnings.

    key: where in such a file the weights lie, as in `state_dict_ema`. ignore: patterns of names to leave out.
    base: the model to which the path, a folder of a LoRA adapter, belongs; read is the base with the adapter in it.
    StarcliError for what cannot be read, and for weights that are not those that their metadata speak of.

    >>> import starcli as sc
    >>> path = sc.save(sc.train("mlp", "digits", epochs=1, limit=60), "a.safetensors")
    >>> sc.load(path).metadata.architecture.name
    'mlp'
    """
    patterns = tuple(ignore) if isinstance(ignore, Iterable) else ()
    if isinstance(ignore, str) or not isinstance(ignore, Iterable) or not all(isinstance(n, str) for n in patterns):
        raise StarcliError(f"ignore={ignore!r:.80}: expected a list of patterns of names")
    pick = Pick(key, patterns)
    if base is None:
        found = labelled([checkpoint.read(as_path(each), pick=pick) for each in (path, *paths)])
    else:
        whole = as_checkpoint(base)
        found = [adapted(whole, as_path(each)) for each in (path, *paths)]
    for note in notes_of(found):
        Watcher().note(note)
    found = [replace(each, notes=()) for each in found]
    return found if paths else found[0]


@library_call
def module(model: ModelLike, **where: Unpack[Where]) -> nn.Module:
    """A new network with the weights of a model, on the CPU, in eval mode: in float64 where they are, else in float32.

    model: a file, a checkpoint, a state dict. A file of starcli says what network it is, unless that is code of your
    own, which `arch` names; of bare weights `arch` and `input_shape` do (or `data`, which are not read). StarcliError
    where nothing says which network it is, and for weights that do not fit it.

    >>> import starcli as sc
    >>> path = sc.save(sc.train("mlp", "digits", epochs=1, limit=60), "c.safetensors")
    >>> type(sc.module(path)).__name__
    'MLP'
    """
    workspace, [found], _ = open_models([model], where, data=False, uses_data=False)
    return network_with(found.tensors, workspace)


@library_call
def save(
    model: ModelLike | Adapter,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    shard_size: int | str | None = None,
) -> Path:
    """Write a model to a safetensors file, with all that it says of itself, or to a `.pt` or `.pth` file, bare.

    A checkpoint of the library is written as the command line would write it. The file appears whole or not at all.
    Its directory is made with it. Returns the path. StarcliError where the file exists (unless `force`).

    A model that was made from a directory of Hugging Face is written as one, unless the path has the suffix of a file;
    an adapter (`mean_adapter`) always is.
    shard_size: the largest size of a file, as `"2GB"` or in bytes; the path is then that of the index of such files, or
        of their folder.

    >>> import starcli as sc
    >>> sc.save(sc.train("mlp", "digits", epochs=1, limit=60), "b.safetensors").name
    'b.safetensors'
    """
    if isinstance(model, Adapter):
        write_adapter(as_path(path), model, force=force)
        return as_path(path)
    if shard_size is None:
        refuse_other_kind_of_name(as_path(path), pickled=True)
    target, source = as_path(path), in_terms_of_network(as_checkpoint(model), Choices())
    directory = source.found_directory()
    if directory is not None and target.suffix.lower() != ".safetensors" and not is_pickled(target):
        target = weights_in(target, [directory.path]) or target
    size = None if shard_size is None else byte_count(str(shard_size))
    if size is not None:
        target = index_for(named_after(target))
        check_shards(target, force=force)
    check_output(target, force=force)
    refuse_other_weights(target, force=force)
    if is_pickled(target) or source.metadata == Metadata():
        made = isinstance(source, MadeModel) and source.workspace
        versions = versions_of(made.outline()) if made else source.versions
        PlainFile(target, source.tensors, versions, size).write()
    else:
        write_model(target, source.tensors, source.metadata, directory, shard_size=size)
    return target
