"""The run of `curve`: its options, a file for each bend, one training for all."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import bundle
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.job import Job
from starcli.cli.options.alignment import SelectOptions
from starcli.cli.options.setup import Setup
from starcli.cli.options.shared import IN, OUT, EveryOpt, ForceRunOpt, LogsOpt, RecipeOpt, SeedOpt, SyncOpt, choice_in
from starcli.cli.options.training import Training, recipe_by_flags
from starcli.cli.outputs import log_targets, output_paths
from starcli.cli.read_models import read_groups
from starcli.registry.curve_forms import CURVE_FORMS
from starcli.registry.splits import SPLITS

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.curves.settings import CurveSettings
    from starcli.recipes.recipe import Recipe
    from starcli.workspace.workspace import Workspace


@bundle
@dataclass(frozen=True, kw_only=True)
class CurveOptions(SelectOptions):
    """Which models are connected, by what curve, beside the settings of training."""

    a: Annotated[Path, typer.Argument(metavar="A", help="The model that the curve begins at."), IN]
    b: Annotated[Path, typer.Argument(metavar="B", help="The model that it ends at."), IN]
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="File to write; {k} numbers several bends, {seed} varies."),
        OUT,
    ]
    form: Annotated[
        str,
        typer.Option(
            "--form", help="bezier, or polygon: straight from bend to bend.", **choice_in("form", CURVE_FORMS)
        ),
    ] = "bezier"
    bends: Annotated[int, typer.Option("--bends", min=1, help="Models between the ends, which are trained.")] = 1
    recipe: RecipeOpt = None
    seed: SeedOpt = 0
    sync_batchnorm: SyncOpt = False
    checkpoint_every: EveryOpt = None
    log: LogsOpt = None
    force: ForceRunOpt = False

    def outputs(self) -> list[Path]:
        """The file of each bend."""
        values = [{"k": number, "seed": self.seed} for number in range(1, self.bends + 1)]
        return output_paths(self.output, values, [self.a, self.b])


@dataclass
class CurveRun:
    """One command's training of a curve."""

    options: CurveOptions
    setup: Setup
    training: Training
    watch: Bars

    def all(self) -> Iterator[dict[str, Any]]:
        """Make the files that are not there yet; rows of all, in the order of the bends."""
        jobs = self._jobs(self.options.outputs())
        with contextlib.ExitStack() as held:
            # the first one last: each has the log of what is made from then on
            needed = [job for job in reversed(jobs) if held.enter_context(job.making())]
            if needed:
                self._make(jobs, needed)
        label = self.settings.alignment.label(*self.ends)
        for number, job in enumerate(jobs, start=1):
            yield {"bend": number, **self._row(job), "alignment": label}

    @cached_property
    def settings(self) -> "CurveSettings":
        """How the models are connected."""
        from starcli.curves.settings import CurveSettings

        asked, how = self.options, self.options.chosen(self.options.seed)
        return CurveSettings(form=asked.form, bends=asked.bends, alignment=how, sync_batchnorm=asked.sync_batchnorm)

    @cached_property
    def _files(self) -> "list[Checkpoint]":
        [files] = read_groups([self.options.a, self.options.b])
        return files

    @cached_property
    def _opened(self) -> "tuple[Workspace, list[Checkpoint]]":
        from starcli.workspace.workspace import workspace_of

        return workspace_of(self._files, self.setup)

    @property
    def workspace(self) -> "Workspace":
        """The workspace that both ends share."""
        return self._opened[0]

    @property
    def ends(self) -> "tuple[Checkpoint, Checkpoint]":
        """The models that are connected, as their network has them."""
        first, last = self._opened[1]
        return first, last

    @cached_property
    def recipe(self) -> "Recipe":
        """The ends' own recipe unless one is named; flags win."""
        from starcli.recipes.recipe import load_recipe
        from starcli.workspace.plan import inherited_recipe

        named = self.options.recipe
        base = load_recipe(named) if named else inherited_recipe(self._files)
        return recipe_by_flags(base, self.training, self.workspace, self.watch)

    def _jobs(self, paths: Sequence[Path]) -> list[Job]:
        """A job for each bend; the run's log and state lie beside the first that is made."""
        from starcli.alignment.notes import note_alignment
        from starcli.evaluation.rows import note_repeats
        from starcli.library.plans import curve_plans

        plans = curve_plans(self.workspace, self.ends, self.recipe, self.options.seed, self.settings)
        self.workspace.tell_notes(self.watch, of_data=False)
        note_repeats(self.workspace, self.workspace.dataset.measured, self.watch)
        unsaid = self.ends if self.options.align is None else ()
        note_alignment(self.workspace, self.settings.alignment, self.watch, unsaid=unsaid)
        logs = log_targets(self.options.log, self.options.output)
        how: dict[str, Any] = {"force": self.options.force, "save_every": self.options.checkpoint_every}
        return [
            Job(path, plan, self.watch, logs=() if number else logs, **how)
            for number, (path, plan) in enumerate(zip(paths, plans, strict=True))
        ]

    def _make(self, jobs: Sequence[Job], needed: Sequence[Job]) -> None:
        """Train, and write the files that are `needed`, of which the last one has the run's state and log."""
        from starcli.curves.curve import train_curve

        found = train_curve(
            self.workspace,
            self.ends,
            self.recipe,
            self.options.seed,
            self.settings,
            state=needed[-1].state,
            progress=self.watch,
        )
        made = dict(zip(jobs, zip(found.bends, found.metrics, strict=True), strict=True))
        for job in needed:
            tensors, metrics = made[job]
            history = found.history if job is needed[-1] else ()
            job.write(tensors, metrics=metrics, statistics="recalibrated", history=history)

    def _row(self, job: Job) -> dict[str, Any]:
        """What is shown of a bend, taken from its file."""
        from starcli.workspace.stamp import task_facts

        metrics, data = job.finished.metrics or {}, job.finished.data
        return {
            "output": str(job.path),
            "form": self.options.form,
            "bends": self.options.bends,
            "seed": job.finished.seed,
            **(task_facts(data.task_name) if data else {}),
            "curve": {"loss": metrics.get("curve", {}).get("loss")},
            **{split: metrics.get(split) for split in SPLITS},
        }
