"""`align --normal-form`: of all models that scales and matrices make of one, the one of least norm."""

from functools import cache, partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starcli.cli.align_models import AlignModels
from starcli.cli.framework.progress_bars import Bars
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.options.common import CommonCached
from starcli.cli.options.setup import WriterSetup
from starcli.cli.read_models import read_groups

if TYPE_CHECKING:
    from starcli.checkpoints.checkpoint import Checkpoint
    from starcli.workspace.workspace import Workspace

_COLUMNS = (
    Column("model", "model", "name"),
    Column("output", "output", "name"),
    Column("dimension", "continuous dimension", "d", common=True),
    Column("norm_before", "norm before", ".3f", main=True),
    Column("norm_after", "norm after", ".3f", main=True),
    Column("difference", "change of outputs", ".1e"),
)


def write_normal_forms(asked: AlignModels, common: CommonCached, setup: WriterSetup) -> None:
    """Write the normal form of REF and of each model, and where asked for the element that leads there."""
    from starcli.workspace.workspace import workspace_of

    paths, files = asked.outputs()
    [given] = read_groups(asked.inputs, distinct=False)
    workspace, sources = workspace_of(given, setup, data=False)
    with common.session(asked.output, asked.permutation) as (watch, results):
        workspace.tell_notes(watch, of_data=False)
        for source, path, file in zip_longest(sources, paths, files):
            figures = _write(workspace, source, path, file, watch, force=asked.force)
            results.add("normal_form", {"model": source.name, "output": str(path)} | figures, _COLUMNS)


def _write(
    workspace: "Workspace", source: "Checkpoint", path: Path, file: Path | None, watch: Bars, *, force: bool
) -> dict[str, Any]:
    """Write what is not there yet of one model: the figures, from its file. StarcliError where the function changes."""
    from starcli.alignment.normalised import normalise
    from starcli.library.plans import normal_form_plans

    plan, of_element = normal_form_plans(workspace, source)
    job = Job(path, plan, watch, force=force)
    index = Job(file, of_element, watch, force=force) if file else None
    found = cache(partial(normalise, workspace, source.tensors, progress=watch))  # when the first file needs it
    with job.making() as needed:
        if needed:
            facts = source.facts_under(job.plan.data, normal_form=found().to_dict())
            job.write(found().tensors, **facts)
    if index is not None:
        with index.making() as needed:
            if needed:
                index.write(found().element.to_tensors())
    return dict((job.finished.metrics or {})["normal_form"])
