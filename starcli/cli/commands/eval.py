"""`starcli eval`: measure models as they are."""

from typing import Annotated

import typer

from starcli.cli.figures import PlotOptions
from starcli.cli.framework.command import command
from starcli.cli.framework.results import LOSS, SHARE, Column
from starcli.cli.options.common import Common
from starcli.cli.options.measured import EvalSetup
from starcli.cli.options.shared import ModelsArg, RecalibrateOpt, TemperatureOpt, choice_of
from starcli.cli.options.values import temperature_of
from starcli.cli.read_models import read_groups
from starcli.cli.shared_columns import LOSS_KIND, PRECISION
from starcli.errors import StarcliError
from starcli.registry.splits import SPLITS

_COLUMNS = (
    Column("model", "model", "name"),
    Column("split", "split", common=True),
    *Column.of_metrics("{}", "{}", main=True),
    Column("errors", "errors", "d", optional=1),
    Column("nll", "loss", LOSS, main=True),
    Column("loss", "loss", LOSS, main=True),
    Column("mae", "MAE", LOSS, optional=2),
    Column("auroc", "AUROC", ".3f", optional=2),
    Column("average_precision", "mean AP", ".3f", optional=2),
    Column("subset_accuracy", "all right", SHARE, optional=3),
    Column("perplexity", "perplexity", ".3f", optional=2),
    Column("brier", "Brier", LOSS, optional=5),
    Column("ece", "ECE", LOSS, optional=3),
    Column("auroc_max_prob", "AUROC", ".3f", optional=4),
    Column("aurc", "AURC", LOSS, optional=6),
    Column("temperature", "T", ".3f"),
    Column("scaled.nll", "loss at T", LOSS),
    Column("scaled.ece", "ECE at T", LOSS, optional=2),
    Column("statistics", "BatchNorm", common=True),
    PRECISION,
    LOSS_KIND,
)


@command(
    "starcli eval ckpts/*.safetensors --split test",
    "starcli eval a.safetensors b.safetensors --temperature fit --plot reliability.png",
    see="docs/contracts.md#json-objects",
)
def eval_command(
    models: ModelsArg,
    common: Common,
    setup: EvalSetup,
    figure: PlotOptions,
    *,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="train, validation or test.",
            **choice_of("split", *SPLITS),
        ),
    ] = "test",
    recalibrate: RecalibrateOpt = False,
    temperature: TemperatureOpt = None,
) -> None:
    """Measure models: accuracy, loss, calibration, and how well their confidence tells right from wrong.

    The loss (`nll` in JSON) is the mean cross-entropy in nats; accuracies are shares; of next tokens both are means
    over tokens, and perplexity is exp(loss). Of numbers the loss is the mean squared error, of labels the mean binary
    cross-entropy, each with its own metrics. AUROC and AURC judge the confidence, and are not decided below 30 errors.
    A temperature T divides the logits, which changes the confidence and no prediction; it is never
    fitted on the split that it is reported on, unless that is the validation split.
    """
    from starcli.evaluation.confidence import mark_undecided
    from starcli.evaluation.rows import evaluation_rows
    from starcli.plots.rows import no_reliability
    from starcli.workspace.workspace import workspace_of

    heat = temperature_of(temperature)
    paint = figure.writer(models)
    [checkpoints] = read_groups(models, distinct=False)
    workspace, checkpoints = workspace_of(checkpoints, setup)
    if figure.plot is not None and (words := no_reliability(workspace.dataset.task)):
        raise StarcliError(f"--plot: {words}")
    with common.session(figure.plot) as (watch, results):
        workspace.tell_notes(watch)
        found = evaluation_rows(
            workspace, checkpoints, split=split, recalibrate=recalibrate, temperature=heat, progress=watch
        )
        drawn = []
        for row in found:
            drawn.append({"type": "eval", **row})
            results.add("eval", row if results.for_programs else mark_undecided(row), _COLUMNS)
        paint(drawn)
