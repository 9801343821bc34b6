"""The networks that `train` makes: one after the other, or all at once in a stack."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.cli.framework.progress_bars import Bars
from starcli.cli.job import Job
from starcli.cli.outputs import check_place
from starcli.errors import StarcliError
from starcli.files.cache import hash_json
from starcli.files.lock import BusyError
from starcli.files.state import StateFile, state_path
from starcli.runtime import distributed, sharing

if TYPE_CHECKING:
    from starcli.checkpoints.metadata import Metadata
    from starcli.recipes.recipe import Recipe
    from starcli.training.beginning import Beginning
    from starcli.workspace.workspace import Workspace

_STACK = "stack"
"""What a state of a stack keeps the run ids of its networks under."""


@dataclass(frozen=True)
class TrainingJobs:
    """How the networks of several seeds are trained: one after the other, or `stacked`, all at once.

    beginning: what they begin at in place of random weights.
    keep: numbers of epochs after which each network is written, too, to a file of its own.
    """

    workspace: "Workspace"
    recipe: "Recipe"
    watch: Bars
    beginning: "Beginning | None"
    stacked: bool
    sync_batchnorm: bool
    log_test: bool
    keep: Sequence[int]

    def all(self, paths: Mapping[int, Path], **how: Any) -> Iterator[Job]:
        """Make the files of these seeds that are not there yet, in their order; `how`: keywords of each `Job`.

        Ranks deal out several networks, and share a single one; of a stack each trains its part. One that another
        process is writing comes last: the same line, started on several machines, shares the seeds out.
        """
        jobs = self._jobs(paths, how)
        if self.stacked:
            stacked = sharing.share_list(jobs, self._stack)
            yield from _done(jobs, stacked)
            return
        one = partial(self._one, kept={job.path: self._kept(job) for job in jobs})
        if len(jobs) == 1:
            yield from _done(jobs, map(one, jobs))
            return
        busy = []
        for job in _done(jobs, sharing.deal(jobs, partial(_unless_busy, one))):
            if job.metadata is None:
                busy.append(job)
            else:
                yield job
        yield from _done(busy, sharing.deal(busy, one))

    def _jobs(self, paths: Mapping[int, Path], how: Mapping[str, Any]) -> list[Job]:
        from starcli.library.plans import spec_record, training_plan

        if self.beginning is not None:
            self.beginning.check(self.recipe, self.watch)
        spec = spec_record(self.workspace, self.watch)
        ranks = distributed.size() if len(paths) == 1 else 1
        asked = self._beyond_rounding(ranks)
        plans = [training_plan(self.workspace, self.recipe, seed, spec, self.beginning, **asked) for seed in paths]
        return [Job(path, plan, self.watch, **how) for path, plan in zip(paths.values(), plans, strict=True)]

    def _kept(self, job: Job) -> dict[int, Job]:
        """The files of a network on its way, by the number of epochs. StarcliError where they can no longer be made."""
        found = {}
        for epoch in self.keep:
            path = kept_path(job.path, epoch)
            begun = self.beginning and self.beginning.model.path
            check_place(path, [begun] if begun else [])
            found[epoch] = Job(path, job.plan.after_epoch(epoch), self.watch, force=job.force)
        missing = [epoch for epoch, each in found.items() if each.metadata is None]
        if job.metadata is not None and missing:
            raise StarcliError(
                f"{job.path}: finished already, and not kept after epoch {missing[0]}",
                ["--force trains it anew, with another -o it is trained again beside it"],
            )
        return found

    def _beyond_rounding(self, ranks: int) -> dict[str, Any]:
        """What changes the result beyond rounding, or is asked for: part of the plan. `ranks` share one network."""
        if self.stacked:
            return {"stacked": True}
        if ranks == 1:
            return {}
        return {"pieces": ranks, **({"sync_batchnorm": True} if self.sync_batchnorm else {})}

    def _one(self, job: Job, kept: Mapping[Path, Mapping[int, Job]]) -> "Metadata":
        from starcli.training.train import Trained, train_network

        def write(each: Job, found: Trained) -> None:
            each.check()
            if each.metadata is None:  # a run that was stopped may have written it
                each.write(found.tensors, metrics=found.metrics)

        def passed(epoch: int) -> None:
            if not self._is_there(kept[job.path][epoch]):
                raise StarcliError(
                    f"{job.path}: its run was stopped after epoch {epoch}, which was not kept",
                    [f"without {epoch} in --keep it goes on; where {state_path(job.path)} is deleted, it begins anew"],
                )

        with job.making() as needed:
            if needed:
                keep = {epoch: partial(write, each) for epoch, each in kept[job.path].items()}
                found = train_network(
                    self.workspace, self.recipe, job.plan.seed or 0, beginning=self.beginning, state=job.state,
                    sync_batchnorm=self.sync_batchnorm, log_test=self.log_test, keep=keep, passed=passed,
                    progress=self.watch,
                )  # fmt: skip
                job.write(found.tensors, history=found.history, metrics=found.metrics)
        return job.finished

    def _is_there(self, job: Job) -> bool:
        """Whether the file is there as it is planned, also where `--force` would write it anew."""
        try:
            return Job(job.path, job.plan, self.watch).metadata is not None
        except StarcliError:
            return False

    def _stack(self, jobs: Sequence[Job]) -> "list[Metadata]":
        from starcli.training.stacked import train_stacked

        with contextlib.ExitStack() as held:
            missing = [job for job in jobs if held.enter_context(job.making())]
            self.watch.log = None  # a row of the stack is of all networks; each log is written at the end
            if missing:
                stack = _jobs_of_stack(jobs, missing)
                seeds, state = [job.plan.seed or 0 for job in stack], _stack_state(stack, missing)
                how: dict[str, Any] = {"beginning": self.beginning, "state": state, "progress": self.watch}
                trained = train_stacked(self.workspace, self.recipe, seeds, **how)
                works = dict(zip((job.path for job in stack), trained, strict=True))
                # the state of all lies beside the first of them and goes when that is written: last
                for job in (*missing[1:], missing[0]):
                    found = works[job.path]
                    job.write(found.tensors, history=found.history, metrics=found.metrics)
        return [job.finished for job in jobs]


def _done(jobs: Iterable[Job], results: "Iterable[Metadata | None]") -> Iterator[Job]:
    """Jobs with the metadata of their files, which the rank that made them wrote."""
    for job, metadata in zip(jobs, results, strict=True):
        job.metadata = metadata
        yield job


def _unless_busy(work: "Callable[[Job], Metadata]", job: Job) -> "Metadata | None":
    """What `work` makes of a job; None, and a note, where another process is writing its file."""
    try:
        return work(job)
    except BusyError as error:
        job.watch.note(f"{error.summary}: left for the end")
        return None


def kept_path(path: Path, epoch: int) -> Path:
    """The file of a network on its way: in a folder, so that `*.safetensors` is still the finished ones.

    >>> kept_path(Path("ckpts/0.safetensors"), 13).as_posix()
    'ckpts/epoch13/0.safetensors'
    """
    return path.parent / f"epoch{epoch}" / path.name


def _jobs_of_stack(jobs: Sequence[Job], missing: Sequence[Job]) -> Sequence[Job]:
    """The networks to train at once: those that are missing, and those that a killed run wrote before it was killed.

    Only together with these are they what its state is of, and give the same bytes.
    """
    recorded = StateFile(missing[0].path, "").recorded_facts()
    ids = recorded.get(_STACK) if isinstance(recorded, Mapping) else None
    known = {job.plan.run_id: job for job in jobs}
    if isinstance(ids, list) and {job.plan.run_id for job in missing} <= set(map(str, ids)) <= known.keys():
        return [known[one] for one in ids]
    return missing


def _stack_state(stack: Sequence[Job], missing: Sequence[Job]) -> StateFile | None:
    """The state of a stack, which says whose it is; nowhere when the output is stdout."""
    holder = missing[0]
    if holder.state is None:
        return None
    ids = [job.plan.run_id for job in stack]
    return StateFile(holder.path, hash_json(ids), force=holder.force, facts={_STACK: ids}, save_every=holder.save_every)
