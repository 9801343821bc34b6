"""starcli interpolate"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starcli.cli.framework.command import command
from starcli.cli.framework.results import Column
from starcli.cli.job import Job
from starcli.cli.option_groups import Common, NetworkSetup
from starcli.cli.options import AlignOpt, ForceOpt, ModelsArg, OutputOpt, RestartsOpt, SeedOpt
from starcli.cli.outputs import output_paths
from starcli.cli.read_models import aligned_to_first, read_groups
from starcli.errors import StarcliError

if TYPE_CHECKING:
    from torch import Tensor

    from starcli.workspace.workspace import Workspace

_COLUMNS = (
    Column("models", "models", "name"),
    Column("weights", "weights"),
    Column("radius", "radius", "g"),
    Column("alignment", "alignment", common=True),
    Column("output", "output"),
)

LARGEST_FLOAT32 = 1e38
"""Weights are multiplied in float32, whose largest number this nearly is."""


@command("starcli interpolate a.safetensors b.safetensors --t 0.25 0.5 0.75 -o 'mid-{t}.safetensors'")
def interpolate_command(
    models: ModelsArg,
    output: OutputOpt,
    common: Common,
    setup: NetworkSetup,
    *,
    t: Annotated[
        list[float] | None, typer.Option("--t", metavar="T...", help="(1 - t) A + t B; also outside 0 to 1.")
    ] = None,
    weights: Annotated[
        list[float] | None, typer.Option("--weights", metavar="W...", help="A weight for each model; they sum to 1.")
    ] = None,
    perturb: Annotated[
        float | None,
        typer.Option("--perturb", metavar="RADIUS", help="A random point at this distance from one model."),
    ] = None,
    seed: SeedOpt = 0,
    align: AlignOpt = None,
    restarts: RestartsOpt = 1,
    force: ForceOpt = False,
) -> None:
    """Write points on the line between two models, weighted means of several, or a random point around one.

    BatchNorm statistics are re-estimated for each point. Models are taken as they are unless --align brings the others
    to the first. Several t need a {t} in the output.
    """
    from starcli.workspace.plan import plan_of, training_settings
    from starcli.workspace.workspace import workspace_of

    points = _points(len(models), t, weights, perturb, seed)
    paths = output_paths(output, [{"t": point.pop("t", ""), "seed": seed} for point in points], models)
    [given] = read_groups(models, distinct=False)
    workspace = workspace_of(given, setup.choices(), data=False)
    with common.session(output) as (watch, results):
        settings = training_settings(given[0])
        how = {} if align in (None, "none") else {"align": align, "restarts": restarts, "align_seed": seed}
        spec = workspace.spec.record() if how else None
        works = []
        for point, path in zip(points, paths, strict=True):
            wanted = plan_of(
                workspace, "model", {**settings, "interpolate": {**point, **how}}, parents=given, spec=spec
            )
            works.append((point, Job(path, wanted, watch, force=force)))
        present, alignment = aligned_to_first(workspace, given, align, restarts=restarts, seed=seed, watch=watch)
        make = _maker(workspace, lambda: [model.tensors for model in present()], progress=watch)
        for point, job in works:
            with job.making() as needed:
                if needed:
                    job.write(make(point), statistics="recalibrated")
            row = {"models": [model.name for model in given], **point, "alignment": alignment, "output": str(job.path)}
            results.add("interpolate", row, _COLUMNS)


def _points(
    count: int, ts: list[float] | None, weights: list[float] | None, radius: float | None, seed: int
) -> list[dict[str, Any]]:
    """What each output is, as the settings that a checkpoint keeps: weights of the models, or radius and seed."""
    found = sum(option is not None for option in (ts, weights, radius))
    if found != 1:
        count_words = ("none", "one", "two", "all three")
        raise StarcliError(f"interpolate takes one of --t, --weights and --perturb, found {count_words[found]}")
    for option, numbers in (("t", ts), ("weights", weights), ("perturb", None if radius is None else [radius])):
        if wrong := [f"{number:g}" for number in numbers or () if not abs(number) < LARGEST_FLOAT32]:
            raise StarcliError(f"--{option} {' '.join(wrong)}: expected numbers that a 32-bit float can hold")
    if radius is not None:
        if count != 1:
            raise StarcliError(f"--perturb takes one model, found {count}")
        return [{"radius": radius, "seed": seed}]
    if count < 2:
        raise StarcliError("interpolate needs at least two models, found one")
    if ts is not None:
        if count != 2:
            raise StarcliError(f"--t goes from one model to another, found {count} models; --weights combines several")
        return [{"t": f"{t:g}", "weights": [1 - t, t]} for t in ts]
    assert weights is not None
    if len(weights) != count:
        raise StarcliError(f"--weights: {len(weights)} weights for {count} models")
    return [{"weights": weights}]


def _maker(
    workspace: "Workspace", models: "Callable[[], Sequence[Mapping[str, Tensor]]]", **settings: Any
) -> "Callable[[Mapping[str, Any]], dict[str, Tensor]]":
    """A function that makes the model of a point."""
    import torch

    from starcli.barriers.points import interpolate_models, perturb_model

    def make(point: Mapping[str, Any]) -> "dict[str, Tensor]":
        if "radius" in point:
            generator = torch.Generator().manual_seed(point["seed"])
            return perturb_model(workspace, models()[0], point["radius"], generator, **settings)
        return interpolate_models(workspace, models(), point["weights"], **settings)

    return make
