"""`starcli convert`: bring weights in from elsewhere, or take them out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.framework.results import LOSS, Column
from starcli.cli.job import Job, note_finished
from starcli.cli.options.common import Common
from starcli.cli.options.setup import WriterSetup
from starcli.cli.options.shared import IN, ForceOpt, NamedOutputOpt
from starcli.cli.outputs import check_place, output_paths
from starcli.errors import StarcliError
from starcli.files.names import is_standard_stream, named_after, stem
from starcli.files.other_weights import other_weights, refuse_other_weights
from starcli.files.write import check_output
from starcli.files.write_shards import byte_count, check_shards, index_for, shards_beside
from starcli.registry.tasks import METRICS

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.checkpoints.state_dict import Pick
    from starcli.workspace.workspace import Workspace

_COLUMNS = (
    Column("model", "model", "name"),
    Column("architecture", "network", optional=2),
    Column("tensors", "tensors", "d", optional=3),
    Column("split", "split", common=True, optional=1),
    *Column.of_metrics("{}", "{}", main=True),
    Column("loss", "loss", LOSS),
    Column("output", "output", "name", main=True),
)


@command(
    "starcli convert resnet.pth --arch resnet18-cifar --data cifar10 -o resnet.safetensors",
    "starcli convert star.safetensors --plain -o star.plain.safetensors",
    see="docs/files.md#checkpoints",
)
def convert_command(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="A .pt, .pth, .ckpt or .safetensors file; - is stdin, safetensors."),
        IN,
    ],
    output: NamedOutputOpt,
    common: Common,
    setup: WriterSetup,
    *,
    key: Annotated[
        str | None, typer.Option("--key", metavar="NAME", help="Where the weights lie in FILE: state_dict_ema, a.b.")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="PATTERN...", help="Names of tensors to leave out: 'loss.*'."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option("--base", metavar="MODEL", help="The model to which FILE, the folder of a LoRA adapter, belongs."),
        IN,
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Write bare weights, for other programs.")] = False,
    shard_size: Annotated[
        str | None,
        typer.Option(
            "--shard-size", metavar="SIZE", help="Write files of at most 2GB, say, and an index, as into DIR."
        ),
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Bring weights from elsewhere into a checkpoint, or take them out.

    With --arch and --data the output says what network it is: later commands are told of no more than code and paths.
    Accuracy and loss on the test split are shown, to be compared with what they were elsewhere. With --input in place
    of data it can be aligned and permuted, and averaged where there is no BatchNorm. The weights are looked for beside
    optimizers, settings and averages, and a trainer's prefix before their names is left out. With --plain, or to a .pt
    file, they are a bare state dict. What a checkpoint of ours says of itself is kept. PyTorch's files are read without
    running code in them: objects of classes are skipped. FILE may also be the index of a checkpoint in shards, or its
    folder. With --base it is the folder of a LoRA adapter, and what is written is the base with the adapter in it.
    """
    from starcli.checkpoints.state_dict import Pick
    from starcli.files.formats import is_pickled

    size = None if shard_size is None else byte_count(shard_size)
    inputs = models if base is None else [base]
    output = output if size is None else named_after(output)
    paths = output_paths(output, [{"name": stem(model)} for model in models], inputs, pickled=True)
    paths = paths if size is None else [_index(path, inputs, force) for path in paths]
    plain = plain or is_pickled(output)
    sources = _read(models, base, Pick(key, tuple(ignore or ())), verify=not plain)
    if not plain:
        _need_network(sources, setup)
    with common.session(output) as (watch, results):
        write = _write_plain if plain else _write_checkpoints
        written = write(sources, paths, setup, watch, {"force": force, "shard_size": size})
        for (source, scores), path in zip(written, paths, strict=True):
            known = source.metadata.architecture.name if source.metadata.architecture else None
            row = {"model": source.name, "architecture": setup.arch_name or known, "tensors": len(source.tensors)}
            results.add("convert", {**row, **scores, "output": str(path)}, _COLUMNS)


def _read(models: Sequence[Path], base: Path | None, pick: "Pick", *, verify: bool) -> "list[Checkpoint]":
    """What is to be converted: the files, or a base with the adapter in each of the folders."""
    from starcli.checkpoints.several import read_all
    from starcli.workspace.directories import adapted

    if base is None:
        return read_all(models, distinct=False, verify=verify, pick=pick)
    [whole] = read_all([base], pick=pick)
    return [adapted(whole, model) for model in models]


def _index(path: Path, inputs: Sequence[Path], force: bool) -> Path:
    """The index of the shards of an output, where these can be written."""
    index = index_for(path)
    for each in (index, *shards_beside(index)):
        check_place(each, inputs)
    check_shards(index, force=force)
    return index


def _need_network(sources: "Sequence[Checkpoint]", setup: WriterSetup) -> None:
    """Refuse files that do not say what network they are, where the command line does not either."""
    if setup.arch is not None and (setup.data or setup.input) is not None:
        return
    if unknown := [source.name for source in sources if source.metadata.architecture is None]:
        raise StarcliError(
            f"{unknown[0]}: does not say what network it is",
            ["give --arch and --data (or --input, of a network without data), or --plain"],
        )


def _write_plain(
    sources: "Sequence[Checkpoint]", paths: Sequence[Path], setup: WriterSetup, watch: Bars, how: Mapping[str, Any]
) -> "Iterator[tuple[Checkpoint, dict[str, Any]]]":
    """Write the weights alone, file by file, unless just they are there; the sources, of which no scores are known."""
    from starcli.checkpoints.convert import PlainFile, unwrapped
    from starcli.checkpoints.several import notes_of
    from starcli.models.dtypes import in_type

    def plain_file(source: "Checkpoint", path: Path) -> PlainFile:
        tensors = source.tensors if setup.dtype is None else in_type(source.tensors, setup.dtype)
        return PlainFile(path, tensors, source.versions, how["shard_size"])

    sources, places = (
        [unwrapped(source) for source in sources],
        [path for path in paths if not is_standard_stream(path)],
    )
    pairs = list(zip(sources, paths, strict=True))
    stands = {
        path
        for source, path in pairs
        if path in places and not (how["force"] or other_weights(path)) and plain_file(source, path).stands()
    }
    for path in places:
        if path not in stands:
            check_output(path, force=how["force"])
            refuse_other_weights(path, force=how["force"])
    for note in notes_of(sources):
        watch.note(note)
    for source, path in pairs:
        if path in stands:
            note_finished(path, watch)
        else:
            plain_file(source, path).write()
        yield source, {}


def _write_checkpoints(
    sources: "Sequence[Checkpoint]", paths: Sequence[Path], setup: WriterSetup, watch: Bars, how: Mapping[str, Any]
) -> "Iterator[tuple[Checkpoint, dict[str, Any]]]":
    """Write the weights with what network and data are, file by file; the sources, as the network has them, scores."""
    from starcli.checkpoints.convert import source_facts, source_plan
    from starcli.models.names import is_huggingface
    from starcli.workspace.plan import plan_of
    from starcli.workspace.workspace import workspace_of

    workspace, models = workspace_of(sources, setup, data=False)
    workspace.tell_notes(watch)
    bare = [path for path in paths if not (path.suffix or is_standard_stream(path))]
    if bare and is_huggingface(workspace.architecture.name):
        watch.note(f"{bare[0]}: is one file; -o {bare[0]}/model.safetensors makes a directory for from_pretrained")
    plans = [plan_of(workspace, **source_plan(model)) for model in models]
    jobs = [Job(path, plan, watch, **how) for path, plan in zip(paths, plans, strict=True)]
    for model, job in zip(models, jobs, strict=True):
        with job.making() as needed:
            if needed:
                facts = source_facts(model, architecture=workspace.architecture, data=workspace.data)
                job.write(model.tensors, **facts)
        yield model, _scores(workspace, model, watch)


def _scores(workspace: "Workspace", model: "Checkpoint", watch: Bars) -> dict[str, Any]:
    """Metrics and loss on the test split of the data, where there are any, of the weights as they are written."""
    from starcli.evaluation.rows import evaluation_rows
    from starcli.models.dtypes import in_type

    if workspace.opened is None:
        return {}
    dtype = workspace.choices.dtype
    written = model if dtype is None else replace(model, tensors=in_type(model.tensors, dtype))
    [row] = evaluation_rows(workspace, [written], progress=watch)
    metrics = {name: row[name] for name in METRICS if name in row}
    return {"split": row["split"], **metrics, "loss": row["nll"] if "nll" in row else row["loss"]}
