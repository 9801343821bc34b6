"""The network between two models, and the gradients of its loss."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.evaluation.batches import Batches
from starcli.evaluation.batchnorm_statistics import batch_statistics
from starcli.evaluation.scores import predictions_of
from starcli.evaluation.tasks.task import task_named
from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast, modes_restored, notices_mode, set_eval_
from starcli.models.spectral_norm import approach_spectral_norms_, solve_spectral_norms_
from starcli.runtime.backward import Backward
from starcli.runtime.progress import SILENT, Progress

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


class LineNetwork:
    """The network between a reference and a model whose learnable parameters change; half way where nothing is said."""

    def __init__(
        self,
        workspace: "Workspace",
        flat: FlatNetwork,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        layout: ParameterLayout,
        backward: Backward,
    ) -> None:
        """Take the buffers half way between `reference` and `model`; `layout` is that of what changes."""
        self._backward = backward
        self._workspace, self._network = workspace, flat.network
        self._task = task_named(workspace.dataset.task)
        torch.lerp(flat.flatten(reference), flat.flatten(model), 0.5, out=flat.parameters)
        flat.load_buffers([reference, model], [0.5, 0.5])
        found = dict(flat.network.named_parameters(remove_duplicate=False))
        self._reference = layout.vector(reference).to(workspace.device)
        self._between = torch.empty_like(self._reference)
        values = layout.member_views(self._between)
        self._values = list(values.values())
        self._parameters: list[Tensor] = [found[name] for name in values]
        self._gradients = torch.zeros_like(self._reference)
        moving = zip(self._parameters, layout.member_views(self._gradients).values(), strict=True)
        self._moving, self._slots = zip(*((each, slot) for each, slot in moving if each.requires_grad), strict=True)
        self._normalised_weights = flat.normalised_weights
        self._notices_mode = notices_mode(flat.network)
        self._autocast = autocast(workspace.device, workspace.precision)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Context of `gradients` and `loss`: eval mode, BatchNorm on each batch's statistics; restored afterwards."""
        with modes_restored(self._network), batch_statistics(self._network):
            set_eval_(self._network)
            yield

    def gradients(self, weights: Tensor, inputs: Tensor, labels: Tensor, t: float = 0.5) -> Tensor:
        """Gradients (P,) by `weights` of the loss on a batch at the place t: (1 - t) reference + t weights.

        Zeros where the loss is infinite, and of frozen parameters, which are renamed with the rest but have none. The
        next call writes into the same memory.
        """
        self._put(weights, t)
        approach_spectral_norms_(self._normalised_weights)
        if self._notices_mode:
            set_eval_(self._network)
        with self._autocast:
            outputs = self._network(inputs)
        logits, targets = prediction_rows(outputs, labels, self._workspace.dataset.num_classes, "evaluation")
        loss = t * self._task.loss(logits.float(), targets)
        found = self._backward.gradients(loss, self._moving)
        torch._foreach_copy_(self._slots, found)
        return self._gradients.nan_to_num_(0.0, 0.0, 0.0)

    def loss(self, weights: Tensor, examples: Batches, *, progress: Progress = SILENT) -> float:
        """Mean loss half way between the reference and `weights` (P,); infinite where it is no number.

        BatchNorm takes the statistics of each batch, as in steps. Interrupted where `progress` asks to stop.
        """
        self._put(weights, 0.5)
        solve_spectral_norms_(self._network)
        pieces = predictions_of(self._network, self._task, examples, self._autocast, None, progress)
        loss = self._task.score(pieces).loss
        return loss if loss == loss else math.inf

    @torch.no_grad()
    def _put(self, weights: Tensor, t: float) -> None:
        """Put (1 - t) reference + t weights into the network."""
        if self._notices_mode:
            self._network.train()
        torch.lerp(self._reference, weights.to(self._workspace.device), t, out=self._between)
        torch._foreach_copy_(self._parameters, self._values)
