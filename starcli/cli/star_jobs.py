"""Runs of `star`, and of `fuse`, which adds the model's own loss to the same search: files, plans and rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.cli.framework.progress_bars import Bars
from starcli.cli.job import Job
from starcli.cli.options.search import SearchOptions
from starcli.cli.options.setup import Setup
from starcli.cli.options.training import Training, recipe_by_flags
from starcli.cli.outputs import log_targets
from starcli.cli.read_models import grouped_like, read_groups
from starcli.cli.star_sources import Keeper
from starcli.errors import number_of
from starcli.files.names import is_standard_stream, model_place, output_name
from starcli.registry.splits import SPLITS
from starcli.runtime import distributed

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.data.dataset import Dataset
    from starcli.fusion.fusing import Fused
    from starcli.recipes.recipe import Recipe
    from starcli.star.growing import Growth
    from starcli.star.settings import StarSettings
    from starcli.star.star_search import StarSearch
    from starcli.star.starlight import Star
    from starcli.workspace.plan import Plan
    from starcli.workspace.workspace import Workspace


@dataclass
class StarRuns:
    """One command's searches: one for each seed, all from the same sources."""

    search: SearchOptions
    setup: Setup
    training: Training
    watch: Bars
    keeper: Keeper | None = field(default=None, init=False)
    """What keeps the permuted sources, where that is asked for."""

    def check(self, split: str | None) -> None:
        """Refuse, now and not after hours, a split that there is not, and a comparison that does not fit in memory."""
        from starcli.fusion.fusion_report import need_room_to_compare

        need_room_to_compare(self.workspace, self.source_data, split, len(self.search.sources))

    def all(self) -> "Iterator[FoundStar]":
        """Make the files that are not there yet, in the order of the seeds."""
        from starcli.checkpoints.checkpoint import Checkpoint, read

        self.settings.check_measured(self.search.kind, self.search.held_out_files)
        paths, places = self.search.outputs()
        jobs = self._jobs(paths)
        keeper = self.keeper = self._keeper(jobs, places)
        for job in jobs:
            place = None if is_standard_stream(job.path) else model_place(job.path)
            name = output_name(job.path)
            with job.making() as needed:
                if needed:
                    found = self.make(job)
                    job.write(found.tensors, history=found.history, metrics=found.metrics, statistics="recalibrated")
                    model = Checkpoint(found.tensors, job.finished, name, place)
                else:
                    model = replace(read(job.path, kinds=(self.search.kind,)), name=name, path=place)
                    if keeper is not None and not keeper.complete(job):
                        kept = keeper.places[job.path][0].parent
                        self.watch.note(f"{kept}: what training's permutations were is known no more; use --force")
            yield FoundStar(self, job, model)

    @cached_property
    def _files(self) -> "dict[str, list[Checkpoint]]":
        """The models by their roles, as they were read; the one that training begins at may be one of the others."""
        sources, held_out = read_groups(self.search.sources, self.search.held_out_files)
        [beginning] = read_groups(self.search.beginning)
        return {"sources": sources, "held_out": held_out, "beginning": beginning}

    @property
    def sources(self) -> "list[Checkpoint]":
        """The solutions to work from."""
        return self.models["sources"]

    @property
    def base(self) -> "Checkpoint | None":
        """The model that the sources descend from, where that is of matter."""
        return None

    @cached_property
    def _opened(self) -> "tuple[Workspace, list[Checkpoint], tuple[Dataset, ...]]":
        from starcli.workspace.workspace import workspace_of

        return (*workspace_of([model for group in self._files.values() for model in group], self.setup), ())

    @property
    def workspace(self) -> "Workspace":
        """The workspace that all models share."""
        return self._opened[0]

    @property
    def source_data(self) -> "tuple[Dataset, ...]":
        """What each source was trained on, where these are different data."""
        return self._opened[2]

    @cached_property
    def models(self) -> "dict[str, list[Checkpoint]]":
        """The models by their roles, as their network has them."""
        return dict(zip(self._files, grouped_like([*self._files.values()], self._opened[1]), strict=True))

    @cached_property
    def growth(self) -> "Growth | None":
        """The growth of a finished star by new sources, where one grows."""
        from starcli.star.growing import growth_of

        if not self.search.grow:
            return None
        [star] = self._files["beginning"]
        return growth_of(star, self._files["sources"], self._named_recipe)

    @property
    def _named_recipe(self) -> "Recipe | None":
        from starcli.recipes.recipe import load_recipe

        return load_recipe(self.search.recipe) if self.search.recipe else None

    @cached_property
    def recipe(self) -> "Recipe":
        """The sources' own recipe unless one is named, of a star that grows its own in fewer epochs; flags win."""
        from starcli.workspace.plan import inherited_recipe

        if self.growth is not None:
            base: Recipe | None = self.growth.recipe(self.training.epochs)
        else:
            base = self._named_recipe or inherited_recipe(self._files["sources"])
        return recipe_by_flags(base, self.training, self.workspace, self.watch)

    @cached_property
    def settings(self) -> "StarSettings":
        """The settings of all searches."""
        return self.search.settings()

    @property
    def title(self) -> str:
        """How the sources are aligned, as people read it."""
        return self.settings.alignment_title

    @property
    def initial(self) -> "Checkpoint | None":
        """The model that training begins at, if it is not random weights."""
        return next(iter(self.models["beginning"]), None)

    def plan(self, number: int) -> "Plan":
        """Plan the model of seed `number`."""
        from starcli.library.plans import star_plan

        search = self.searched(number)  # what is wrong with it is told before the spec is proved
        return star_plan(self.workspace, self.search.kind, search)

    def searched(self, seed: int) -> "StarSearch":
        """The search for the model of seed `seed`."""
        from starcli.star.star_search import StarSearch

        return StarSearch(
            recipe=self.recipe,
            settings=self.settings,
            seed=seed,
            sources=self.sources,
            init=self.initial,
            growth=self.growth,
            held_out=self.models["held_out"],
        )

    def _jobs(self, paths: Sequence[Path]) -> list[Job]:
        from starcli.alignment.notes import note_alignment
        from starcli.evaluation.rows import note_repeats
        from starcli.star.check_sources import check_held_out, note_doubtful_solutions

        check_held_out([*self.sources, *self.models["beginning"]], self.models["held_out"])
        note_doubtful_solutions([*self.sources, *self.models["held_out"]], self.watch)
        plans = [self.plan(number) for number in self.search.numbers]
        if self.growth is not None:
            length = number_of(self.recipe.epochs, "epoch")
            self.watch.note(f"{self.growth.title}; trained for {length}, anew {self.growth.anew.epochs}")
        self.workspace.tell_notes(self.watch, of_data=False)
        if self.search.kind == "star":  # the rows of what is fused say so themselves
            note_repeats(self.workspace, self.workspace.dataset.measured, self.watch)
        note_alignment(self.workspace, self.search.alignment, self.watch)
        self.search.note_repaired(self.workspace, self.watch)
        logs, search = log_targets(self.search.log, self.search.output), self.search
        how: dict[str, Any] = {"force": search.force, "save_every": search.checkpoint_every, "logs": logs}
        return [Job(path, wanted, self.watch, **how) for path, wanted in zip(paths, plans, strict=True)]

    def _keeper(self, jobs: Sequence[Job], places: Sequence[Sequence[Path]] | None) -> Keeper | None:
        """What keeps the permuted sources, where that is asked for; what lies in its way is an error now."""
        if places is None:
            return None
        own = {job.path: each for job, each in zip(jobs, places, strict=True)}
        last = self.settings.last_alignment(self.settings.own_recipe(self.recipe).epochs)
        keeper = Keeper(self.workspace, self.sources, last, own)
        for job in jobs:
            keeper.check(job, force=self.search.force)
        return keeper

    def make(self, job: Job) -> "Star | Fused":
        """Make the model of a job, and keep its permuted sources where that is asked for."""
        from starcli.star.starlight import starlight

        search = self.searched(job.plan.seed or 0)
        found = starlight(self.workspace, search, state=job.state, progress=self.watch)
        if self.keeper is not None:
            distributed.by_writer(partial(self.keeper.keep, found, job))
        return found


@dataclass(frozen=True)
class FoundStar:
    """A finished star or fused model of a run, found or just made."""

    run: StarRuns
    job: Job
    model: "Checkpoint"

    @property
    def alignment(self) -> str:
        """How the sources are aligned, as people read it."""
        return self.run.title

    def row(self) -> dict[str, Any]:
        """The row of the model, taken from its file."""
        from starcli.workspace.stamp import task_facts

        finished = self.job.finished
        metrics, data = finished.metrics or {}, finished.data
        grown = (finished.recipe or {})[finished.kind].get("grown")
        return {
            "output": str(self.job.path),
            "seed": finished.seed,
            "sources": len(self.run.sources),
            **({"grown": grown} if grown else {}),
            "alignment": self.alignment,
            **(task_facts(data.task_name) if data else {}),
            **{split: metrics.get(split) for split in SPLITS},
        }

    def compared(self, split: str | None) -> Iterator[dict[str, Any]]:
        """Rows of the fused model beside its sources, which are aligned to it by the seed of its search."""
        from starcli.alignment.aligner import Aligner
        from starcli.fusion.fusion_report import fusion_rows

        run, seed = self.run, self.job.finished.seed
        aligner, means = Aligner(replace(run.search.alignment, seed=seed or 0), run.workspace), run.search.between()
        how: dict[str, Any] = {"base": run.base, "source_data": run.source_data, "renormalise": means}
        how |= {"split": split, "progress": run.watch}
        for row in fusion_rows(aligner, self.model, run.sources, **how):
            yield {**row, "output": str(self.job.path)}
