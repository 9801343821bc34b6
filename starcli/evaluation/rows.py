"""Metrics of models as they are, a row for each."""

from collections.abc import Iterator, Sequence
from typing import Any

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.data.repeats import repeats_notes
from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.scoring import Scoring
from starcli.evaluation.temperature import NOT_FITTED, Temperature
from starcli.runtime.progress import SILENT, Progress
from starcli.workspace.stamp import stamps
from starcli.workspace.workspace import Workspace


def evaluation_rows(
    workspace: Workspace,
    models: Sequence[Checkpoint],
    *,
    split: str = "test",
    recalibrate: bool = False,
    temperature: Temperature | None = None,
    progress: Progress = SILENT,
) -> Iterator[dict[str, Any]]:
    """A row of metrics for each model over a split, with its stored BatchNorm statistics or re-estimated ones.

    The row says under `statistics` where they are re-estimated.
    temperature: also the metrics at this temperature, or "fit": at the one with the least loss on the validation split.
    """
    scoring, stamp = Scoring(workspace.dataset, split, temperature), stamps(workspace)
    if temperature == "fit":
        scoring.need_room(2)
    evaluator = Evaluator(workspace, progress=progress)
    how = {"statistics": "recalibrate"} if recalibrate and evaluator.has_statistics else {}
    note_repeats(workspace, [split], progress)
    if recalibrate:
        note_statistics(workspace, progress)
    progress.start("measuring", len(models))
    for model in models:
        note_stale(evaluator, model, recalibrate)
        evaluator.load(model.tensors, own_statistics=not recalibrate)
        found = scoring.measure(evaluator)
        progress.step()
        if not recalibrate:
            note_other_loss(workspace, model, split, found.plain.loss, progress)
        if temperature is not None and found.temperature is None:
            progress.note(f"{model.name}: {NOT_FITTED}")
        yield {"model": model.name, "split": split, **scoring.row(found), **how, **stamp([model])}
    progress.finish()


def note_stale(evaluator: Evaluator, model: Checkpoint, recalibrate: bool) -> None:
    """A note where a model is to be measured with statistics that are not of its weights."""
    if model.metadata.statistics == "stale" and evaluator.has_statistics and not recalibrate:
        evaluator.progress.note(
            f"{model.name}: its BatchNorm statistics are not of these weights; --recalibrate mends that"
        )


def note_statistics(workspace: Workspace, progress: Progress) -> None:
    """A note where BatchNorm statistics are to be estimated anew on data that are not the models' own."""
    for note in workspace.statistics_notes:
        progress.note(note)


def note_repeats(workspace: Workspace, splits: Sequence[str], progress: Progress) -> None:
    """A note where examples that models are measured on are training examples too."""
    for note in repeats_notes(workspace.dataset, *splits):
        progress.note(note)


ANOTHER_LOSS = 0.01
"""Part of a loss by which it may differ from the one that is recorded: another device or torch stays far below."""


def note_other_loss(workspace: Workspace, model: Checkpoint, split: str, loss: float, progress: Progress) -> None:
    """A note where a model's loss is not the one that its file records, of the same data at the same precision.

    Its weights are those of the file: what differs is the code of the network, a library, or images of the same names.
    """
    metadata = model.metadata
    recorded = ((metadata.metrics or {}).get(split) or {}).get("loss")
    precision = (metadata.recipe or {}).get("precision", "fp32")
    others = split == "test" and workspace.dataset.tested is not None
    if recorded is None or others or metadata.data != workspace.data or precision != workspace.precision:
        return
    if not abs(loss - recorded) <= ANOTHER_LOSS * abs(recorded) + 1e-6:
        what = "it computes something else than when it was made (code of the network, libraries, images?)"
        progress.note(f"{model.name}: its {split} loss is {loss:.4g}, and its file records {recorded:.4g}: {what}")
