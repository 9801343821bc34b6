"""`starcli train`: train networks from random weights, or from those of a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.results import LOSS, Column
from starcli.cli.options.beginning import BeginningOptions
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.setup import Setup
from starcli.cli.options.shared import (
    EveryOpt,
    ForceRunOpt,
    LogsOpt,
    RecipeOpt,
    SeededOutputOpt,
    SeedOpt,
    SeedsOpt,
    SyncOpt,
)
from starcli.cli.options.training import Training
from starcli.cli.options.values import number_list, seed_list
from starcli.cli.outputs import log_targets, output_paths
from starcli.cli.shared_columns import LOSS_KIND
from starcli.cli.train_jobs import TrainingJobs, kept_path
from starcli.errors import StarcliError
from starcli.files.names import is_standard_stream
from starcli.registry.splits import SPLITS

if TYPE_CHECKING:
    from starcli.checkpoints.metadata import Metadata
    from starcli.recipes.recipe import Recipe

_COLUMNS = (
    Column("output", "checkpoint", "name"),
    Column("seed", "seed", "d"),
    Column("train.loss", "train loss", LOSS),
    *Column.of_metrics("train.{}", "train {}", optional=2),
    Column("validation.loss", "validation loss", LOSS, optional=1),
    *Column.of_metrics("validation.{}", "validation {}"),
    Column("test.loss", "test loss", LOSS, main=True),
    *Column.of_metrics("test.{}", "test {}", main=True),
    LOSS_KIND,
)


@command(
    "starcli train --arch resnet --data digits --seeds 0-7 -o 'ckpts/{seed}.safetensors'",
    "starcli train --init base.safetensors --data mine.npz --reinit 'fc.*' --lr 0.01 -o tuned.safetensors",
    see="docs/tutorial.md",
)
def train_command(
    output: SeededOutputOpt,
    common: CommonPlanned,
    setup: Setup,
    training: Training,
    beginning: BeginningOptions,
    *,
    recipe: RecipeOpt = None,
    seed: SeedOpt = 0,
    seeds: SeedsOpt = None,
    stacked: Annotated[
        bool,
        typer.Option("--stacked", help="Train all seeds at once, small networks much faster; equal but for rounding."),
    ] = False,
    sync_batchnorm: SyncOpt = False,
    checkpoint_every: EveryOpt = None,
    log: LogsOpt = None,
    log_test: Annotated[
        bool, typer.Option("--log-test", help="Log loss and accuracy on the test split, too, after each epoch.")
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="EPOCH...",
            help="Write the network after these epochs, too, such as 10,20: as epoch10/0.safetensors beside it.",
        ),
    ] = None,
    force: ForceRunOpt = False,
) -> None:
    """Train networks, one for each seed, from random weights, or with --init from those of a model.

    Settings come from the recipe, each can be set by a flag. A stopped run goes on when the same line is typed again;
    the loss of every epoch is kept beside the checkpoint, in 0.metrics.jsonl for 0.safetensors (--log: elsewhere, too).
    """
    from starcli.recipes.recipe import DEFAULT, load_recipe
    from starcli.training.class_weights import note_class_weights

    if stacked:
        _refuse_with_stacked(sync_batchnorm=sync_batchnorm, log_test=log_test, keep=keep is not None)
    targets = log_targets(log, output)
    said = beginning.recipe(recipe)
    chosen = training.over(said or load_recipe(DEFAULT))
    numbers = seed_list(seeds, seed)
    epochs = _kept_epochs(keep, chosen, output, beginning.start_epoch)
    paths = output_paths(output, [{"seed": number} for number in numbers], beginning.inputs)
    workspace, start = beginning.opened(setup, chosen)
    with common.session(output) as (watch, results):
        workspace.tell_notes(watch)
        if said is None:
            watch.note(f"the default recipe is used: {chosen.summary(without=training.said)}")
        note_class_weights(chosen, workspace.dataset, watch)
        jobs = TrainingJobs(workspace, chosen, watch, start, stacked, sync_batchnorm, log_test, epochs)
        how: dict[str, Any] = {"force": force, "logs": targets, "save_every": checkpoint_every}
        for job in jobs.all(dict(zip(numbers, paths, strict=True)), **how):
            results.add("train", _row(job.path, job.finished, epochs), _COLUMNS)


def _refuse_with_stacked(*, sync_batchnorm: bool, log_test: bool, keep: bool) -> None:
    """StarcliError for what a stack of networks cannot do."""
    if sync_batchnorm:
        raise StarcliError("--sync-batchnorm: of --stacked networks each is trained by one rank alone")
    if log_test:
        raise StarcliError("--log-test: --stacked networks are measured when they are finished")
    if keep:
        raise StarcliError("--keep: --stacked networks are written when they are finished")


def _kept_epochs(words: list[str] | None, recipe: "Recipe", output: Path, start_epoch: int) -> list[int]:
    """The epochs of `--keep`."""
    from starcli.training.train import kept_epochs

    if words is None:
        return []
    if is_standard_stream(output):
        raise StarcliError("--keep: a model that goes to stdout is written when it is finished")
    return kept_epochs(number_list(words, "--keep", "an epoch"), recipe, start_epoch)


def _row(output: Path, metadata: "Metadata", kept: Sequence[int]) -> dict[str, Any]:
    """What is shown of a trained network: taken from its file, so that a finished one is shown again just so."""
    from starcli.workspace.stamp import task_facts

    return {
        "output": str(output),
        "seed": metadata.seed,
        "arch": metadata.architecture.name if metadata.architecture else None,
        "data": metadata.data.name if metadata.data else None,
        **(task_facts(metadata.data.task_name) if metadata.data else {}),
        **{split: (metadata.metrics or {}).get(split) for split in SPLITS},
        **({"kept": [str(kept_path(output, epoch)) for epoch in kept]} if kept else {}),
    }
