"""`starcli plane`: measure the loss on the plane through three models."""

from pathlib import Path
from typing import Annotated

import typer

from starcli.cli.figures import PlotOptions
from starcli.cli.framework.command import command
from starcli.cli.landscape_results import show_landscape
from starcli.cli.options.alignment import SelectOptions
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.measured import MeasuredSetup
from starcli.cli.options.shared import IN, CurveOpt, GridOpt, SeedOpt, SplitOpt
from starcli.cli.read_models import grouped_like, read_groups


@command(
    "starcli plane a.safetensors b.safetensors c.safetensors --align activation --plot plane.png",
    "starcli plane a.safetensors b.safetensors --curve bend.safetensors --plot curve.png",
    see="docs/how-to/curves-and-planes.md",
)
def plane_command(
    models: Annotated[list[Path], typer.Argument(metavar="A B [C]", help="The models that it goes through."), IN],
    common: CommonPlanned,
    setup: MeasuredSetup,
    figure: PlotOptions,
    how: SelectOptions,
    *,
    curve: CurveOpt = None,
    points: GridOpt = 21,
    margin: Annotated[
        float, typer.Option("--margin", min=0, help="How far it goes beyond models and curve, of their extent.")
    ] = 0.2,
    seed: SeedOpt = 0,
    split: SplitOpt = "test",
) -> None:
    """Measure the loss on the plane through three models, on the training split and on --split.

    A is the origin, B lies on the x axis, C above it; x and y are L2 distances in weight space. With --curve the way of
    a curve from A to B is drawn, and without C the plane goes through its first bend. A curve that leaves the plane, as
    one of several bends or on a plane through another C, is drawn dotted where it comes nearest: the losses there are
    the plane's, those of the curve are found by starcli barrier A B --curve. BatchNorm statistics are re-estimated at
    every point. Models are taken as they are unless --align brings the others to A, the end of a curve
    as when it was trained. A stopped line goes on where it was when it is typed again.
    """
    from starcli.alignment.measure import Measure
    from starcli.alignment.notes import note_alignment
    from starcli.barriers.bends import Bends
    from starcli.landscape.measure import check_plane, plane_landscape
    from starcli.workspace.workspace import workspace_of

    paint = figure.writer([*models, *(curve or ())])
    with common.session(figure.plot) as (watch, results):
        files = read_groups(models, curve or (), distinct=False)
        workspace, opened = workspace_of([*files[0], *files[1]], setup)
        given, bent = grouped_like(files, opened)
        bends = Bends.of(bent, watch)
        check_plane(given, bends, margin)
        alignment = how.along(bends, given[:2], seed)
        measure = Measure(workspace, alignment, points, split=split, progress=watch)
        workspace.tell_notes(watch)
        note_alignment(workspace, alignment, watch, unsaid=bends.unsettled(given) if how.align is None else ())
        found = plane_landscape(measure, given, margin=margin, bends=bends)
        show_landscape("plane", found, measure, results, paint)
