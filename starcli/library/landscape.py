"""Planes and surfaces from Python."""

from collections.abc import Sequence
from typing import Unpack

from starcli.alignment.alignment import Alignment
from starcli.alignment.measure import Measure
from starcli.alignment.notes import note_alignment
from starcli.barriers.bends import Bends
from starcli.landscape.measure import GRID, Landscape, check_plane, plane_landscape, surface_landscape
from starcli.library.align import AUTO, alignment_along
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, bends_in, open_models
from starcli.library.where import WhereMeasured


@library_call
def plane(
    *models: ModelLike,
    curve: ModelLike | Sequence[ModelLike] | None = None,
    points: int = GRID,
    margin: float = 0.2,
    alignment: Alignment | str | None = AUTO,
    split: str = "test",
    **where: Unpack[WhereMeasured],
) -> Landscape:
    """Measure the loss on the plane through three models, on the training split and on `split`.

    Axes are orthonormal (Gram-Schmidt, Garipov et al. 2018), so that coordinates are L2 distances: the first model is
    the origin, the second lies on the x axis, the third above it. BatchNorm statistics are re-estimated at each point.

    curve: bends of a curve from the first model to the second, see `curve`; its way is given too, and of two models the
    plane goes through its first bend. points: on each side of the grid, which reaches beyond models and curve by
    `margin` of their extent. alignment: how the other models are aligned to the first; the second as in the curve's
    training unless it is said, else by default and with None as in `barrier`.
    where: `arch`, `data`, `train_data`, `device` and others, see `WhereMeasured`.

    >>> import starcli as sc
    >>> a, b, c = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1, 2))
    >>> found = sc.plane(a, b, c, points=3, alignment=None)
    >>> found.marks[0].place, len(found.x), len(found.values["train"]["loss"])
    ((0.0, 0.0), 3, 3)
    """
    bent = bends_in(curve)
    workspace, found, watcher = open_models([*models, *bent], where, measures=True, distinct=len(models))
    given, bends = found[: len(models)], Bends.of(found[len(models) :], watcher)
    check_plane(given, bends, margin)
    how = alignment_along(alignment, bends, given[:2])
    measure = Measure(workspace, how, points, split=split, progress=watcher)
    note_alignment(workspace, how, watcher, unsaid=bends.unsettled(given) if alignment == AUTO else ())
    return plane_landscape(measure, given, margin=margin, bends=bends)


@library_call
def surface(
    model: ModelLike,
    *,
    points: int = GRID,
    radius: float = 1.0,
    seed: int = 0,
    split: str = "test",
    **where: Unpack[WhereMeasured],
) -> Landscape:
    """Measure the loss around a model along two random directions, on the training split and on `split`.

    The directions, drawn from `seed`, are normalised filter by filter: each filter of a direction has the norm of the
    model's (Li et al. 2018); biases and scales of norms stay. The grid goes from -radius to radius in both. BatchNorm
    statistics are re-estimated at each point.
    where: `arch`, `data`, `train_data`, `device` and others, see `WhereMeasured`.

    >>> import starcli as sc
    >>> model = sc.train("mlp", "digits", epochs=1, limit=60)
    >>> found = sc.surface(model, points=3, radius=0.5)
    >>> found.x, len(found.values["test"]["accuracy"])
    ((-0.5, 0.0, 0.5), 3)
    """
    workspace, [given], watcher = open_models([model], where, measures=True)
    measure = Measure(workspace, points=points, split=split, progress=watcher)
    return surface_landscape(measure, given, radius=radius, seed=seed)
