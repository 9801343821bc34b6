"""`starcli predict`: write what models predict for each example."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from starcli.cli.content_file import ContentFile
from starcli.cli.framework.command import command
from starcli.cli.framework.results import LOSS, Column
from starcli.cli.options.common import CommonCached
from starcli.cli.options.measured import MeasuredSetup
from starcli.cli.options.shared import ONE_OUT, ForceOpt, RecalibrateOpt, choice_of, words_of
from starcli.cli.options.values import temperature_of
from starcli.cli.predict_models import PredictModels
from starcli.cli.shared_columns import PRECISION, RENORMALISED
from starcli.registry.splits import SPLITS

_COLUMNS = (
    Column("model", "model", "name"),
    Column("count", "examples", "d"),
    *Column.of_metrics("{}", "{}", main=True),
    Column("entropy", "mean entropy", LOSS, main=True),
    Column("mutual_information", "mutual information", LOSS),
    Column("temperature", "T", ".3f"),
    Column("alignment", "alignment", common=True),
    RENORMALISED,
    PRECISION,
    Column("output", "output", "name", common=True),
)


@command(
    "starcli predict model.safetensors --data folder:new_images -o predictions.csv",
    "starcli predict --ensemble ckpts/*.safetensors --split test -o predictions.npz",
    see="docs/files.md#data",
)
def predict_command(
    asked: PredictModels,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="File to write: .csv, .npz or .parquet; - is stdout."),
        ONE_OUT,
    ],
    common: CommonCached,
    setup: MeasuredSetup,
    *,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Of labelled data: train, validation or test (the default).",
            **choice_of("split", *SPLITS),
        ),
    ] = None,
    recalibrate: RecalibrateOpt = False,
    temperature: Annotated[
        str | None,
        typer.Option(
            "--temperature",
            metavar="T|fit",
            help="Temperature of the probabilities; fit: the one with the least loss on the validation split.",
            autocompletion=words_of("fit"),
        ),
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Write probabilities, the predicted class and the entropy (nats) for each example.

    What is predicted on is the models' own test split, or --data: a data set, a folder of images without class folders,
    an .npz file of images alone. Inputs are sized and normalised as the models record. Several models: each one's
    predictions, or --ensemble. --star and --sources: the mean over points of the star domain, all with BatchNorm
    statistics re-estimated. Of a mean also the mutual information (nats): how much its models disagree.
    """
    from starcli.averaging.predict import Predictor
    from starcli.averaging.predict_inputs import open_inputs
    from starcli.evaluation.prediction_files import check_file_names, prediction_format
    from starcli.workspace.stamp import short_hashes

    asked.check()
    file = ContentFile(output, "predictions.csv", asked.paths, force=force)
    heat, pieces = temperature_of(temperature), prediction_format(output)
    workspace, models, inputs = open_inputs(asked.read(), setup, split)
    check_file_names(output, inputs.file)
    with common.session(output) as (watch, results):
        file.note_before(watch)
        workspace.tell_notes(watch)
        found = asked.ask(Predictor(workspace, inputs, recalibrate, heat, watch), models)
        file.write(partial(pieces, found), watch)
        for number, row in enumerate(found.summaries()):
            origin = models if len(found.model) == 1 else [models[number]]
            facts = {"output": str(output), **asked.how(models), "weights": short_hashes(origin)}
            results.add("predict", {**row, **facts, "precision": workspace.precision}, _COLUMNS)
