"""`starcli align`: bring the weights of models nearest to those of a reference."""

from starcli.cli.align_jobs import Alignments
from starcli.cli.align_models import AlignModels
from starcli.cli.align_normal_form import write_normal_forms
from starcli.cli.align_selftest import show_selftest
from starcli.cli.framework.columns import SHARE
from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.options.alignment import MethodOptions
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.setup import WriterSetup
from starcli.cli.read_models import read_groups

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
def align_command(how: MethodOptions, asked: AlignModels, common: CommonPlanned, setup: WriterSetup) -> None:
    """Bring the weights of models nearest to those of REF by renaming their units, which changes no function.

    Each is aligned to REF on its own, or with --joint all to each other, in REF's order of units: their mean is then
    better. The output records what it was aligned to, so that barrier and the others know. Several models need a
    {name} in the output. With --selftest nothing is written: copies of REF are aligned to it, their units renamed.
    The change of outputs is then by the renaming, in units of their spread: rounding, or else the spec is wrong.
    With --normal-form each model, REF too, is written alone: what scales and matrices can do to it is then done.
    """
    from starcli.alignment.aligner import Aligner
    from starcli.alignment.notes import note_alignment
    from starcli.workspace.workspace import workspace_of

    asked.check(common, setup, how)
    if asked.selftest:
        return show_selftest(asked, common, setup, how)
    if asked.normal_form:
        return write_normal_forms(asked, common, setup)
    paths, files = asked.outputs()
    [first], rest = read_groups([asked.reference], asked.models or [], distinct=asked.joint)
    alignment = how.chosen(asked.seed)
    workspace, [first, *rest] = workspace_of([first, *rest], setup, data=alignment.reads_data)
    with common.session(asked.output, asked.permutation) as (watch, results):
        workspace.tell_notes(watch, of_data=False)
        note_alignment(workspace, alignment, watch)
        run = Alignments(Aligner(alignment, workspace), first, rest, watch, asked.joint, asked.force, asked.bound)
        for row in run.rows(paths, files):
            results.add("align", row, _COLUMNS)
    return None
