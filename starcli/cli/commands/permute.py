"""`starcli permute`: rename the units of a model, or let any other symmetry of its network act on it."""

from pathlib import Path
from typing import Annotated

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.options.common import CommonCached
from starcli.cli.options.setup import WriterSetup
from starcli.cli.options.shared import IN, OUT, ForceOpt, ModelArg, RenamedOutputOpt, SeedOpt, choice_of
from starcli.cli.outputs import output_paths, permutation_paths
from starcli.cli.permute_jobs import Permuting
from starcli.cli.read_models import read_groups
from starcli.errors import StarcliError
from starcli.files.names import stem

_COLUMNS = (
    Column("model", "model", "name"),
    Column("by", "by", "name"),
    Column("output", "output", "name", main=True),
    Column("moved", "units moved", "d", main=True),
    Column("difference", "change of outputs", ".1e", optional=True),
)


@command(
    "starcli permute b.safetensors --by b.perm.safetensors -o b.aligned.safetensors",
    "starcli permute a.safetensors --random --seed 3 -o shuffled.safetensors",
    see="docs/symmetries.md",
)
def permute_command(
    model: ModelArg,
    output: RenamedOutputOpt,
    common: CommonCached,
    setup: WriterSetup,
    *,
    by: Annotated[
        list[Path] | None,
        typer.Option("--by", metavar="FILE...", help="What align --permutation writes; several act in this order."),
        IN,
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Apply the inverse: undo it.")] = False,
    random: Annotated[bool, typer.Option("--random", help="A random permutation, drawn from --seed.")] = False,
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            help="Of --random: permutation (default), or all: signs, scales, rotations and matrices, too.",
            **choice_of("choice", "permutation", "all"),
        ),
    ] = None,
    seed: SeedOpt = 0,
    permutation: Annotated[
        Path | None, typer.Option("--permutation", metavar="FILE", help="Write what acted too, all of it as one."), OUT
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Rename the units of a model by a permutation: other weights, the same function.

    Where the network has them, signs, scales, rotations and matrices act in the same way. Outputs before and after are
    then compared, and a model whose function would change is not written.
    """
    from starcli.alignment.element_file import chosen_symmetry
    from starcli.workspace.workspace import workspace_of

    if (not by) != random:
        raise StarcliError("permute needs one of --by FILE and --random")
    if seed and not random:
        raise StarcliError("--seed is of --random, and has no use for --by")
    names, inputs = [{"name": stem(model), "seed": seed}], [model, *(by or [])]
    paths = output_paths(output, names, inputs)
    files = permutation_paths(permutation, names, inputs, paths)
    [given] = read_groups([model])
    workspace, [source] = workspace_of(given, setup, data=False)
    with common.session(output, permutation) as (watch, results):
        workspace.tell_notes(watch, of_data=False)
        symmetry, which = chosen_symmetry(workspace, by or [], seed=seed, invert=invert, kinds=kinds, progress=watch)
        figures = Permuting(workspace, source, symmetry, which, watch, force).make(*paths, *files)
        what = (
            ", ".join(path.name for path in by)
            if by
            else f"random, seed {seed}{', all kinds' if kinds == 'all' else ''}"
        )
        row = {"model": source.name, "by": what, "inverted": invert, "output": str(paths[0])}
        results.add("permute", row | figures, _COLUMNS)
