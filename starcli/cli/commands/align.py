"""`starcli align`: bring the weights of models nearest to those of a reference."""

from pathlib import Path
from typing import Annotated, Any

import typer

from starcli.cli.alignment_jobs import Alignments
from starcli.cli.alignment_normal_form import NormalFormOpt, write_normal_forms
from starcli.cli.alignment_selftest import AlignedArg, AlignedToOpt, PlantsOpt, SelftestOpt, show_selftest
from starcli.cli.framework.columns import SHARE
from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.options.alignment import MethodOptions
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.setup import WriterSetup
from starcli.cli.options.shared import ALIGNMENT, IN, OUT, ForceOpt, SeedOpt
from starcli.cli.outputs import output_paths, permutation_paths
from starcli.cli.read_models import note_files, note_what_moves, read_groups
from starcli.errors import StarcliError
from starcli.files.names import stem

_COLUMNS = (
    Column("model", "model", "name"),
    Column("reference", "aligned to", "name", common=True),
    Column("method", "method", common=True),
    Column("output", "output", "name"),
    Column("distance_before", "distance before", ".3f", main=True),
    Column("distance_after", "distance after", ".3f", main=True),
    Column("cosine_before", "cosine before", ".3f", optional=True),
    Column("cosine_after", "cosine after", ".3f", optional=True),
    Column("moved", "units moved", "d"),
    Column("midpoint_loss", "midpoint loss", ".3f", optional=True),
    Column("objective", "objective", ".3f", optional=True),
    Column("upper_bound", "upper bound", ".3f", optional=True),
    Column("gap", "gap", SHARE, optional=True),
    Column("sweeps", "sweeps", "d", optional=True),
    Column("difference", "change of outputs", ".1e", optional=True),
    Column("seconds", "seconds", ".2f"),
)


@command(
    "starcli align a.safetensors b.safetensors -o b.aligned.safetensors --restarts 10",
    "starcli align a.safetensors b.safetensors --method learn -o b.aligned.safetensors",
    see="docs/alignment.md",
)
def align_command(
    reference: Annotated[Path, typer.Argument(metavar="REF", help="The model to align to; - is stdin."), IN],
    common: CommonPlanned,
    setup: WriterSetup,
    how: MethodOptions,
    *,
    models: AlignedArg = None,
    output: AlignedToOpt = None,
    seed: SeedOpt = 0,
    permutation: Annotated[
        Path | None,
        typer.Option("--permutation", metavar="FILE", help="Write the permutation too; {name} varies."),
        OUT,
    ] = None,
    joint: Annotated[
        bool,
        typer.Option(
            "--joint",
            rich_help_panel=ALIGNMENT,
            help="Align REF and all models together, each to the mean of the others; --restarts are starts then.",
        ),
    ] = False,
    bound: Annotated[
        bool,
        typer.Option(
            "--bound",
            rich_help_panel=ALIGNMENT,
            help="Of weight: say how high the objective could be at most, whatever the permutation; takes seconds.",
        ),
    ] = False,
    selftest: SelftestOpt = False,
    plants: PlantsOpt = None,
    normal_form: NormalFormOpt = False,
    force: ForceOpt = False,
) -> None:
    """Bring the weights of models nearest to those of REF by renaming their units, which changes no function.

    Each is aligned to REF on its own, or with --joint all to each other, in REF's order of units: their mean is then
    better. The output records what it was aligned to, so that barrier and the others know. Several models need a
    {name} in the output. With --selftest nothing is written: copies of REF are aligned to it, their units renamed.
    The change of outputs is then by the renaming, in units of their spread: rounding, or else the spec is wrong.
    With --normal-form each model, REF too, is written alone: what scales and matrices can do to it is then done.
    """
    from starcli.alignment.aligner import Aligner
    from starcli.workspace.workspace import workspace_of

    others: dict[str, Any] = {"--joint": joint, "--bound": bound}
    if selftest:
        written = {"MODEL": models, "--output": output, "--permutation": permutation, "--dtype": setup.dtype}
        unwanted = {**written, **others, "--normal-form": normal_form, "--force": force, "--dry-run": common.dry_run}
        return show_selftest(reference, common, setup, how, seed, plants, unwanted)
    assert output is not None  # the options see to it
    if normal_form:
        unwanted = {"--method and its options": how != MethodOptions(), **others, "--plants": plants}
        each = [reference, *(models or [])]
        return write_normal_forms(each, output, common, setup, permutation, unwanted, force=force)
    if plants is not None:
        raise StarcliError("--plants is of --selftest")
    assert models is not None
    names, inputs = [{"name": stem(path)} for path in models], [reference, *models]
    paths = output_paths(output, names, inputs)
    files = permutation_paths(permutation, names, inputs, paths)
    [first], rest = read_groups([reference], models, distinct=joint)
    alignment = how.chosen(seed)
    workspace, [first, *rest] = workspace_of([first, *rest], setup, data=alignment.reads_data)
    with common.session(output, permutation) as (watch, results):
        note_files(workspace, watch)
        note_what_moves(workspace, alignment, watch)
        run = Alignments(Aligner(alignment, workspace), first, rest, watch, joint, force, bound)
        for row in run.rows(paths, files):
            results.add("align", row, _COLUMNS)
    return None
