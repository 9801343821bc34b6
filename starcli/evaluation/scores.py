"""Loss and metrics of a network over a split, as it is."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from starcli.evaluation.batches import Batches
from starcli.evaluation.batchnorm_folding import Folding
from starcli.evaluation.batchnorm_statistics import has_batch_statistics
from starcli.evaluation.tasks.classification import CLASSIFICATION
from starcli.evaluation.tasks.task import Scores, Task
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast, modes_restored, set_eval_
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.rehearsal import few_if_rehearsed

if TYPE_CHECKING:
    from starcli.data.splits import Split


PROBABILITIES_AT_ONCE = 2**24
"""Probabilities of a batch that are held in float64 at a time: 128 MiB."""


def folding_of(network: nn.Module, precision: str) -> Folding | None:
    """How forward passes fold BatchNorm, where there is any; bf16 weights are too coarse to take it along."""
    return Folding(network) if precision != "bf16" and has_batch_statistics(network) else None


def predictions_of(
    network: nn.Module,
    task: Task,
    batches: Iterable[tuple[Tensor, Tensor]],
    autocast: Any,
    folding: Folding | None,
    progress: Progress,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Predictions (n, ...) in float64 as of `task`, and targets, of each batch, the network in eval mode.

    A batch with very many next tokens comes in several pieces.
    """
    with modes_restored(network), contextlib.ExitStack() as stack:
        set_eval_(network)
        for number, (inputs, labels) in enumerate(batches):
            progress.stop_if_asked()
            if folding and number == 0:
                stack.enter_context(folding.applied(inputs))
            # inference mode is entered anew for each batch: a generator must not leave it on in its caller
            with torch.inference_mode(), autocast:
                logits, targets = prediction_rows(network(inputs), labels, 1, "evaluation")
            for some, wanted in zip(
                *(torch.split(each, _rows_at_once(logits)) for each in (logits, targets)), strict=True
            ):
                with torch.inference_mode():
                    outputs = task.predictions(some)
                yield outputs, wanted.to(outputs.device)


def _rows_at_once(logits: Tensor) -> int:
    """Predictions whose probabilities are held in float64 at a time."""
    return max(1, PROBABILITIES_AT_ONCE // logits.shape[1])


def score_network(
    network: nn.Module,
    split: "Split",
    *,
    task: Task = CLASSIFICATION,
    batch_size: int,
    device: torch.device,
    precision: str = "fp32",
    progress: Progress = SILENT,
) -> Scores:
    """Loss (summed in float64) and metrics of `network`, in eval mode, over `split`."""
    batches = few_if_rehearsed(Batches(split, batch_size, device), -(-len(split) // batch_size))
    how = autocast(device, precision)
    return task.score(predictions_of(network, task, batches, how, folding_of(network, precision), progress))
