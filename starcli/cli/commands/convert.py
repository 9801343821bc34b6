"""`starcli convert`: bring weights in from elsewhere, or take them out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.option_groups import Common, WriterSetup
from starcli.cli.options import IN, ForceOpt, OutputOpt
from starcli.cli.outputs import output_paths
from starcli.cli.read_models import note_files
from starcli.errors import StarcliError
from starcli.files.names import stem, to_stdout
from starcli.files.write import check_output

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint

_COLUMNS = (
    Column("model", "model", "name"),
    Column("architecture", "network"),
    Column("tensors", "tensors", "d"),
    Column("output", "output", "name", main=True),
)


@command("starcli convert resnet.pth --arch resnet18-cifar --data cifar10 -o resnet.safetensors")
def convert_command(
    models: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="A .pt, .pth, .ckpt or .safetensors file; - is stdin."), IN
    ],
    output: OutputOpt,
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
    plain: Annotated[bool, typer.Option("--plain", help="Write bare weights, for other programs.")] = False,
    force: ForceOpt = False,
) -> None:
    """Bring weights from elsewhere into a checkpoint, or take them out.

    With --arch and --data the output says what network it is, and no later command needs to be told; with --input in
    place of data it can be aligned and permuted, and averaged where there is no BatchNorm. The weights are looked for
    beside optimizers, settings and averages, and a trainer's prefix before their names is left out. With --plain, or to
    a .pt file, they are a bare state dict. What a checkpoint of ours says of itself is kept. PyTorch's files are read
    without running code in them: objects of classes are skipped.
    """
    from starcli.checkpoints.checkpoint import read_all
    from starcli.checkpoints.containers import Pick
    from starcli.checkpoints.convert import is_pickled

    paths = output_paths(output, [{"name": stem(model)} for model in models], models, pickled=True)
    plain = plain or is_pickled(output)
    sources = read_all(models, distinct=False, verify=not plain, pick=Pick(key, tuple(ignore or ())))
    if not plain:
        _need_network(sources, setup)
    with common.session(output) as (watch, results):
        for source, path in zip(sources, paths, strict=True):
            known = source.metadata.architecture.name if source.metadata.architecture else None
            write = _write_plain if plain else _write_checkpoint
            written = write(source, path, setup, watch, force)
            row = {"model": source.name, "architecture": setup.arch_name or known, "tensors": len(written.tensors)}
            results.add("convert", {**row, "output": str(path)}, _COLUMNS)


def _need_network(sources: "Sequence[Checkpoint]", setup: WriterSetup) -> None:
    """Refuse files that do not say what network they are, where the command line does not either."""
    if setup.arch is not None and (setup.data or setup.input) is not None:
        return
    if unknown := [source.name for source in sources if source.metadata.architecture is None]:
        raise StarcliError(
            f"{unknown[0]}: does not say what network it is",
            ["give --arch and --data (or --input, of a network without data), or --plain"],
        )


def _write_plain(source: "Checkpoint", path: Path, setup: WriterSetup, watch: Bars, force: bool) -> "Checkpoint":
    """Write the weights alone; the source."""
    from starcli.checkpoints.convert import write_plain
    from starcli.models.dtypes import in_type

    for note in source.notes:
        watch.note(note)
    if not to_stdout(path):
        check_output(path, force=force)
    write_plain(path, source.tensors if setup.dtype is None else in_type(source.tensors, setup.dtype))
    return source


def _write_checkpoint(source: "Checkpoint", path: Path, setup: WriterSetup, watch: Bars, force: bool) -> "Checkpoint":
    """Write the weights with what the network and the data are; the source, as its network has it."""
    from starcli.checkpoints.convert import source_facts, source_plan
    from starcli.workspace.plan import plan_of
    from starcli.workspace.workspace import workspace_of

    workspace, [source] = workspace_of([source], setup, data=False)
    note_files(workspace, watch)
    job = Job(path, plan_of(workspace, **source_plan(source)), watch, force=force)
    with job.making() as needed:
        if needed:
            facts = source_facts(source, architecture=workspace.architecture, data=workspace.data)
            job.write(source.tensors, **facts)
    return source
