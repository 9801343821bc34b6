"""Metrics of models as they are, a row for each."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.evaluation.confidence import confidence
from starcli.evaluation.evaluator import Evaluator
from starcli.runtime.progress import SILENT, Progress
from starcli.workspace.stamp import stamps
from starcli.workspace.workspace import Workspace


def evaluation_rows(
    workspace: Workspace,
    models: Sequence[Checkpoint],
    *,
    split: str = "test",
    recalibrate: bool = False,
    progress: Progress = SILENT,
) -> Iterator[dict[str, Any]]:
    """A row of metrics for each model over a split, with its stored BatchNorm statistics or re-estimated ones."""
    labels, stamp = labels_of(workspace, split), stamps(workspace)
    evaluator = Evaluator(workspace, progress=progress)
    progress.start("measuring", len(models))
    for model in models:
        if model.metadata.statistics == "stale" and evaluator.has_statistics and not recalibrate:
            progress.note(f"{model.name}: its BatchNorm statistics are not of these weights; --recalibrate mends that")
        evaluator.load(model.tensors, own_statistics=not recalibrate)
        found = confidence(evaluator.log_probabilities(split), labels)
        progress.step()
        row = {"model": model.name, "split": split, **found.to_json(), "decided": found.decided}
        yield {**row, **stamp([model])}
    progress.finish()


def labels_of(workspace: Workspace, split: str) -> Tensor:
    """Labels (N,) of a split, on the CPU; StarcliError where there is no such split."""
    return workspace.dataset.split(split).labels.cpu()
