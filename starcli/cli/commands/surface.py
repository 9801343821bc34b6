"""`starcli surface`: measure the loss around a model along two random directions."""

from typing import Annotated

import typer

from starcli.cli.figures import PlotOptions
from starcli.cli.framework.command import command
from starcli.cli.landscape_results import show_landscape
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.measured import EvalSetup
from starcli.cli.options.shared import GridOpt, ModelArg, SeedOpt, SplitOpt
from starcli.cli.read_models import read_groups


@command(
    "starcli surface star.safetensors --plot surface.png",
    "starcli surface a.safetensors --points 41 --radius 0.5 --seed 1 --json > a.jsonl",
    see="docs/how-to/curves-and-planes.md",
)
def surface_command(
    model: ModelArg,
    common: CommonPlanned,
    setup: EvalSetup,
    figure: PlotOptions,
    *,
    points: GridOpt = 21,
    radius: Annotated[float, typer.Option("--radius", help="How far the grid goes, in both directions.")] = 1.0,
    seed: SeedOpt = 0,
    split: SplitOpt = "test",
) -> None:
    """Measure the loss around a model along two random directions, on the training split and on --split.

    The directions are normalised filter by filter: each filter of a direction has the norm of the model's (Li et al.
    2018), so that networks of different scales can be compared; biases and scales of norms stay. BatchNorm statistics
    are re-estimated at every point. A stopped line goes on where it was when it is typed again.
    """
    from starcli.alignment.measure import Measure
    from starcli.landscape.measure import surface_landscape
    from starcli.workspace.workspace import workspace_of

    paint = figure.writer([model])
    with common.session(figure.plot) as (watch, results):
        [files] = read_groups([model])
        workspace, given = workspace_of(files, setup)
        measure = Measure(workspace, points=points, split=split, progress=watch)
        workspace.tell_notes(watch)
        found = surface_landscape(measure, given[0], radius=radius, seed=seed)
        show_landscape("surface", found, measure, results, paint)
