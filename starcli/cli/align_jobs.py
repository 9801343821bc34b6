"""The files that `align` makes: aligned models, and the permutations that align them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.cli.framework.progress_bars import Bars
from starcli.cli.job import Job
from starcli.runtime import distributed, sharing
from starcli.runtime.rehearsal import once_if_rehearsed

if TYPE_CHECKING:
    from starcli.alignment.aligned import Aligned
    from starcli.alignment.aligner import Aligner
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.checkpoints.metadata import Metadata


@dataclass(frozen=True)
class Alignments:
    """`models`, each to be aligned to `reference` on its own, or all of them together."""

    aligner: "Aligner"
    reference: "Checkpoint"
    models: "Sequence[Checkpoint]"
    watch: Bars
    together: bool
    force: bool
    bound: bool
    """Whether rows say how high the objective could be at most."""

    def __post_init__(self) -> None:
        from starcli.alignment.matching.bound import check_bounded

        how = self.aligner.alignment
        if self.bound:
            check_bounded(how.method, uses_kinds=how.uses_kinds)

    def rows(self, paths: Sequence[Path], permutations: Sequence[Path]) -> Iterator[dict[str, Any]]:
        """Make the files that are not there yet, those of `permutations` where any are wanted: a row a model."""
        jobs = self._jobs(paths, permutations)
        if self.together and any(job.wanted for job in jobs):
            _ = self._jointly  # by all ranks at once, before they share the files
        waves = self.aligner.waves
        self.watch.start("aligning", sharing.own_share(len(jobs), waves) * self._pieces)
        for job, (metadata, seconds) in zip(jobs, sharing.deal(jobs, _AlignmentJob.make, waves), strict=True):
            job.job.metadata, job.seconds = metadata, seconds
            yield job.row() | self._optimality(job)
        self.watch.finish()

    def _optimality(self, job: "_AlignmentJob") -> dict[str, Any]:
        """Bound and gap of a finished alignment, where they are wanted: for rank 0, which shows them."""
        from starcli.alignment.matching.bound import optimality

        if not self.bound or not distributed.is_writer():
            return {}
        work = partial(optimality, self.reference.tensors, job.model.tensors, self.aligner.spec, job.row()["objective"])
        return once_if_rehearsed("bounds", work)

    def _jobs(self, paths: Sequence[Path], permutations: Sequence[Path]) -> "list[_AlignmentJob]":
        from starcli.library.plans import alignment_plans

        jobs, together = [], self.models if self.together else ()
        for number, (model, path, file) in enumerate(zip_longest(self.models, paths, permutations)):
            how = (self.aligner.workspace, self.aligner.alignment, self.reference, model, together)
            plan, of_symmetry = alignment_plans(*how)
            job = Job(path, plan, self.watch, force=self.force)
            index = Job(file, of_symmetry, self.watch, force=self.force) if file else None
            jobs.append(_AlignmentJob(partial(self._find, number), self.reference, model, job, index, self._pieces))
        return jobs

    @property
    def _pieces(self) -> int:
        """Steps of progress that finding one alignment counts."""
        return 1 if self.together else self.aligner.pieces

    @cached_property
    def _jointly(self) -> "tuple[list[Aligned], float]":
        """All models aligned together, and the seconds of each one's share."""
        from starcli.alignment.joint import apply_jointly

        began = time.monotonic()
        what = f"alignment of {1 + len(self.models)} models together: {self.aligner.alignment.title}"
        work = partial(apply_jointly, self.aligner, self.reference, self.models, progress=self.watch)
        found = once_if_rehearsed(what, work)
        return found, (time.monotonic() - began) / len(found)

    def _find(self, number: int) -> "tuple[Aligned, float | None]":
        """The alignment of a model, and its seconds, which are unknown where it was learned before, or a part of it."""
        from starcli.files.cache import found_so_far

        if self.together:
            found, seconds = self._jointly
            self.watch.step()
            return replace(found[number]), seconds  # a new one: what it will hold goes with it
        began, before = time.monotonic(), found_so_far("matches", "lessons")
        what = f"alignment of a model: {self.aligner.alignment.title}"
        work = partial(self.aligner.apply, self.reference, self.models[number], progress=self.watch)
        aligned = once_if_rehearsed(what, work)
        return aligned, None if found_so_far("matches", "lessons") > before else time.monotonic() - began


@dataclass
class _AlignmentJob:
    """One alignment, found when the first of its files needs it."""

    find: "Callable[[], tuple[Aligned, float | None]]"
    """Finds it, and says how many seconds that took, where it is known."""
    reference: "Checkpoint"
    model: "Checkpoint"
    job: Job
    index: Job | None
    """What the permutation is to be written to."""
    pieces: int
    """Steps of progress that finding it counts."""
    seconds: float | None = None

    @property
    def wanted(self) -> bool:
        """Whether a file is still to be made."""
        return any(each is not None and each.metadata is None for each in (self.job, self.index))

    @cached_property
    def found(self) -> "Aligned":
        """The alignment."""
        found, self.seconds = self.find()
        return found

    def make(self) -> "tuple[Metadata, float | None]":
        """Write the aligned model and, where it is wanted, the permutation; the file's metadata and the seconds."""
        if not self.wanted:
            self.job.watch.step(self.pieces)
        with self.job.making() as needed:
            if needed:
                facts = self.model.facts_under(self.job.plan.data, align=self.found.recorded())
                self.job.write(self.found.tensors, **facts, aligned_to=self.found.record)
        if self.index is not None:
            with self.index.making() as needed:
                if needed:
                    self.index.write(self.found.match.symmetry.to_tensors(), aligned_to=self.found.record)
        self.__dict__.pop("found", None)  # many aligned models would fill the memory
        return self.job.finished, self.seconds

    def row(self) -> dict[str, Any]:
        """The figures, from the file; the seconds are unknown where it was finished before."""
        from starcli.alignment.alignment import Alignment

        figures, record = dict((self.job.finished.metrics or {})["align"]), self.job.finished.aligned_to
        assert record is not None  # it is aligned
        how = Alignment(**record.model_dump(exclude={"reference", "objective", "joint"})).facts(
            [(self.reference, self.model)]
        )
        names = {"reference": self.reference.name, "model": self.model.name, "output": str(self.job.path)}
        return {**names, **how, **figures, **names, "seconds": self.seconds}  # the names first, and as they are now
