"""`starcli bma`: average predictions over a star domain."""

from typing import Annotated

import typer

from starcli.cli.bma_results import shown_averages
from starcli.cli.figures import PlotOptions
from starcli.cli.framework.command import command
from starcli.cli.options.alignment import AlignedOptions
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.measured import MeasuredSetup
from starcli.cli.options.points import PointOptions
from starcli.cli.options.renormalise import RenormaliseOptions
from starcli.cli.options.shared import (
    RepeatsOpt,
    SeedOpt,
    SourcesOpt,
    SplitOpt,
    StarOpt,
    TemperatureOpt,
)
from starcli.cli.options.values import temperature_of
from starcli.cli.read_models import read_groups
from starcli.errors import need_several


@command(
    "starcli bma --star star.safetensors --sources ckpts/[0-4].safetensors --samples 10",
    "starcli bma --star star.safetensors --sources ckpts/[0-4].safetensors --choose --temperature fit",
    see="docs/how-to/calibrated-averaging.md",
)
def bma_command(
    star: StarOpt,
    sources: SourcesOpt,
    common: CommonPlanned,
    setup: MeasuredSetup,
    figure: PlotOptions,
    how: AlignedOptions,
    activations: RenormaliseOptions,
    points: PointOptions,
    *,
    samples: Annotated[
        int, typer.Option("--samples", min=2, max=1_000_000, help="Largest number of models averaged.")
    ] = 10,
    repeats: RepeatsOpt = 3,
    seed: SeedOpt = 0,
    split: SplitOpt = "test",
    choose: Annotated[
        bool, typer.Option("--choose", help="Choose the number of models on the validation split, in rows of its own.")
    ] = False,
    temperature: TemperatureOpt = None,
) -> None:
    """Average the predictions of models sampled between the star and its sources, against their ensemble.

    A sample is a random point on the line from the star to a random source; the ensemble draws the sources themselves.
    Rows are for 2, 3, ... models, means over the repeats. Every model has its BatchNorm statistics
    re-estimated, so that one alone may differ from what eval says of its file. The loss is `nll` in JSON; below 30
    errors AUROC and AURC are not decided. A temperature is one of the averaged predictions, not of each model; fitted,
    each average of star and ensemble has its own. Better or worse than the ensemble of as many models, or of all
    sources: where the 95% interval of the difference, by paired bootstrap over the examples, is beyond 0.
    """
    from starcli.alignment.measure import Measure
    from starcli.averaging.bma import Draws
    from starcli.averaging.cached import average_rows
    from starcli.evaluation.scoring import Scoring
    from starcli.star.check_sources import check_domain
    from starcli.workspace.workspace import workspace_of

    need_several(sources)
    draws, at = Draws(samples, repeats, seed, points.points()), temperature_of(temperature)
    paint = figure.writer([star, *sources])
    [[model], solutions] = read_groups([star], sources)
    workspace, [model, *solutions] = workspace_of([model, *solutions], setup)
    with common.session(figure.plot) as (watch, results):
        measure = Measure(workspace, how.chosen(seed), split=split, progress=watch, renormalise=activations.between())
        scoring = Scoring(workspace.dataset, split, at, choose)
        workspace.tell_notes(watch)
        check_domain(workspace, model, solutions, watch)
        rows = average_rows(measure, model, solutions, scoring, draws)
        paint(list(shown_averages(rows, draws.points, results)))
