"""Predictions for each example from Python."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack, cast

from torch import nn

from starcli.alignment.alignment import Alignment
from starcli.averaging.predict import Predictor, StarDomain
from starcli.averaging.predict_inputs import Inputs, labelled_inputs, tensor_inputs, to_be_labelled, unlabelled_inputs
from starcli.averaging.sampling import PointSampling, Sampling
from starcli.data.memory_arrays import ArrayLike, as_inputs, is_array
from starcli.data.table_columns import names_of_columns, refuse_other_columns
from starcli.data.text_options import OPTIONS, TextOptions
from starcli.errors import StarcliError, need_several
from starcli.evaluation.column_predictions import AnyPredictions
from starcli.evaluation.renormalise import Renormalise
from starcli.evaluation.temperature import Temperature
from starcli.library.align import as_alignment
from starcli.library.calls import library_call
from starcli.library.inputs import ModelLike, as_checkpoint, listed, open_models
from starcli.library.where import DataLike, NetworkLike, Surroundings, Where
from starcli.registry.alignment_methods import DEFAULT_METHOD
from starcli.runtime.progress import Progress
from starcli.star.check_sources import check_roles
from starcli.workspace.workspace import Workspace

InputsLike = DataLike | ArrayLike
"""Data as of `Where`, or inputs alone (N, ...): a tensor, an array or table, or a name of data without labels."""


USUAL_SAMPLES = 10
"""Number of points of a star domain, where nothing is said."""


class WhereToPredict(Surroundings, total=False):
    """Keywords of `predict`: those of `Where`, where `data` may be inputs alone."""

    arch: NetworkLike | None
    data: InputsLike | None
    average_buffers: bool


@library_call
def predict(
    *models: ModelLike,
    star: ModelLike | None = None,
    sources: Sequence[ModelLike] = (),
    ensemble: bool = False,
    samples: int = USUAL_SAMPLES,
    sampling: str | Sampling = "uniform",
    in_turn: bool = False,
    seed: int = 0,
    alignment: Alignment | str | None = DEFAULT_METHOD,
    train_data: DataLike | None = None,
    split: str | None = None,
    recalibrate: bool = False,
    temperature: Temperature | None = None,
    renormalise: str = "recalibrate",
    renormalise_logits: bool = False,
    **where: Unpack[WhereToPredict],
) -> AnyPredictions:
    """Predict classes and their probabilities for each example: of each model, their ensemble, or a star domain.

    Of other tasks: numbers, or labels and their probabilities.

    ensemble: the mean of the models' probabilities. star, sources, samples, sampling, in_turn, seed, alignment: in
        place of models, the mean over points of the star domain, as `bma` draws them; BatchNorm statistics are
        re-estimated, and `renormalise` and `renormalise_logits` say what else, see `barrier`.
    train_data: the models' own data, for BatchNorm statistics and temperatures, where `data` are others.
    split: of labelled data (test unless said). recalibrate: re-estimate BatchNorm statistics first.
    temperature: of the probabilities; "fit" takes the one with the least loss on the validation split.
    where: `arch`, `device` and others, see `Where`. Its `data` may also be inputs alone: a tensor, array or table
        (N, ...), a folder of images without class folders (`folder:DIR`), a file of images alone. Files are normalised
        as the models record, inputs in memory are taken as they are (bytes divided by 255).

    >>> import starcli as sc
    >>> found = sc.predict(sc.train("mlp", "digits", epochs=1, limit=60))
    >>> found.probabilities.shape, found.label.shape
    ((360, 10), (360,))
    """
    if (star is None) == (not models):
        raise StarcliError("predict takes models, or a star with its sources")
    between = Renormalise(renormalise, renormalise_logits)
    how = as_alignment(alignment, seed=seed)
    points = PointSampling(sampling, in_turn)
    if star is None:
        own = {"renormalise": between.active, "sources": bool(listed(sources, "sources"))}
        own |= {"samples": samples != USUAL_SAMPLES, "seed": seed != 0}
        own |= {"sampling and in_turn": points != PointSampling(), "alignment": how != Alignment(DEFAULT_METHOD)}
        for name in (name for name, said in own.items() if said):
            raise StarcliError(f"{name} is for points between models: they need a star")
    if ensemble:
        need_several(models, "ensemble")
    everything = list(models) if star is None else [star, *listed(sources, "sources")]
    workspace, found, inputs, watcher = _opened(everything, dict(where), train_data, split)
    predictor = Predictor(workspace, inputs, recalibrate, temperature, watcher)
    if star is None:
        return predictor.ensemble(found) if ensemble else predictor.each(found)
    check_roles(found[0], found[1:], (), watcher)
    return predictor.star(StarDomain(found[0], found[1:], samples, seed, how, between, points))


def _opened(
    models: Sequence[ModelLike], where: dict[str, Any], train_data: DataLike | None, split: str | None
) -> tuple[Workspace, list[Any], Inputs, Progress]:
    """The workspace, its models, what is predicted on, and who watches."""
    data = where.pop("data", None)
    in_memory = is_array(data)
    texts = TextOptions(**{name: where[name] for name in OPTIONS if where.get(name) is not None})
    unlabelled = isinstance(data, str) and to_be_labelled(as_checkpoint(models[0]), data, texts)
    if not in_memory and not unlabelled:
        where |= {"data": data, "train_data": train_data}
        workspace, found, watcher = open_models(models, cast(Where, where), measures=True)
        return workspace, found, labelled_inputs(workspace.dataset, split), watcher
    if split is not None:
        raise StarcliError("the data have no labels, and no splits: leave out split")
    if where.get("image_size") is not None:
        raise StarcliError("the data have no labels, and are sized as the models take them: leave out image_size")
    normalise = where.pop("normalise", None)
    if in_memory and train_data is None and all(isinstance(model, nn.Module | Mapping) for model in models):
        where = {"input_shape": tuple(data.shape[1:]), **where}
    own = cast(Where, {**where, "data": train_data})
    if train_data is None:
        own = cast(Where, {name: value for name, value in own.items() if name not in OPTIONS})
    workspace, found, watcher = open_models(models, own, data=train_data is not None, measures=True)
    if isinstance(data, str):
        return workspace, found, unlabelled_inputs(workspace, found, data, normalise, texts), watcher
    features = [] if workspace.data is None else workspace.data.features
    refuse_other_columns("data in memory", names_of_columns(data), features, found[0].name)
    return workspace, found, tensor_inputs(workspace, as_inputs(data, "data in memory"), normalise), watcher
