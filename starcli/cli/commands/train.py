"""`starcli train`: train networks from random weights."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.framework.results import LOSS, Column
from starcli.cli.job import Job
from starcli.cli.options.common import CommonPlanned
from starcli.cli.options.setup import Setup
from starcli.cli.options.shared import EveryOpt, ForceOpt, LogsOpt, OutputOpt, RecipeOpt, SeedOpt, SeedsOpt, SyncOpt
from starcli.cli.options.training import Training
from starcli.cli.options.values import seed_list
from starcli.cli.outputs import log_targets, output_paths
from starcli.cli.read_models import note_data
from starcli.cli.shared_columns import LOSS_KIND
from starcli.errors import StarcliError
from starcli.files.cache import hash_json
from starcli.files.state import StateFile

if TYPE_CHECKING:
    from starcli.checkpoints.metadata import Metadata
    from starcli.recipes.recipe import Recipe
    from starcli.workspace.workspace import Workspace

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

STACK = "stack"
"""What a state of a stack keeps the run ids of its networks under."""


@command(
    "starcli train --arch resnet --data digits --seeds 0-7 -o 'ckpts/{seed}.safetensors'",
    "starcli train --recipe paper/resnet18-cifar10 --data-dir data --seed 0 -o r18.safetensors",
    see="docs/tutorial.md",
)
def train_command(
    output: OutputOpt,
    common: CommonPlanned,
    setup: Setup,
    training: Training,
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
    force: ForceOpt = False,
) -> None:
    """Train networks from random weights, one for each seed.

    Settings come from the recipe, each can be set by a flag. A stopped run goes on when the same line is typed again;
    the loss of every epoch is kept beside the checkpoint, in 0.metrics.jsonl for 0.safetensors (--log: elsewhere, too).
    """
    from starcli.library.plans import spec_record
    from starcli.recipes.recipe import DEFAULT, load_recipe
    from starcli.runtime import distributed
    from starcli.training.class_weights import note_class_weights
    from starcli.workspace.plan import plan_of
    from starcli.workspace.workspace import new_workspace

    if stacked and sync_batchnorm:
        raise StarcliError("--sync-batchnorm: of --stacked networks each is trained by one rank alone")
    if stacked and log_test:
        raise StarcliError("--log-test: --stacked networks are measured when they are finished")
    targets = log_targets(log, output)
    chosen = training.over(load_recipe(recipe or DEFAULT))
    numbers = seed_list(seeds) if seeds else [seed]
    paths = output_paths(output, [{"seed": number} for number in numbers])
    workspace = new_workspace(setup.behind(chosen))
    with common.session(output) as (watch, results):
        note_data(workspace, watch)
        if recipe is None:
            watch.note(f"the default recipe is used: {training.defaults_of(chosen)}")
        note_class_weights(chosen, workspace.dataset, watch)
        spec = spec_record(workspace, watch)
        shared = distributed.size() if len(numbers) == 1 else 1
        settings = {**chosen.settings(), **_beyond_rounding(stacked, shared, sync_batchnorm)}
        plans = [plan_of(workspace, "model", settings, seed=number, spec=spec) for number in numbers]
        jobs = [Job(path, wanted, watch, force=force, logs=targets) for path, wanted in zip(paths, plans, strict=True)]
        work = TrainingJobs(workspace, chosen, checkpoint_every, sync_batchnorm, watch, log_test)
        for job in work.stacked(jobs) if stacked else work.each(jobs):
            results.add("train", row(str(job.path), job.finished), _COLUMNS)


def _beyond_rounding(stacked: bool, ranks: int, sync_batchnorm: bool) -> dict[str, Any]:
    """What changes the result beyond rounding, or is asked for: part of the plan. `ranks` share one network."""
    if stacked:
        return {"train": {"stacked": True}}
    if ranks == 1:
        return {}
    return {"train": {"pieces": ranks, **({"sync_batchnorm": True} if sync_batchnorm else {})}}


@dataclass(frozen=True)
class TrainingJobs:
    """How the networks of several seeds are trained."""

    workspace: "Workspace"
    recipe: "Recipe"
    checkpoint_every: float | None
    sync_batchnorm: bool
    watch: Bars
    log_test: bool = False

    def each(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """One after the other; ranks deal several out and share a single one."""
        from starcli.runtime import sharing

        return told(jobs, sharing.deal(jobs, self._one) if len(jobs) > 1 else map(self._one, jobs))

    def stacked(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """All at once; each rank its part of them."""
        from starcli.runtime import sharing

        return told(jobs, sharing.share_list(jobs, self._stack))

    def _one(self, job: Job) -> "Metadata":
        from starcli.training.train import train_network

        with job.making() as needed:
            if needed:
                seed, every = job.plan.seed or 0, self.checkpoint_every
                found = train_network(
                    self.workspace, self.recipe, seed, state=job.state, checkpoint_every=every,
                    sync_batchnorm=self.sync_batchnorm, log_test=self.log_test, progress=self.watch,
                )  # fmt: skip
                job.write(found.tensors, history=found.history, metrics=found.metrics)
        return job.finished

    def _stack(self, jobs: Sequence[Job]) -> "list[Metadata]":
        from starcli.training.stacked import train_stacked

        with contextlib.ExitStack() as held:
            missing = [job for job in jobs if held.enter_context(job.making())]
            self.watch.log = None  # a row of the stack is of all networks; each log is written at the end
            if missing:
                stack = jobs_of_stack(jobs, missing)
                seeds, state = [job.plan.seed or 0 for job in stack], stack_state(stack, missing)
                trained = train_stacked(
                    self.workspace, self.recipe, seeds, state=state, checkpoint_every=self.checkpoint_every,
                    progress=self.watch,
                )  # fmt: skip
                works = dict(zip((job.path for job in stack), trained, strict=True))
                # the state of all lies beside the first of them and goes when that is written: last
                for job in (*missing[1:], missing[0]):
                    found = works[job.path]
                    job.write(found.tensors, history=found.history, metrics=found.metrics)
        return [job.finished for job in jobs]


def jobs_of_stack(jobs: Sequence[Job], missing: Sequence[Job]) -> Sequence[Job]:
    """The networks to train at once: those that are missing, and those that a killed run wrote before it was killed.

    Only together with these are they what its state is of, and give the same bytes.
    """
    recorded = StateFile(missing[0].path, "").recorded_facts()
    ids = recorded.get(STACK) if isinstance(recorded, Mapping) else None
    known = {job.plan.run_id: job for job in jobs}
    if isinstance(ids, list) and {job.plan.run_id for job in missing} <= set(map(str, ids)) <= known.keys():
        return [known[one] for one in ids]
    return missing


def stack_state(stack: Sequence[Job], missing: Sequence[Job]) -> StateFile | None:
    """The state of a stack, which says whose it is; nowhere when the output is stdout."""
    holder = missing[0]
    if holder.state is None:
        return None
    ids = [job.plan.run_id for job in stack]
    return StateFile(holder.path, hash_json(ids), force=holder.force, facts={STACK: ids})


def told(jobs: Sequence[Job], finished: "Iterable[Metadata]") -> Iterator[Job]:
    """The jobs, each with what the rank that did it wrote."""
    for job, metadata in zip(jobs, finished, strict=True):
        job.metadata = metadata
        yield job


def row(output: str, metadata: "Metadata") -> dict[str, Any]:
    """What is shown of a trained network: taken from its file, so that a finished one is shown again just so."""
    from starcli.workspace.stamp import task_facts

    return {
        "output": output,
        "seed": metadata.seed,
        "arch": metadata.architecture.name if metadata.architecture else None,
        "data": metadata.data.name if metadata.data else None,
        **(task_facts(metadata.data.task_name) if metadata.data else {}),
        **{split: (metadata.metrics or {}).get(split) for split in ("train", "validation", "test")},
    }
