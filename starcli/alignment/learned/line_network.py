"""The network between two models, and the gradients of its loss."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.alignment.learned.parameter_layout import ParameterLayout
from starcli.evaluation.batchnorm_statistics import batch_statistics
from starcli.evaluation.tasks.task import task_named
from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast, modes_restored, notices_mode, set_eval_
from starcli.models.spectral_norm import approach_spectral_norms_, spectral_vector_names

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
    ) -> None:
        """Take the buffers half way between `reference` and `model`; `layout` is that of what changes."""
        self._workspace, self._network = workspace, flat.network
        self._task = task_named(workspace.dataset.task)
        torch.lerp(flat.flatten(reference), flat.flatten(model), 0.5, out=flat.parameters)
        flat.load_buffers([reference, model], [0.5, 0.5])
        found = dict(flat.network.named_parameters(remove_duplicate=False))
        self._parameters = [found[name] for name in layout.names]
        self._reference = layout.vector(reference).to(workspace.device)
        self._between = torch.empty_like(self._reference)
        self._values = list(layout.views(self._between).values())
        self._normalised = bool(spectral_vector_names(flat.network))
        self._notices_mode = notices_mode(flat.network)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Context of `gradients`: in eval mode, BatchNorm on the statistics of each batch; restored afterwards."""
        with modes_restored(self._network), batch_statistics(self._network):
            set_eval_(self._network)
            yield

    def gradients(self, weights: Tensor, inputs: Tensor, labels: Tensor, t: float = 0.5) -> Tensor:
        """Gradients (P,) by `weights` of the loss on a batch at the place t: (1 - t) reference + t weights.

        Zeros where the loss is infinite, and of frozen parameters, which are renamed with the rest but have none.
        """
        device = self._workspace.device
        if self._notices_mode:
            self._network.train()
        with torch.no_grad():
            torch.lerp(self._reference, weights.to(device), t, out=self._between)
            for parameter, value in zip(self._parameters, self._values, strict=True):
                parameter.copy_(value)
        if self._normalised:
            approach_spectral_norms_(self._network)
        if self._notices_mode:
            set_eval_(self._network)
        with autocast(device, self._workspace.precision):
            outputs = self._network(inputs)
        logits, targets = prediction_rows(outputs, labels, self._workspace.dataset.num_classes, "evaluation")
        loss = t * self._task.loss(logits.float(), targets)
        moving = [parameter for parameter in self._parameters if parameter.requires_grad]
        found = iter(torch.autograd.grad(loss, moving, materialize_grads=True))
        parts = [next(found) if each.requires_grad else torch.zeros_like(each) for each in self._parameters]
        return torch.cat([part.reshape(-1) for part in parts]).nan_to_num_(0.0, 0.0, 0.0)
