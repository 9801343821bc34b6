"""Barriers and points from Python."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

import torch

from starcli.alignment.alignment import Alignment
from starcli.alignment.measure import POINTS, Measure
from starcli.alignment.notes import note_alignment
from starcli.barriers.all_pairs import PairsReport, measure_all_pairs
from starcli.barriers.bends import Bends
from starcli.barriers.cached import cached_lines, cached_star_report
from starcli.barriers.line_barrier import Barrier
from starcli.barriers.point import PointsAsked
from starcli.barriers.star_report import StarReport
from starcli.errors import StarcliError, need_several
from starcli.evaluation.evaluator import Statistics
from starcli.evaluation.renormalise import Renormalise
from starcli.evaluation.repairable_layers import note_repaired
from starcli.library.align import AUTO, alignment_along, as_alignment
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, Numbers, as_weights, bends_in, listed, open_models
from starcli.library.made_models import MadeModel, made
from starcli.library.plans import point_plan
from starcli.library.where import Where, WhereMeasured
from starcli.registry.alignment_methods import DEFAULT_METHOD
from starcli.star.check_sources import check_roles, warn_of_weak_report


@library_call
def barrier(
    a: ModelLike,
    b: ModelLike,
    *,
    curve: ModelLike | Sequence[ModelLike] | None = None,
    points: int = POINTS,
    alignment: Alignment | str | None = AUTO,
    statistics: Statistics = "recalibrate",
    renormalise: str = "recalibrate",
    renormalise_logits: bool = False,
    split: str = "test",
    **where: Unpack[WhereMeasured],
) -> Barrier:
    """Measure how far the loss rises on the straight line from `a` to `b`, on the training split and on `split`.

    B(a, b) = max_t  L((1 - t) a + t b) - ((1 - t) L(a) + t L(b))   over `points` even values of t, ends included.

    curve: bends that the path goes by instead, those of `curve`, whose `b` is then aligned as it was in training unless
    `alignment` says otherwise; other models, such as a star, are joined by straight lines.
    alignment: how `b` is aligned to `a` first, an `Alignment` or the name of a method, as in `alignment="activation"`;
    by default the models are taken as they are, with a note where they were never aligned; None says that it is meant.
    statistics: BatchNorm statistics of the ends, "recalibrate" as of all between, or "own-ends" (the paper's way).
    renormalise: "recalibrate", BatchNorm statistics alone; "repair" also restores mean and deviation of the units
    between the ends, also without BatchNorm, and `renormalise_logits` those of the logits, see `Renormalise`. split:
    test, or validation to choose by; its curve is then `curves["validation"]`.
    where: `arch`, `data`, `train_data`, `device` and others, see `WhereMeasured`.

    >>> import starcli as sc
    >>> a, b = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
    >>> found = sc.barrier(a, sc.align(a, b), points=3)
    >>> found.curves["train"].loss_barrier >= 0, found.t
    (True, (0.0, 0.5, 1.0))
    """
    workspace, [first, second, *bent], watcher = open_models([a, b, *bends_in(curve)], where, measures=True)
    how, bends = Renormalise(renormalise, renormalise_logits), Bends.of(bent, watcher)
    aligned = alignment_along(alignment, bends, [first, second])
    measure = Measure(workspace, aligned, points, statistics, split, watcher, how)
    note_alignment(workspace, aligned, watcher, unsaid=bends.unsettled([first, second]) if alignment == AUTO else ())
    note_repaired(workspace, how, watcher)
    return cached_lines(measure, first, [second], bends)[0]


@library_call
def all_pairs(
    models: Sequence[ModelLike],
    *,
    alignment: Alignment | str | None,
    points: int = POINTS,
    statistics: Statistics = "recalibrate",
    renormalise: str = "recalibrate",
    renormalise_logits: bool = False,
    split: str = "test",
    **where: Unpack[WhereMeasured],
) -> PairsReport:
    """Measure the lines between all pairs of models; `alignment` brings the second of each pair to the first.

    The same weights twice are refused: such a pair has no barrier, and would change means and the share of stars.
    `alignment` has to be said: models that were aligned to one reference are not aligned to each other. None takes all
    as given. Other keywords are those of `barrier`.
    where: `arch`, `data`, `train_data`, `device` and others, see `WhereMeasured`.

    >>> import starcli as sc
    >>> models = [sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1, 2)]
    >>> sc.all_pairs(models, alignment="weight", points=3).matrix().shape
    torch.Size([3, 3])
    """
    models = listed(models, "models")
    need_several(models, "all_pairs")
    workspace, found, watcher = open_models(models, where, measures=True, distinct=len(models))
    how = Renormalise(renormalise, renormalise_logits)
    note_repaired(workspace, how, watcher)
    return measure_all_pairs(
        Measure(workspace, as_alignment(alignment), points, statistics, split, watcher, how), found
    )


@library_call
def star_report(
    star: ModelLike,
    sources: Sequence[ModelLike],
    held_out: Sequence[ModelLike],
    *,
    aligned_sources: Sequence[ModelLike] = (),
    alignment: Alignment | str | None = DEFAULT_METHOD,
    points: int = POINTS,
    statistics: Statistics = "recalibrate",
    renormalise: str = "recalibrate",
    renormalise_logits: bool = False,
    split: str = "test",
    **where: Unpack[WhereMeasured],
) -> StarReport:
    """Measure whether a model is a star: its barriers to sources and held-out models, against those of regular models.

    The row of the paper's Table 1, see `StarReport`. aligned_sources: the sources as the star's training left them.
    Look at the star's own loss too (`.star`): a barrier is a rise above both ends, and is low where an end is high.
    Other keywords are those of `barrier`.
    where: `arch`, `data`, `train_data`, `device` and others, see `WhereMeasured`.

    >>> import starcli as sc
    >>> a, b, c = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1, 2))
    >>> star = sc.find_star([a, b], epochs=1)
    >>> report = sc.star_report(star, [a, b], [c], points=3)
    >>> sorted(report.groups)
    ['regular-regular', 'regular-regular (unaligned)', 'star-held-out', 'star-source']
    """
    sources, held_out = listed(sources, "sources"), listed(held_out, "held_out")
    aligned_sources = listed(aligned_sources, "aligned_sources")
    everything = [star, *sources, *held_out, *aligned_sources]
    workspace, found, watcher = open_models(everything, where, measures=True)
    begin, end = 1 + len(sources), 1 + len(sources) + len(held_out)
    check_roles(found[0], found[1:begin], found[begin:end], watcher)
    how = Renormalise(renormalise, renormalise_logits)
    note_repaired(workspace, how, watcher)
    measure = Measure(workspace, as_alignment(alignment), points, statistics, split, watcher, how)
    report = cached_star_report(measure, found[0], found[1:begin], found[begin:end], found[end:])
    warn_of_weak_report(workspace, report, found[0].name, watcher)
    return report


@library_call
def interpolate(
    *models: ModelLike,
    curve: ModelLike | Sequence[ModelLike] | None = None,
    t: float | None = None,
    weights: Numbers | None = None,
    perturb: float | None = None,
    only: Sequence[str] = (),
    seed: int = 0,
    alignment: Alignment | str | None = AUTO,
    renormalise: str = "recalibrate",
    renormalise_logits: bool = False,
    dtype: str | torch.dtype | None = None,
    **where: Unpack[Where],
) -> MadeModel:
    """Make the point (1 - t) a + t b, that at `t` of a curve, a mean of models, or one at distance `perturb` from one.

    curve: bends between a and b, as of `barrier`.
    Without `t`, `weights` and `perturb` it is the uniform mean of all models. weights: one a model, summing to 1; also
    outside [0, 1], as t. only: patterns of names of the tensors that move, such as `["layer1.*"]`; all others are the
    first model's. seed: of the random direction. alignment: how the other models are aligned to the first; by
    default and with None as in `barrier`.
    BatchNorm statistics are re-estimated from the training split. renormalise, renormalise_logits: what else is done,
    and folded into the weights, see `barrier`. dtype: float32, float64, float16 or bfloat16; else
    tensors have the types of the models'.
    where: `arch`, `data`, `device` and others, see `Where`.

    >>> import starcli as sc
    >>> a, b = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
    >>> middle = sc.interpolate(a, b, t=0.5, alignment=None)
    >>> mean = (a.tensors["fc1.bias"] + b.tensors["fc1.bias"]) / 2
    >>> float((middle.tensors["fc1.bias"] - mean).abs().max()) < 1e-6
    True
    """
    bent, ts = bends_in(curve), None if t is None else [t]
    if perturb is None and seed != 0:
        raise StarcliError("seed is of a random point around one model: it needs perturb")
    aligns, on_curve = alignment != AUTO and as_alignment(alignment).active, bool(bent)
    said = PointsAsked(ts, as_weights(weights), perturb, only, seed)
    [(_, asked)] = said.among(len(models), on_curve=on_curve, aligned=aligns)
    point = replace(asked, renormalise=Renormalise(renormalise, renormalise_logits))
    data = (alignment != AUTO and as_alignment(alignment).reads_data) or point.renormalise.active or bool(bent)
    workspace, found, watcher = open_models([*models, *bent], where, data=data, dtype=dtype)
    point.need_data(workspace)
    ends, bends = found[: len(models)], Bends.of(found[len(models) :], watcher)
    how = alignment_along(alignment, bends, ends)
    note_alignment(workspace, how, watcher, unsaid=bends.unsettled(ends) if alignment == AUTO else ())
    note_repaired(workspace, point.renormalise, watcher)
    point = bends.place(point)
    result = point.make(workspace, bends.tensors(workspace, ends, how), progress=watcher)
    plan = point_plan(workspace, bends.nodes(ends), point, how)
    return made(MadeModel, workspace, plan, result, "interpolated", statistics="recalibrated")
