"""starcli align"""

import time
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.option_groups import Common, NetworkSetup
from starcli.cli.options import ForceOpt, MethodOpt, ModelsArg, OutputOpt, RestartsOpt, SeedOpt
from starcli.cli.outputs import output_paths
from starcli.cli.read_models import note_what_moves, read_groups
from starcli.errors import StarcliError
from starcli.files.names import stem, to_stdout

if TYPE_CHECKING:
    from starcli.alignment.align import Aligned

_COLUMNS = (
    Column("model", "model", "name"),
    Column("reference", "to", "name", common=True),
    Column("output", "output", "name"),
    Column("distance_before", "distance before", ".3f"),
    Column("distance_after", "after", ".3f"),
    Column("cosine_before", "cosine before", ".3f", optional=True),
    Column("cosine_after", "after", ".3f", optional=True),
    Column("moved", "units moved", "d"),
    Column("sweeps", "sweeps", "d", optional=True),
    Column("seconds", "seconds", ".2f"),
)


@command("starcli align a.safetensors b.safetensors -o b.aligned.safetensors --restarts 10")
def align_command(
    reference: Annotated[Path, typer.Argument(metavar="REF", help="The model to align_command to; - is stdin.")],
    models: ModelsArg,
    output: OutputOpt,
    common: Common,
    setup: NetworkSetup,
    *,
    method: MethodOpt = "weight",
    restarts: RestartsOpt = 1,
    seed: SeedOpt = 0,
    permutation: Annotated[
        Path | None, typer.Option("--permutation", metavar="FILE", help="Write the permutation too; {name} varies.")
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Bring the weights of models nearest to those of REF by renaming their units, which changes no function.

    The output records what it was aligned to, so that barrier and the others know. Several models need a {name} in
    the output.
    """
    from starcli.alignment.matching.search import wave_sizes
    from starcli.runtime import distributed
    from starcli.workspace.plan import plan_of, training_settings
    from starcli.workspace.workspace import workspace_of

    names, inputs = [{"name": stem(path)} for path in models], [reference, *models]
    paths = output_paths(output, names, inputs)
    files = output_paths(permutation, names, [*inputs, *paths]) if permutation else []
    if to_stdout(output) and permutation and to_stdout(permutation):
        raise StarcliError("-o - --permutation -: stdout takes one file")
    [first], others = read_groups([reference], models, distinct=False)
    workspace = workspace_of([first, *others], setup.choices(), data=False)
    how = {"method": method, "restarts": restarts, "seed": seed}
    with common.session(output) as (watch, results):
        spec = workspace.spec.record()
        note_what_moves(workspace, method, watch)
        works = []
        for model, path, file in zip_longest(others, paths, files):
            facts: dict[str, Any] = {"seed": model.metadata.seed, "parents": [first, model], "spec": spec}
            wanted = plan_of(workspace, model.metadata.kind, {**training_settings(model), "align": how}, **facts)
            permuting = plan_of(workspace, "permutation", {"align": how}, **facts)
            index = Job(file, permuting, watch, force=force) if file else None
            job = Job(path, wanted, watch, force=force)
            works.append(_Work(workspace.spec, first, model, how, watch, job, index))
        watch.start("aligning", distributed.own_share(len(works), wave_sizes(restarts)))
        for work, told in zip(works, distributed.deal(works, _Work.make, wave_sizes(restarts)), strict=True):
            work.job.metadata, work.seconds = told
            results.add("align", work.row(), _COLUMNS)
        watch.finish()


@dataclass
class _Work:
    """One alignment, made when the first of its files needs it."""

    spec: Any
    reference: Any
    model: Any
    how: dict[str, Any]
    watch: Bars
    job: Job
    index: Job | None
    """What the permutation is to be written to."""
    seconds: float | None = None

    @cached_property
    def found(self) -> "Aligned":

        from starcli.alignment.align import align

        began = time.monotonic()
        found = align(self.spec, self.reference, self.model, progress=self.watch, **self.how)
        self.seconds = time.monotonic() - began
        return found

    def make(self) -> tuple[Any, float | None]:
        """Write the files: what the model's says of itself, and the seconds that it took."""
        self.watch.step()
        return self.write(), self.seconds

    def write(self) -> Any:
        """Write the aligned model and, where it is wanted, the permutation; what the model's file says of itself."""
        metadata = self.model.metadata
        with self.job.making() as needed:
            if needed:
                found = self.found
                metrics = {**(metadata.metrics or {}), "align": found.figures()}
                self.job.write(found.tensors, metrics=metrics, statistics=metadata.statistics, aligned_to=found.record)
        if self.index is not None:
            with self.index.making() as needed:
                if needed:
                    self.index.write(dict(self.found.permutation.index), aligned_to=self.found.record)
        self.__dict__.pop("found", None)  # many aligned models would fill the memory
        return self.job.finished

    def row(self) -> dict[str, Any]:
        """The figures, from the file; the seconds are unknown where it was finished before."""
        figures = dict((self.job.finished.metrics or {})["align"])
        return {
            "reference": figures.pop("reference"),
            "model": figures.pop("model"),
            "output": str(self.job.path),
            **figures,
            "seconds": self.seconds,
        }
