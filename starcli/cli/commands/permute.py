"""`starcli permute`: rename the units of a model."""

from pathlib import Path
from typing import Annotated

import typer

from starcli.cli.common_options import CommonCached
from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.option_groups import WriterSetup
from starcli.cli.options import IN, ForceOpt, ModelArg, OutputOpt, SeedOpt
from starcli.cli.outputs import output_paths
from starcli.cli.read_models import note_files, read_groups
from starcli.errors import StarcliError
from starcli.files.names import stem

_COLUMNS = (
    Column("model", "model", "name"),
    Column("by", "by", "name"),
    Column("output", "output", "name", main=True),
    Column("moved", "units moved", "d", main=True),
)


@command("starcli permute b.safetensors --by b.perm.safetensors -o b.aligned.safetensors")
def permute_command(
    model: ModelArg,
    output: OutputOpt,
    common: CommonCached,
    setup: WriterSetup,
    *,
    by: Annotated[
        Path | None, typer.Option("--by", metavar="FILE", help="A permutation, as align --permutation writes it."), IN
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Apply the inverse: undo it.")] = False,
    random: Annotated[bool, typer.Option("--random", help="A random permutation, drawn from --seed.")] = False,
    seed: SeedOpt = 0,
    force: ForceOpt = False,
) -> None:
    """Rename the units of a model by a permutation: other weights, the same function."""
    from starcli.alignment.permutation_file import chosen_permutation
    from starcli.library.plans import permuted_plan
    from starcli.workspace.workspace import workspace_of

    if (by is None) != random:
        raise StarcliError("permute needs one of --by FILE and --random")
    [path] = output_paths(output, [{"name": stem(model), "seed": seed}], [model, *([by] if by else [])])
    [given] = read_groups([model])
    workspace, [source] = workspace_of(given, setup, data=False)
    with common.session(output) as (watch, results):
        note_files(workspace, watch)
        permutation, which = chosen_permutation(workspace.spec.resolved, by, seed=seed, invert=invert)
        job = Job(path, permuted_plan(workspace, source, dict(which)), watch, force=force)
        with job.making() as needed:
            if needed:
                metadata = source.metadata
                job.write(permutation.apply(source.tensors), metrics=metadata.metrics, statistics=metadata.statistics)
        row = {"model": source.name, "by": by.name if by else f"random, seed {seed}", "inverted": invert}
        results.add("permute", {**row, "output": str(path), "moved": permutation.moved()}, _COLUMNS)
