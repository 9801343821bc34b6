"""`starcli convert`: bring weights in from elsewhere, or take them out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.option_groups import Common, NetworkSetup
from starcli.cli.options import IN, ForceOpt, OutputOpt
from starcli.cli.outputs import output_paths
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
    model: Annotated[Path, typer.Argument(metavar="FILE", help="A .pt, .pth or .safetensors file; - is stdin."), IN],
    output: OutputOpt,
    common: Common,
    setup: NetworkSetup,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Write bare weights, for other programs.")] = False,
    force: ForceOpt = False,
) -> None:
    """Bring weights from elsewhere into a checkpoint, or take them out.

    With --arch and --data the output says what network it is, and no later command needs to be told; with --input in
    place of data it can be aligned and permuted, and averaged where there is no BatchNorm. A prefix that a trainer has
    put before all names, as Lightning does, is then left out. With --plain, or to a .pt file, it is the bare state dict
    as it is. What a checkpoint of ours says of itself is kept. PyTorch's files are read without running code in them.
    """
    from starcli.checkpoints.convert import is_pickled, read_any, write_plain

    [path] = output_paths(output, [{"name": stem(model)}], [model], pickled=True)
    plain = plain or is_pickled(path)
    source = read_any(model, verify=not plain)
    known = source.metadata.architecture.name if source.metadata.architecture else None
    if not plain and known is None and (setup.arch is None or (setup.data or setup.input) is None):
        raise StarcliError(
            f"{source.name}: does not say what network it is",
            ["give --arch and --data (or --input, of a network without data), or --plain"],
        )
    with common.session(output) as (watch, results):
        if plain:
            if not to_stdout(path):
                check_output(path, force=force)
            write_plain(path, source.tensors)
        else:
            source = _write_checkpoint(source, path, setup, watch, force=force)
        row = {"model": source.name, "architecture": setup.arch or known, "tensors": len(source.tensors)}
        results.add("convert", {**row, "output": str(path)}, _COLUMNS)


def _write_checkpoint(
    source: "Checkpoint", path: Path, setup: NetworkSetup, watch: Bars, *, force: bool
) -> "Checkpoint":
    """Write the weights with what the network and the data are; the source, named as its network names its tensors."""
    from starcli.checkpoints.convert import source_facts, source_plan, strip_prefix
    from starcli.workspace.plan import plan_of
    from starcli.workspace.workspace import workspace_of

    _, (workspace, [source]) = strip_prefix(source, lambda each: workspace_of([each], setup, data=False), watch.note)
    job = Job(path, plan_of(workspace, **source_plan(source)), watch, force=force)
    with job.making() as needed:
        if needed:
            facts = source_facts(source, architecture=workspace.architecture, data=workspace.data)
            job.write(source.tensors, **facts)
    return source
