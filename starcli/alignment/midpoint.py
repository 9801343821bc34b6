"""Loss half way between two models: what the choice among permutations is for, and what they are judged by.

    L((A + pi(B)) / 2)

It is most of a barrier, at a hundredth of the cost where a part of the training split tells.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.evaluation.batches import Batches
from starcli.evaluation.evaluator import Evaluator, PathEnd
from starcli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

JUDGED = 1000
"""Training examples that midpoints are judged on."""


class MidpointJudge:
    """Judge of any number of pairs of models by the loss of their midpoints, all on the same training examples.

    The examples are drawn from the training split with seed 0, un-augmented and with their labels; BatchNorm statistics
    are re-estimated on them, by the code that measures barriers.
    """

    def __init__(self, workspace: "Workspace", *, examples: int = JUDGED) -> None:
        """Draw `examples` of the training split; all, where it has no more."""
        dataset = workspace.dataset
        some = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))[:examples]
        self.rows = some.sort().values
        """Positions (n,) of the examples in the training split, int64."""
        part = replace(dataset, train=dataset.train.subset(self.rows))
        self._evaluator = Evaluator(replace(workspace, opened=part), splits=("train",))
        self._lock = threading.Lock()  # models may be matched side by side, and share the network

    @property
    def batches(self) -> Batches:
        """The examples as they are scored."""
        return self._evaluator.batches("train", scored=True)

    def loss(
        self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], *, progress: Progress = SILENT
    ) -> float:
        """Mean loss of the task half way between two state dicts; infinite where it is no number.

        StarcliError where the two differ in buffers of which there is none between them, Interrupted where `progress`
        asks to stop.
        """
        with self._lock:
            evaluator = self._evaluator
            evaluator.progress = progress
            evaluator.load_between(PathEnd(reference), PathEnd(model), 0.5)
            loss = evaluator.scores()["train"].loss
        return loss if loss == loss else float("inf")

    def loss_of_mean(self, models: Sequence[Mapping[str, Tensor]], *, progress: Progress = SILENT) -> float:
        """Loss of the mean of any number of state dicts, (A_1 + ... + A_n) / n."""
        with self._lock:
            evaluator, network = self._evaluator, self._evaluator.network
            evaluator.progress = progress
            evaluator.load_buffers(models, [1 / len(models)] * len(models))
            total = torch.zeros(network.parameters.shape, dtype=torch.float64)
            for model in models:
                total += network.flatten(model).cpu().double()
            with torch.no_grad():
                network.parameters.copy_(total / len(models))
            evaluator.recalibrate()
            loss = evaluator.scores()["train"].loss
        return loss if loss == loss else float("inf")
