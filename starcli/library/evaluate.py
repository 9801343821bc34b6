"""Evaluation and averages of predictions from Python."""

from collections.abc import Sequence
from typing import Unpack

from starcli.alignment.alignment import Alignment
from starcli.alignment.measure import Measure
from starcli.averaging.bma import Draws
from starcli.averaging.cached import average_rows
from starcli.averaging.sampling import PointSampling, Sampling
from starcli.errors import need_several
from starcli.evaluation.renormalise import Renormalise
from starcli.evaluation.result_table import ResultTable
from starcli.evaluation.rows import evaluation_rows
from starcli.evaluation.scoring import Scoring
from starcli.evaluation.temperature import Temperature
from starcli.library.align import as_alignment
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, listed, open_models
from starcli.library.where import WhereMeasured
from starcli.registry.alignment_methods import DEFAULT_METHOD
from starcli.star.check_sources import check_domain


@library_call
def evaluate(
    *models: ModelLike,
    split: str = "test",
    recalibrate: bool = False,
    temperature: Temperature | None = None,
    **where: Unpack[WhereMeasured],
) -> ResultTable:
    """Measure models: accuracy, loss (`nll`, nats), calibration, and how well confidence tells right from wrong.

    A row for each model, with the keys of `starcli eval --json`. split: train, validation or test. recalibrate:
    re-estimate BatchNorm statistics first. temperature: measure at this one too (`scaled`); "fit" takes the one with
    the least loss on the validation split.
    where: `arch`, `data`, `train_data`, `device` and others, see `WhereMeasured`.

    >>> import starcli as sc
    >>> model = sc.train("mlp", "digits", epochs=1, limit=60)
    >>> row = sc.evaluate(model)[0]
    >>> 0 <= row["accuracy"] <= 1, row["split"]
    (True, 'test')
    """
    workspace, found, watcher = open_models(models, where, measures=True)
    rows = evaluation_rows(
        workspace, found, split=split, recalibrate=recalibrate, temperature=temperature, progress=watcher
    )
    return ResultTable(rows)


@library_call
def bma(
    star: ModelLike,
    sources: Sequence[ModelLike],
    *,
    samples: int = 10,
    repeats: int = 3,
    sampling: str | Sampling = "uniform",
    in_turn: bool = False,
    seed: int = 0,
    alignment: Alignment | str | None = DEFAULT_METHOD,
    split: str = "test",
    choose: bool = False,
    temperature: Temperature | None = None,
    renormalise: str = "recalibrate",
    renormalise_logits: bool = False,
    **where: Unpack[WhereMeasured],
) -> ResultTable:
    """Average the predictions of models sampled between a star and its sources, against their ensemble.

    Rows for single models and for 2, 3, ..., `samples` models of each posterior, means and deviations over `repeats`,
    with the keys of `starcli bma --json`: `against_ensemble` has differences to the ensemble of `ensemble_samples`,
    as many models or all sources, with intervals by paired bootstrap over the examples. sampling: how t, the place
    between star (0) and source (1), is drawn: "uniform", "beta:A,B", "constant:T", "midpoint", or "ends", the star
    or a source, or by a function of a `torch.Generator`, whose results are not kept between runs. in_turn: each
    source, of "ends" the star before them, is drawn once before any again. seed: of the draws, and of the alignment
    of the sources to the star unless `alignment` has its own. split: test, or validation to choose by.
    choose: at the end a row for star domain and ensemble each, whose number of samples has the least loss on the
    validation split (`selected_on`). temperature: as of `evaluate`, of the averaged predictions; "fit" fits one to each
    average of both. renormalise, renormalise_logits: of the points between star and sources, see `barrier`.
    where: `arch`, `data`, `train_data`, `device` and others, see `WhereMeasured`.

    >>> import starcli as sc
    >>> sources = [sc.train("mlp", "digits", epochs=1, limit=60, seed=seed) for seed in (0, 1)]
    >>> rows = sc.bma(sc.find_star(sources, epochs=1), sources, samples=2, repeats=1)
    >>> rows.column("posterior")
    ['single', 'star', 'ensemble']
    """
    how = as_alignment(alignment, seed=seed)
    sources = listed(sources, "sources")
    need_several(sources, "sources")
    workspace, found, watcher = open_models([star, *sources], where, measures=True)
    between = Renormalise(renormalise, renormalise_logits)
    measure = Measure(workspace, how, split=split, progress=watcher, renormalise=between)
    scoring = Scoring(workspace.dataset, split, temperature, choose)
    check_domain(workspace, found[0], found[1:], watcher)
    draws = Draws(samples, repeats, seed, PointSampling(sampling, in_turn))
    return ResultTable(average_rows(measure, found[0], found[1:], scoring, draws))
