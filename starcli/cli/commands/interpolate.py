"""`starcli interpolate`: write points between models, or around one."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.options.alignment import SelectOptions
from starcli.cli.options.common import CommonCached
from starcli.cli.options.renormalise import RenormaliseOptions
from starcli.cli.options.setup import PointSetup
from starcli.cli.options.shared import CurveOpt, ForceOpt, ModelsArg, PointOutputOpt, SeedOpt
from starcli.cli.outputs import output_paths
from starcli.cli.read_models import grouped_like, read_groups
from starcli.cli.shared_columns import RENORMALISED
from starcli.errors import StarcliError

_COLUMNS = (
    Column("models", "models", "name"),
    Column("weights", "weights", main=True),
    Column("curve", "curve", common=True),
    Column("radius", "radius", "g", main=True),
    Column("alignment", "alignment", common=True),
    RENORMALISED,
    Column("output", "output", "name", main=True),
)


@command(
    "starcli interpolate a.safetensors b.safetensors --t 0.25 0.5 0.75 -o 'mid-{t}.safetensors'",
    "starcli interpolate a.safetensors b.safetensors c.safetensors --align weight -o mean.safetensors",
    see="docs/numerics.md",
)
def interpolate_command(
    models: ModelsArg,
    output: PointOutputOpt,
    common: CommonCached,
    setup: PointSetup,
    how: SelectOptions,
    activations: RenormaliseOptions,
    *,
    curve: CurveOpt = None,
    t: Annotated[
        list[float] | None,
        typer.Option("--t", metavar="T...", help="(1 - t) A + t B, also outside 0 to 1; or there on --curve."),
    ] = None,
    weights: Annotated[
        list[float] | None, typer.Option("--weights", metavar="W...", help="A weight for each model; they sum to 1.")
    ] = None,
    perturb: Annotated[
        float | None,
        typer.Option("--perturb", metavar="RADIUS", help="A random point at this distance from one model."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="NAME...", help="Move only these tensors, such as 'layer1.*'; all others are the first's."
        ),
    ] = None,
    seed: SeedOpt = 0,
    force: ForceOpt = False,
) -> None:
    """Write points on the line or curve between two models, means of several, or a random point around one.

    Without --t, --weights and --perturb it is the uniform mean of all models.
    BatchNorm statistics are re-estimated for each point; what else --renormalise does is folded into the weights.
    Models are taken as they are unless --align brings the others to the first, the end of a curve as when it was
    trained. Several t need a {t} in the output.
    """
    from starcli.alignment.notes import note_alignment
    from starcli.barriers.bends import Bends
    from starcli.barriers.point import PointsAsked
    from starcli.library.plans import point_plan
    from starcli.workspace.workspace import workspace_of

    more = {"on_curve": bool(curve), "aligned": perturb is not None and how.chosen(seed).active}
    found = PointsAsked(t, weights, perturb, only or (), seed).among(len(models), **more)
    paths = _paths(output, None if t is None else [name for name, _ in found], seed, [*models, *(curve or ())])
    files = read_groups(models, curve or (), distinct=False)
    needs_data = bool(curve) or activations.between().active or how.chosen(seed).reads_data
    workspace, opened = workspace_of([*files[0], *files[1]], setup, data=needs_data)
    given, bent = grouped_like(files, opened)
    with common.session(output) as (watch, results):
        bends = Bends.of(bent, watch)
        points = [replace(bends.place(point), renormalise=activations.between()) for _, point in found]
        alignment, nodes = how.along(bends, given, seed if perturb is None else 0), bends.nodes(given)
        plans = [point_plan(workspace, nodes, point, alignment) for point in points]
        jobs = [Job(*each, watch, force=force) for each in zip(paths, plans, strict=True)]
        workspace.tell_notes(watch, of_data=False)
        note_alignment(workspace, alignment, watch, unsaid=bends.unsettled(given) if how.align is None else ())
        activations.note_repaired(workspace, watch)
        models_of = cache(lambda: bends.tensors(workspace, given, alignment))
        row = {"models": [each.name for each in nodes], **alignment.facts((given[0], each) for each in given[1:])}
        for point, job in zip(points, jobs, strict=True):
            with job.making() as needed:
                if needed:
                    point.need_data(workspace)
                    job.write(point.make(workspace, models_of(), progress=watch), statistics="recalibrated")
            results.add("interpolate", {**row, **point.settings(), "output": str(job.path)}, _COLUMNS)


def _paths(output: Path, ts: list[str] | None, seed: int, inputs: list[Path]) -> list[Path]:
    """The file of the point at each t in words, or of the one point where there are none."""
    if ts is None and "{t}" in str(output):
        raise StarcliError(f"-o {output}: {{t}} stands for the place of a point at --t, which is missing")
    return output_paths(output, [{"seed": seed}] if ts is None else [{"t": t, "seed": seed} for t in ts], inputs)
