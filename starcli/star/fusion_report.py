"""A fused model beside what it was made from: sources, the best of them, their ensemble, their means."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.joint import tensors_jointly
from starcli.averaging.bma import mean_prediction
from starcli.barriers.interpolation import interpolate_models
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.several import labelled
from starcli.evaluation.confidence import confidence
from starcli.evaluation.evaluator import Evaluator, Model
from starcli.evaluation.renormalise import RECALIBRATE, Renormalise
from starcli.runtime.progress import SILENT, Progress
from starcli.star.fusing import selection_split
from starcli.workspace.stamp import stamps


def fusion_rows(
    aligner: Aligner,
    fused: Checkpoint,
    sources: Sequence[Checkpoint],
    *,
    renormalise: Renormalise = RECALIBRATE,
    split: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[dict[str, Any]]:
    """Loss and accuracy of the fused model, of each source, the best, their ensemble, and of means of the sources.

    Means are of the sources as they are (`mean`), each aligned to the fused model (`aligned_mean`), and all aligned to
    each other (`joint_mean`); where nothing is to be aligned the first two are one, and the third is left out.
    The best source is chosen on the validation split, or on the training split where there is none, which its row says.
    The ensemble averages softmax outputs.  Every model has its BatchNorm statistics re-estimated.
    renormalise: what else is done to the activations of the means. split: the one that is shown; None shows all.
    """
    workspace = aligner.workspace
    fused, *sources = labelled([fused, *sources])
    given = [source.tensors for source in sources]
    means = {"mean": given, "aligned_mean": aligner.tensors_of_all(fused, sources, progress=progress)}
    if aligner.active:
        means["joint_mean"] = tensors_jointly(aligner, sources, progress=progress)
    dataset = workspace.dataset
    selection = selection_split(workspace)
    there = [name for name in ("train", "validation", "test") if getattr(dataset, name) is not None]
    shown = there if split is None else [split]
    splits = [name for name in there if name in (*shown, selection)]
    labels = {name: dataset.split(name).labels.cpu() for name in splits}
    evaluator, stamp = Evaluator(workspace, progress=progress), stamps(workspace)
    evaluator.admit(given)
    progress.start("comparing", 1 + len(sources) + len(means))

    def outputs(model: Model) -> dict[str, Tensor]:
        evaluator.load(model)
        progress.step()
        return {name: evaluator.log_probabilities(name) for name in splits}

    def rows(
        kind: str, name: str, models: Sequence[Checkpoint], found: Mapping[str, Tensor], **more: Any
    ) -> Iterator[dict[str, Any]]:
        origin = stamp(models)
        for each in shown:
            scores = confidence(found[each], labels[each])
            figures = {"accuracy": scores.accuracy, "loss": scores.nll, "renormalise": "recalibrate"}
            yield {"model": kind, "name": name, "split": each, **figures, **more, **origin}

    kept = (fused.metadata.metrics or {}).get("greedy_soup", {})
    own = (fused.metadata.recipe or {}).get("fused", {}).get("renormalise", "recalibrate")
    yield from rows("fused", fused.name, [fused], outputs(fused.tensors), renormalise=own, **kept)
    of_sources = [outputs(source.tensors) for source in sources]
    for source, found in zip(sources, of_sources, strict=True):
        yield from rows("source", source.name, [source], found)
    losses = [confidence(found[selection], labels[selection]).nll for found in of_sources]
    best = losses.index(min(losses))
    yield from rows("best_source", sources[best].name, [sources[best]], of_sources[best], selected_on=selection)
    ensemble = {name: mean_prediction(found[name] for found in of_sources) for name in shown}
    yield from rows("ensemble", f"{len(sources)} sources", sources, ensemble)
    for kind, models in means.items():
        mean = interpolate_models(workspace, models, [1 / len(models)] * len(models), renormalise=renormalise)
        yield from rows(kind, f"{len(sources)} sources", sources, outputs(mean), renormalise=renormalise.title)
    progress.finish()
