"""`starcli align`: bring the weights of models nearest to those of a reference."""

import time
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.alignment_options import MethodOptions
from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.option_groups import CommonCached, WriterSetup
from starcli.cli.options import IN, OUT, ForceOpt, ModelsArg, OutputOpt, SeedOpt
from starcli.cli.outputs import output_paths
from starcli.cli.read_models import note_files, note_what_moves, read_groups
from starcli.errors import StarcliError
from starcli.files.names import is_standard_stream, stem
from starcli.runtime import distributed

if TYPE_CHECKING:
    from starcli.alignment.aligner import Aligned, Aligner
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.checkpoints.metadata import Metadata

_COLUMNS = (
    Column("model", "model", "name"),
    Column("reference", "aligned to", "name", common=True),
    Column("method", "method", common=True),
    Column("output", "output", "name"),
    Column("distance_before", "distance before", ".3f", main=True),
    Column("distance_after", "distance after", ".3f", main=True),
    Column("cosine_before", "cosine before", ".3f", optional=True),
    Column("cosine_after", "cosine after", ".3f", optional=True),
    Column("moved", "units moved", "d"),
    Column("sweeps", "sweeps", "d", optional=True),
    Column("seconds", "seconds", ".2f"),
)


@command("starcli align a.safetensors b.safetensors -o b.aligned.safetensors --restarts 10")
def align_command(
    reference: Annotated[Path, typer.Argument(metavar="REF", help="The model to align to; - is stdin."), IN],
    models: ModelsArg,
    output: OutputOpt,
    common: CommonCached,
    setup: WriterSetup,
    how: MethodOptions,
    *,
    seed: SeedOpt = 0,
    permutation: Annotated[
        Path | None,
        typer.Option("--permutation", metavar="FILE", help="Write the permutation too; {name} varies."),
        OUT,
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Bring the weights of models nearest to those of REF by renaming their units, which changes no function.

    The output records what it was aligned to, so that barrier and the others know. Several models need a {name} in
    the output.
    """
    from starcli.alignment.aligner import Aligner
    from starcli.alignment.matching.restarts import wave_sizes
    from starcli.library.plans import alignment_plan, permutation_plan
    from starcli.workspace.workspace import workspace_of

    names, inputs = [{"name": stem(path)} for path in models], [reference, *models]
    paths = output_paths(output, names, inputs)
    files = output_paths(permutation, names, [*inputs, *paths], option="--permutation") if permutation else []
    if is_standard_stream(output) and permutation and is_standard_stream(permutation):
        raise StarcliError("-o - --permutation -: stdout takes one file")
    [first], others = read_groups([reference], models, distinct=False)
    alignment = how.chosen(seed)
    workspace, [first, *others] = workspace_of([first, *others], setup, data=alignment.reads_data)
    aligner = Aligner(alignment, workspace)
    with common.session(output) as (watch, results):
        note_files(workspace, watch)
        note_what_moves(workspace, alignment, watch)
        jobs = []
        for model, path, file in zip_longest(others, paths, files):
            between = (workspace, alignment, first, model)
            index = Job(file, permutation_plan(*between), watch, force=force) if file else None
            jobs.append(
                _AlignmentJob(aligner, first, model, Job(path, alignment_plan(*between), watch, force=force), index)
            )
        waves = wave_sizes(how.restarts)
        watch.start("aligning", distributed.own_share(len(jobs), waves))
        for job, (metadata, seconds) in zip(jobs, distributed.deal(jobs, _AlignmentJob.make, waves), strict=True):
            job.job.metadata, job.seconds = metadata, seconds
            results.add("align", job.row(), _COLUMNS)
        watch.finish()


@dataclass
class _AlignmentJob:
    """One alignment, found when the first of its files needs it."""

    aligner: "Aligner"
    reference: "Checkpoint"
    model: "Checkpoint"
    job: Job
    index: Job | None
    """What the permutation is to be written to."""
    seconds: float | None = None

    @cached_property
    def found(self) -> "Aligned":
        """The alignment."""
        began = time.monotonic()
        found = self.aligner.apply(self.reference, self.model, progress=self.job.watch)
        self.seconds = time.monotonic() - began
        return found

    def make(self) -> "tuple[Metadata, float | None]":
        """Write the aligned model and, where it is wanted, the permutation; the file's metadata and the seconds."""
        self.job.watch.step()
        metadata = self.model.metadata
        with self.job.making() as needed:
            if needed:
                metrics = {**(metadata.metrics or {}), "align": self.found.recorded()}
                record = self.found.record
                self.job.write(self.found.tensors, metrics=metrics, statistics=metadata.statistics, aligned_to=record)
        if self.index is not None:
            with self.index.making() as needed:
                if needed:
                    self.index.write(dict(self.found.permutation.index), aligned_to=self.found.record)
        self.__dict__.pop("found", None)  # many aligned models would fill the memory
        return self.job.finished, self.seconds

    def row(self) -> dict[str, Any]:
        """The figures, from the file; the seconds are unknown where it was finished before."""
        figures = dict((self.job.finished.metrics or {})["align"])
        names = {"reference": self.reference.name, "model": self.model.name, "output": str(self.job.path)}
        return {**names, **figures, **names, "seconds": self.seconds}  # the names first, and as they are now
