"""`starcli barrier`: measure how far the loss rises on straight lines between models."""

from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer

from starcli.cli.barrier_models import BarrierModels
from starcli.cli.barrier_results import BarrierResults
from starcli.cli.figures import PlotOptions
from starcli.cli.framework.command import command
from starcli.cli.options.alignment import SelectOptions
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.measured import MeasuredSetup
from starcli.cli.options.renormalise import RenormaliseOptions
from starcli.cli.options.shared import PointsOpt, SeedOpt, SplitOpt, StatisticsOpt
from starcli.cli.read_models import grouped_like
from starcli.errors import StarcliError

COARSEST = 1e-3
"""The least tolerance that losses measured in bf16 or tf32 can be held against, in nats."""

TOLERANCES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Of the share of stars, in nats, where none are given."""


@command(
    "starcli barrier a.safetensors b.safetensors --align weight --restarts 10 --plot ab.png",
    "starcli barrier --star star.safetensors --sources [0-4].safetensors --held-out [5-7].safetensors --align weight",
    see="docs/how-to/reading-a-barrier.md",
)
def barrier_command(
    common: CommonPlanned,
    setup: MeasuredSetup,
    given: BarrierModels,
    figure: PlotOptions,
    how: SelectOptions,
    activations: RenormaliseOptions,
    *,
    seed: SeedOpt = 0,
    points: PointsOpt = 11,
    statistics: StatisticsOpt = "recalibrate",
    split: SplitOpt = "test",
    epsilon: Annotated[
        list[float] | None,
        typer.Option("--epsilon", metavar="E...", help="Tolerances for the share of models that are stars."),
    ] = None,
) -> None:
    """Measure how far the loss rises on the straight line between models.

    The barrier is the largest rise of the loss above the straight line between the losses of the ends, on the training
    split and on --split. Models are taken as they are unless --align is given, the end of a curve as when it was
    trained.

    A and B: their line, or with --curve the path by way of its bends. A and several B: from A to each. --all-pairs:
    every pair, and the share of models that are stars.

    With --star, --sources and --held-out: is it a star? It is if the barriers from it to held-out models
    (star-held-out) are clearly below those between two ordinary models (regular-regular: each of H held-out models with
    max(H, 2) sources, the next ones for each, all where there are no more); star-source are the lines that it was
    trained on.

    The 95% interval of a mean counts models, not pairs: mean ± t(df) × standard error by leaving out each model in
    turn, cut at 0, for independent, near normal models and a fixed star or first model; below 3 models there is none.
    """
    paint = figure.writer(given.paths)
    given.check(how.align)
    _check_tolerances(epsilon or (), setup.precision, all_pairs=given.all_pairs)
    with common.session(figure.plot) as (watch, results):
        from starcli.alignment.measure import Measure
        from starcli.alignment.notes import note_alignment
        from starcli.barriers.bends import Bends
        from starcli.workspace.workspace import workspace_of

        groups = given.read()
        workspace, models = workspace_of([model for group in groups for model in group], setup)
        groups = grouped_like(groups, models)
        bends = Bends.of(groups[1] if given.curve else [], watch)
        settings = (points, cast(Any, statistics), split, watch, activations.between())
        measure = Measure(workspace, how.along(bends, groups[0], seed), *settings)
        workspace.tell_notes(watch)
        unsaid = bends.unsettled(groups[0]) if how.align is None else ()
        note_alignment(workspace, measure.alignment, watch, unsaid=unsaid)
        activations.note_repaired(workspace, watch)
        show = BarrierResults(measure, results, paint, said=how.align is not None)
        if given.star is not None:
            show.star(*groups)
        elif given.all_pairs:
            show.all_pairs(groups[0], epsilon or TOLERANCES)
        else:
            show.to_each(groups[0], bends)


def _check_tolerances(given: Sequence[float], precision: str, *, all_pairs: bool) -> None:
    if wrong := [each for each in given if not 0 <= each < float("inf")]:
        raise StarcliError(f"--epsilon {wrong[0]:g}: a tolerance is a number from 0 up")
    if given and not all_pairs:
        raise StarcliError("--epsilon is for the share of stars among --all-pairs, which is missing")
    if precision != "fp32" and given and min(given) < COARSEST:
        raise StarcliError(f"--epsilon {min(given):g}: {precision} tells losses apart to {COARSEST:g}; fp32 is finer")
