"""`align --normal-form`: models without what is not compact in their symmetries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.progress_bars import Bars
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.options.common import CommonCached
from starcli.cli.options.setup import WriterSetup
from starcli.cli.options.shared import ALIGNMENT
from starcli.cli.outputs import output_paths, permutation_paths
from starcli.cli.read_models import note_files, read_groups
from starcli.errors import StarcliError
from starcli.files.names import stem

if TYPE_CHECKING:
    from starcli.alignment.normalised import Normalised
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.workspace.workspace import Workspace

NormalFormOpt = Annotated[
    bool,
    typer.Option(
        "--normal-form",
        is_eager=True,
        rich_help_panel=ALIGNMENT,
        help="Align nothing: write REF and each MODEL with norms folded, scales and factors balanced; same functions.",
    ),
]

_COLUMNS = (
    Column("model", "model", "name"),
    Column("output", "output", "name"),
    Column("dimension", "continuous dimension", "d", common=True),
    Column("norm_before", "norm before", ".3f", main=True),
    Column("norm_after", "norm after", ".3f", main=True),
    Column("difference", "change of outputs", ".1e"),
)


def write_normal_forms(
    models: Sequence[Path],
    output: Path,
    common: CommonCached,
    setup: WriterSetup,
    permutation: Path | None,
    others: Mapping[str, Any],
    *,
    force: bool,
) -> None:
    """Write the normal form of each model, and to `permutation` the element that leads there.

    others: what has no meaning here, by the words of the command line, so that none of it may have been said.
    """
    from starcli.workspace.workspace import workspace_of

    if unwanted := [word for word, value in others.items() if value]:
        raise StarcliError(f"--normal-form aligns nothing: leave out {', '.join(unwanted)}")
    names = [{"name": stem(path)} for path in models]
    paths = output_paths(output, names, models)
    files = permutation_paths(permutation, names, models, paths)
    [given] = read_groups(models, distinct=False)
    workspace, sources = workspace_of(given, setup, data=False)
    with common.session(output, permutation) as (watch, results):
        note_files(workspace, watch)
        for source, path, file in zip_longest(sources, paths, files):
            figures = _NormalForm(workspace, source, watch, force).make(path, file)
            results.add("normal_form", {"model": source.name, "output": str(path)} | figures, _COLUMNS)


@dataclass
class _NormalForm:
    """The normal form of one model, found when the first of its files needs it."""

    workspace: "Workspace"
    source: "Checkpoint"
    watch: Bars
    force: bool

    @cached_property
    def found(self) -> "Normalised":
        """The normal form. StarcliError where the function would change."""
        from starcli.alignment.normalised import normalise

        return normalise(self.workspace, self.source.tensors, progress=self.watch)

    def make(self, path: Path, file: Path | None) -> dict[str, Any]:
        """Write what is not there yet: the figures, from the file."""
        from starcli.library.plans import normal_form_plan

        jobs = [
            Job(each, normal_form_plan(self.workspace, self.source, element=element), self.watch, force=self.force)
            for each, element in ((path, False), (file, True))
            if each is not None
        ]
        job, metadata = jobs[0], self.source.metadata
        with job.making() as needed:
            if needed:
                metrics = {**(metadata.metrics or {}), "normal_form": self.found.to_dict()}
                job.write(self.found.tensors, metrics=metrics, statistics=metadata.statistics)
        for index in jobs[1:]:
            with index.making() as needed:
                if needed:
                    index.write(self.found.element.to_tensors())
        return dict((job.finished.metrics or {})["normal_form"])
