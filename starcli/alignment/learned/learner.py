"""A permutation that learns on the loss half way between two models, on the training split.

    minimise over pi   L((A + pi(B)) / 2)

by gradients on mini-batches, with BatchNorm on the statistics of the batch. Ends are judged on examples that no step
sees, and the best one is kept, the start included: learning never ends worse than it began, by that measure.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from starcli.alignment.learned.relaxation import Relaxation
from starcli.alignment.midpoint import JUDGED, MidpointJudge
from starcli.errors import StarcliError
from starcli.evaluation.batchnorm_statistics import batch_statistics
from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast, modes_restored
from starcli.models.spectral_norm import approach_spectral_norms_
from starcli.models.state_dicts import computable
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.permutation import Permutation

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

BATCH = 256
"""Training examples in a step."""
JUDGED_EVERY = 10
"""Steps between two judgements; one of them costs as much as one or two steps."""


@dataclass(frozen=True)
class Learned:
    """Permutation that was learned, and the loss half way to the reference on the examples that it was judged on."""

    permutation: Permutation
    midpoint_loss: float


class Learner:
    """Learns permutations of models of one workspace, by one relaxation of permutations."""

    def __init__(self, workspace: "Workspace", relax: type[Relaxation]) -> None:
        """Set examples apart to judge on: `JUDGED` of the training split, at most half. StarcliError for fewer than 4.

        Steps take all the others.
        """
        count = len(workspace.dataset.train)
        if count < 4:
            raise StarcliError(f"an alignment learns on 4 training examples or more, found {count}")
        self.workspace, self.relax = workspace, relax
        self.judge = MidpointJudge(workspace, examples=min(JUDGED, count // 2))
        unseen = torch.ones(count, dtype=torch.bool)
        unseen[self.judge.rows] = False
        self._rows = unseen.nonzero().squeeze(1)
        self._flat = workspace.network()

    def learn(
        self,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        start: Permutation,
        *,
        steps: int,
        seed: int,
        progress: Progress = SILENT,
    ) -> Learned:
        """The best permutation that `steps` steps from `start` come by, each round of them from the best so far.

        That is `start` where there are no units to rename. The same seed gives the same one. StarcliError where the
        models differ in buffers of which there is none between them, Interrupted where `progress` asks to stop.
        """

        def judged(permutation: Permutation) -> float:
            return self.judge.loss(reference, permutation.apply(model), progress=progress)

        best = Learned(start, judged(start))
        if not start.spec.groups:
            return best
        midpoint = _Midpoint(self.workspace, self._flat, reference, start.apply(model), start.spec.learnable())
        batches = self._batches(steps, seed)
        for left in range(steps, 0, -self.relax.round_steps):
            count = min(left, self.relax.round_steps)
            relaxed, last = self.relax(start.spec, model, best.permutation, count, seed), best.permutation
            for step, (inputs, labels) in enumerate(islice(batches, count), 1):
                progress.stop_if_asked()
                relaxed.follow(midpoint.gradients(relaxed.tensors(), inputs, labels))
                if step % JUDGED_EVERY and step < count:
                    continue
                found = relaxed.permutation()
                if found.moved(last):
                    last = found
                    best = min(best, Learned(found, judged(found)), key=lambda each: each.midpoint_loss)
                progress.step(0, midpoint=best.midpoint_loss)
        return best

    def _batches(self, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of as many steps, every pass in an order of its own; a last one that is smaller is left out."""
        generator = torch.Generator().manual_seed(seed)
        size = min(BATCH, len(self._rows))
        each = len(self._rows) // size * size
        passes = -(-steps * size // each)
        rows = torch.cat([torch.randperm(len(self._rows), generator=generator)[:each] for _ in range(passes)])
        return self.workspace.dataset.train.batches(
            size, order=self._rows[rows[: steps * size]], device=self.workspace.device, channels_last=True
        )


class _Midpoint:
    """The network half way between a reference and a model whose learnable parameters change."""

    def __init__(
        self,
        workspace: "Workspace",
        flat: FlatNetwork,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        names: Iterable[str],
    ) -> None:
        """Take the buffers half way between `reference` and `model`; `names` are the parameters that change."""
        self.workspace, self.network = workspace, flat.network
        torch.lerp(flat.flatten(reference), flat.flatten(model), 0.5, out=flat.parameters)
        flat.load_buffers([reference, model], [0.5, 0.5])
        found = dict(flat.network.named_parameters(remove_duplicate=False))
        self.parameters = {name: found[name] for name in names}
        self.reference = {name: computable(reference[name]).float().to(workspace.device) for name in names}

    def gradients(self, tensors: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Gradients of the loss on a batch by `tensors`, on the CPU.

        Zeros where the loss is infinite, and of frozen parameters, which are renamed with the rest but have none.
        """
        device = self.workspace.device
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.lerp(self.reference[name], tensors[name].to(device), 0.5))
        approach_spectral_norms_(self.network)
        with modes_restored(self.network), batch_statistics(self.network.eval()):
            with autocast(device, self.workspace.precision):
                outputs = self.network(inputs)
            logits, targets = prediction_rows(outputs, labels, self.workspace.dataset.num_classes, "evaluation")
            loss = 0.5 * cross_entropy(logits.float(), targets)
            moving = {name: parameter for name, parameter in self.parameters.items() if parameter.requires_grad}
            found = dict(
                zip(moving, torch.autograd.grad(loss, list(moving.values()), materialize_grads=True), strict=True)
            )
        return {
            name: (found[name].nan_to_num(0.0, 0.0, 0.0) if name in found else torch.zeros_like(parameter)).cpu()
            for name, parameter in self.parameters.items()
        }
