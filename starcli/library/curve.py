"""Curves between models from Python."""

from pathlib import Path
from typing import Unpack

from starcli.alignment.alignment import Alignment
from starcli.alignment.notes import note_alignment
from starcli.barriers.bends import STRAIGHT
from starcli.curves.curve import train_curve
from starcli.curves.settings import CurveSettings
from starcli.evaluation.rows import note_repeats
from starcli.library.align import AUTO, alignment_along
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, open_models
from starcli.library.made_models import made
from starcli.library.plans import curve_plans
from starcli.library.train import RecipeSettings, TrainedModel, inherited, split_options
from starcli.library.where import Where
from starcli.recipes.recipe import Recipe
from starcli.training.class_weights import note_class_weights
from starcli.workspace.training_notes import test_notes


class CurveKeywords(Where, RecipeSettings, total=False):
    """Keywords of `curve`."""


@library_call
def curve(
    a: ModelLike,
    b: ModelLike,
    *,
    form: str = "bezier",
    bends: int = 1,
    seed: int = 0,
    alignment: Alignment | str | None = AUTO,
    recipe: Recipe | str | Path | None = None,
    **options: Unpack[CurveKeywords],
) -> list[TrainedModel]:
    """Train a curve of low loss from `a` to `b`, which stay as they are; return its bends, in their order.

    minimise over the bends    E_t[L(phi(t))],    t ~ Unif[0, 1]        (mode connectivity, Garipov et al. 2018)

    form: "bezier", with one bend phi(t) = (1 - t)^2 a + 2 t (1 - t) theta + t^2 b, or "polygon", straight lines from
    bend to bend. The bends begin on the straight line. alignment: how `b` is aligned to `a` before, an `Alignment` or
    the name of a method; by default and with None as in `barrier`. The recipe is that of the models unless one is
    named, and settings of training win. `barrier(a, b, curve=bends)` measures the path, `interpolate(a, b, curve=bends,
    t=0.5)` makes a point of it.
    options: fields of `Recipe` (`epochs`, `lr`, ...), and `arch`, `data`, `device` and others, see `Where`.

    >>> import starcli as sc
    >>> a, b = (sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1))
    >>> [bend] = sc.curve(a, b, epochs=2, alignment="weight")
    >>> path = sc.barrier(a, b, curve=bend, points=3)
    >>> middle = sc.interpolate(a, b, curve=bend, t=0.5)
    >>> loss = sc.evaluate(middle, split="train")[0]["nll"]
    >>> abs(path.curves["train"].loss[1] - loss) < 1e-5
    True
    """
    where, changed = split_options(options)
    settings = CurveSettings(form=form, bends=bends, alignment=alignment_along(alignment, STRAIGHT, ()))
    workspace, [first, last], watcher = open_models([a, b], where, distinct=2)
    for note in test_notes(workspace.dataset):
        watcher.note(note)
    note_repeats(workspace, workspace.dataset.measured, watcher)
    note_alignment(workspace, settings.alignment, watcher, unsaid=[first, last] if alignment == AUTO else ())
    chosen = inherited(recipe, [first, last], changed, watcher, workspace.dataset)
    note_class_weights(chosen, workspace.dataset, watcher)
    plans = curve_plans(workspace, [first, last], chosen, seed, settings)
    found = train_curve(workspace, (first, last), chosen, seed, settings, progress=watcher)
    facts = {"statistics": "recalibrated", "history": found.history}
    return [
        made(TrainedModel, workspace, plan, tensors, f"bend-{number}", metrics=metrics, **facts)
        for number, (plan, tensors, metrics) in enumerate(zip(plans, found.bends, found.metrics, strict=True), start=1)
    ]
