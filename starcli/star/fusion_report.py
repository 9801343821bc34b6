"""A fused model beside what it was made from: sources, the best of them, their ensemble, their aligned mean."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from starcli.averaging.bma import mean_prediction
from starcli.barriers.interpolation import interpolate_models
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.several import labelled
from starcli.evaluation.confidence import confidence
from starcli.evaluation.evaluator import Evaluator, Model
from starcli.runtime.progress import SILENT, Progress
from starcli.workspace.stamp import stamps
from starcli.workspace.workspace import Workspace


def fusion_rows(
    workspace: Workspace,
    fused: Checkpoint,
    sources: Sequence[Checkpoint],
    aligned: Sequence[Model],
    *,
    split: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[dict[str, Any]]:
    """Loss and accuracy of the fused model, of each source, the best, their ensemble, and the mean of `aligned`.

    The best source is chosen on the validation split, or on the training split where there is none, which its row says.
    The ensemble averages softmax outputs.  Every model has its BatchNorm statistics re-estimated.
    split: the one that is shown; None shows all.
    """
    fused, *sources = labelled([fused, *sources])
    dataset = workspace.dataset
    selection = "train" if dataset.validation is None else "validation"
    there = [name for name in ("train", "validation", "test") if getattr(dataset, name) is not None]
    shown = there if split is None else [split]
    splits = [name for name in there if name in (*shown, selection)]
    labels = {name: dataset.split(name).labels.cpu() for name in splits}
    evaluator, stamp = Evaluator(workspace, progress=progress), stamps(workspace)
    evaluator.admit(aligned)
    progress.start("comparing", len(sources) + 2)

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
            figures = {"accuracy": scores.accuracy, "loss": scores.nll}
            yield {"model": kind, "name": name, "split": each, **figures, **more, **origin}

    yield from rows("fused", fused.name, [fused], outputs(fused.tensors))
    of_sources = [outputs(source.tensors) for source in sources]
    for source, found in zip(sources, of_sources, strict=True):
        yield from rows("source", source.name, [source], found)
    losses = [confidence(found[selection], labels[selection]).nll for found in of_sources]
    best = losses.index(min(losses))
    yield from rows("best_source", sources[best].name, [sources[best]], of_sources[best], selected_on=selection)
    ensemble = {name: mean_prediction(found[name] for found in of_sources) for name in shown}
    yield from rows("ensemble", f"{len(sources)} sources", sources, ensemble)
    mean = interpolate_models(workspace, aligned, [1 / len(aligned)] * len(aligned))
    yield from rows("aligned_mean", f"{len(sources)} sources", sources, outputs(mean))
    progress.finish()
