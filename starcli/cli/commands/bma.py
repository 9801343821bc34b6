"""`starcli bma`: average predictions over a star domain."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from starcli.cli.figures import PlotOptions
from starcli.cli.framework.command import command
from starcli.cli.framework.results import LOSS, SHARE, Column
from starcli.cli.options.alignment import AlignedOptions
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.points import PointOptions
from starcli.cli.options.renormalise import RenormaliseOptions
from starcli.cli.options.setup import LinesSetup
from starcli.cli.options.shared import (
    RepeatsOpt,
    SeedOpt,
    SourcesOpt,
    SplitOpt,
    StarOpt,
    TemperatureOpt,
)
from starcli.cli.options.values import temperature_of
from starcli.cli.read_models import note_data, read_groups
from starcli.cli.shared_columns import LOSS_KIND, PRECISION, RENORMALISED
from starcli.errors import need_several
from starcli.evaluation.renormalise import RECALIBRATE

_COLUMNS = (
    Column("posterior", "posterior"),
    Column("split", "split", common=True),
    Column("samples", "samples", "d", main=True),
    Column("accuracy", "accuracy", SHARE, main=True),
    Column("accuracy_std", "±", SHARE, optional=5),
    Column("loss", "loss", LOSS, main=True),
    Column("loss_std", "±", LOSS, optional=6),
    *(each for each in Column.of_metrics("{}", "{}") if each.key != "accuracy"),
    Column("nll", "loss", LOSS, main=True),
    Column("nll_std", "±", LOSS, optional=6),
    Column("brier", "Brier", LOSS, optional=4),
    Column("ece", "ECE", LOSS, optional=2),
    Column("auroc_max_prob", "AUROC", ".3f", optional=3),
    Column("aurc", "AURC", LOSS, optional=7),
    Column("verdict", "than ensemble"),
    Column("temperature", "T", ".3f"),
    Column("scaled.nll", "loss at T", LOSS),
    Column("scaled.ece", "ECE at T", LOSS, optional=1),
    Column("scaled_verdict", "than ensemble at T"),
    Column("sampling", "t", usual="uniform"),
    Column("in_turn", "in turn", usual="no"),
    Column("validation_nll", "validation loss", LOSS),
    Column("validation_loss", "validation loss", LOSS),
    Column("alignment", "alignment", common=True),
    RENORMALISED,
    PRECISION,
    LOSS_KIND,
)


@command(
    "starcli bma --star star.safetensors --sources ckpts/[0-4].safetensors --samples 10",
    "starcli bma --star star.safetensors --sources ckpts/[0-4].safetensors --choose --temperature fit",
    see="docs/tutorial.md",
)
def bma_command(
    star: StarOpt,
    sources: SourcesOpt,
    common: CommonPlanned,
    setup: LinesSetup,
    figure: PlotOptions,
    how: AlignedOptions,
    activations: RenormaliseOptions,
    points: PointOptions,
    *,
    samples: Annotated[int, typer.Option("--samples", min=2, help="Largest number of models averaged.")] = 10,
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
    from starcli.averaging.cached import posterior_rows
    from starcli.evaluation.scoring import Scoring
    from starcli.star.check_sources import check_domain
    from starcli.workspace.stamp import stamps
    from starcli.workspace.workspace import workspace_of

    need_several(sources)
    drawn, at = points.points(), temperature_of(temperature)
    draws: dict[str, Any] = {"samples": samples, "repeats": repeats, "seed": seed, "points": drawn}
    paint = figure.writer([star, *sources])
    [[model], solutions] = read_groups([star], sources)
    workspace, [model, *solutions] = workspace_of([model, *solutions], setup, measures=True)
    with common.session() as (watch, results):
        measure = Measure(workspace, how.chosen(seed), split=split, progress=watch, renormalise=activations.between())
        scoring = Scoring(workspace.dataset, split, at, choose)
        note_data(workspace, watch)
        check_domain(workspace, model, solutions, watch)
        activations.note_repaired(workspace, watch)
        rows = posterior_rows(measure, model, solutions, scoring, **draws)
        alignment, stamp = measure.alignment.labels((model, each) for each in solutions), stamps(workspace)
        # a row rests on what its posterior is made from; only the star's has points between models
        made, found = {"star": ([model, *solutions], measure.renormalise, drawn.settings())}, []
        for each in rows:
            models, between, law = made.get(each.posterior, (solutions, RECALIBRATE, {}))
            row = {"split": split, **each.to_dict(), "alignment": alignment, "statistics": "recalibrate"}
            row |= {"renormalise": between.title, **stamp(models), **law}
            found.append({"type": "bma", **row})
            results.add("bma", row if results.for_programs else _for_people(row), _COLUMNS)
        paint(found)


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose posterior says if its number of models was chosen, with a word on it beside the ensemble."""
    from starcli.evaluation.confidence import mark_undecided

    posterior = row["posterior"] + (", chosen" if row.get("selected_on") else "")
    models = row.get("ensemble_samples")
    of = "" if models in (None, row["samples"]) else f"of {models}, "
    verdicts = {f"{kind}verdict": _verdict(row.get(f"{kind}against_ensemble"), of) for kind in ("", "scaled_")}
    return {**mark_undecided(row), "posterior": posterior, **verdicts}


def _verdict(differences: Mapping[str, Any] | None, of: str = "") -> str | None:
    """Which metrics are better or worse than the ensemble's; `of` says which ensemble.

    >>> _verdict({"accuracy": {"verdict": "not decided"}, "nll": {"verdict": "worse"}, "aurc": {"verdict": "worse"}})
    'worse: loss, AURC'
    """
    if differences is None:
        return None
    names = {"accuracy": "accuracy", "nll": "loss", "brier": "Brier", "ece": "ECE"}
    names |= {"auroc_max_prob": "AUROC", "aurc": "AURC"}
    found = {
        verdict: [names[metric] for metric, each in differences.items() if each["verdict"] == verdict]
        for verdict in ("better", "worse")
    }
    return of + ("; ".join(f"{word}: {', '.join(some)}" for word, some in found.items() if some) or "not decided")
