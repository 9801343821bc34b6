"""Objective of stacked training: the losses of many networks of one shape, each operator on all of their weights."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from starcli.errors import StarcliError
from starcli.evaluation.tasks.task import task_named
from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import as_logits, with_gradient
from starcli.models.modes import autocast
from starcli.recipes.recipe import Recipe
from starcli.runtime.backward import Backward
from starcli.runtime.blame import raised_at
from starcli.runtime.device import float64
from starcli.runtime.progress import SILENT, Progress
from starcli.training.batched import batched_forward
from starcli.training.beginning import Beginning
from starcli.training.class_weights import class_weights_of
from starcli.training.objective import Row
from starcli.training.train import scores_of
from starcli.training.trial import refuse_single_examples

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


class StackedObjective:
    """Objective of K networks: the sum of their losses, so that each network's gradient is its own.

    `parts` are (K, *shape) views of `vector` (K * P,), in which the K copies of a parameter lie together.
    """

    passes = 1

    def __init__(
        self,
        workspace: "Workspace",
        flat: FlatNetwork,
        recipe: Recipe,
        seeds: Sequence[int],
        progress: Progress = SILENT,
        *,
        beginning: Beginning | None = None,
    ) -> None:
        """Stack the initial weights of `seeds`, or a `beginning` for each; `flat` is the network that computes."""
        refuse_single_examples(flat, workspace.dataset.train, recipe.batch_size)
        self.workspace, self.flat, self.recipe, self.seeds = workspace, flat, recipe, tuple(seeds)
        flat.check_trainable()
        count = len(seeds)
        self.vector = torch.empty(count * flat.parameters.numel(), device=flat.parameters.device)
        self.parts: Sequence[Tensor] = [
            self.vector[count * slot.offset : count * (slot.offset + slot.numel)].view(count, *slot.shape)
            for slot in flat.layout
        ]
        self.leaves = {
            slot.name: part.detach().requires_grad_() for slot, part in zip(flat.layout, self.parts, strict=True)
        }
        self.statistics = {
            name: torch.empty((count, *buffer.shape), dtype=buffer.dtype, device=buffer.device)
            for name, buffer in flat.buffers.items()
        }
        for number, seed in enumerate(seeds):
            drawn = workspace.network(seed)
            if beginning is not None:
                beginning.put(drawn)
            self._put(number, drawn)
        self.losses = float64(torch.zeros(count, device=self.vector.device))
        self.masses = torch.zeros_like(self.losses)  # of the examples that the losses are of
        self.correct = torch.zeros(count, dtype=torch.int64, device=self.losses.device)
        self.latest = self.losses
        self.examples = 0
        flat.network.train()
        self.task = task_named(workspace.dataset.task)
        weights = class_weights_of(recipe, workspace.dataset)
        self.class_weights = None if weights is None else weights.float().to(flat.parameters.device)
        self.backward = Backward(progress)
        self._forward: Callable[[Tensor], Tensor] | None = None

    def begin_epoch(self, epoch: int) -> Row:
        """Nothing to prepare."""
        return {}

    def buffers(self) -> Sequence[Tensor]:
        """Running statistics of all networks, (K, ...) each."""
        return list(self.statistics.values())

    def clear(self) -> None:
        """Forget the gradients."""
        for leaf in self.leaves.values():
            leaf.grad = None

    def step(
        self, inputs: Tensor, labels: Tensor, epoch: int, step: int, number: int = 0, weight: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Forward and backward of all networks: inputs (K, B, ...), labels (K, B) -> mean loss, number of correct."""
        with autocast(self.workspace.device, self.workspace.precision):
            outputs = self._outputs(inputs)
        logits = with_gradient(
            as_logits(outputs, (*labels.shape, self.workspace.dataset.num_classes), "training")
        ).float()
        # outside of vmap, whose rules take it apart, and with the classes outermost: 2.6 times faster (measured)
        classes_first = logits.permute(2, 0, 1).contiguous().unsqueeze(0)
        how: dict[str, Any] = {"weight": self.class_weights, "label_smoothing": self.recipe.label_smoothing}
        every = cross_entropy(classes_first, labels.unsqueeze(0), reduction="none", **how).squeeze(0)
        weights = None if self.class_weights is None else self.class_weights[labels]  # else each example weighs 1
        losses = every.sum(1) / (labels.shape[1] if weights is None else weights.sum(1))
        self.backward(losses.sum(), self.clear)
        correct = right(classes_first.detach()[0], labels).sum(1)
        self.latest = float64(losses.detach())
        mass = labels.shape[1] if weights is None else float64(weights).sum(1)
        self.losses += self.latest * mass
        self.masses += mass
        self.correct += correct.to(self.correct.device)
        self.examples += labels.shape[1]
        return losses.detach().mean(), correct.sum()

    def _outputs(self, inputs: Tensor) -> Tensor:
        """Outputs of all networks, (K, B, classes). Raises StarcliError for draws or calls that cannot be stacked."""
        try:
            if self._forward is None:
                self._forward = batched_forward(self.flat.network, self.leaves, self.statistics, inputs)
            return self._forward(inputs)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            if "vmap" not in reason and "atching rule" not in reason:
                raise
            raise StarcliError(
                "this network cannot be trained stacked: leave out --stacked", [reason[:200], *raised_at(error)]
            ) from error

    def gradients(self) -> Sequence[Tensor | None]:
        """Gradients as the backward pass left them, (K, *shape) each."""
        return [leaf.grad for leaf in self.leaves.values()]

    def watched(self) -> Sequence[Tensor]:
        """The leaves of the backward pass."""
        return list(self.leaves.values())

    def take(self, gradients: Sequence[Tensor | None]) -> None:
        """Replace what the backward pass left."""
        for leaf, gradient in zip(self.leaves.values(), gradients, strict=True):
            leaf.grad = gradient

    def clip(self, largest: float) -> None:
        """Scale each network's gradient by its own norm."""
        gradients = [gradient for gradient in self.gradients() if gradient is not None]
        norms = sum(gradient.flatten(1).square().sum(1) for gradient in gradients)
        assert isinstance(norms, Tensor)
        factors = (largest / (norms.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))

    def end_epoch(self, epoch: int) -> Row:
        """Figures of each network, taken apart again by `_row_of`."""
        found = {
            "losses": (self.losses / self.masses).tolist(),
            "accuracies": [correct / self.examples for correct in self.correct.tolist()],  # in float64
        }
        split = self.workspace.dataset.validation
        if split is not None:
            scores = []
            for number in range(len(self.seeds)):
                self.load(number)
                scores.append(scores_of(self.flat, self.workspace, split))
            found |= {f"validation_{key}": [score[key] for score in scores] for key in ("loss", "accuracy")}
            self.flat.network.train()
        self.losses.zero_()
        self.masses.zero_()
        self.correct.zero_()
        self.examples = 0
        return found

    def describe(self, epoch: int, step: int) -> str:
        """Seeds whose loss is not finite."""
        broken = [seed for seed, loss in zip(self.seeds, self.latest.tolist(), strict=True) if not abs(loss) < 1e300]
        return f", seed {', '.join(map(str, broken))}"

    def load(self, number: int) -> None:
        """Copy network `number` of the stack into `flat`."""
        with torch.no_grad():
            for view, part in zip(self.flat.views(self.flat.parameters).values(), self.parts, strict=True):
                view.copy_(part[number])
            for name, buffer in self.flat.buffers.items():
                buffer.copy_(self.statistics[name][number])

    def _put(self, number: int, network: FlatNetwork) -> None:
        """Copy a network into place `number` of the stack."""
        with torch.no_grad():
            for view, part in zip(network.views(network.parameters).values(), self.parts, strict=True):
                part[number] = view
            for name, buffer in network.buffers.items():
                self.statistics[name][number] = buffer

    def state(self) -> dict[str, Any]:
        """Buffers, and the epoch's sums."""
        sums = {"losses": self.losses, "masses": self.masses, "accuracies": self.correct}
        return {"buffers": self.statistics, "examples": self.examples, **sums}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        for name, buffer in self.statistics.items():
            buffer.copy_(state["buffers"][name])
        self.losses.copy_(state["losses"])
        self.masses.copy_(state["masses"])
        self.correct.copy_(state["accuracies"])
        self.examples = state["examples"]


def right(outputs: Tensor, labels: Tensor) -> Tensor:
    """Whether outputs (C, ...) are largest at the labels (...), and of equal ones first there, as `argmax` has it.

    In a seventh of the time that it takes where the classes are outermost (measured).

    >>> right(torch.tensor([[1.0, 2.0], [1.0, 3.0]]), torch.tensor([1, 1]))
    tensor([False,  True])
    """
    own = outputs.gather(0, labels[None])
    before = torch.arange(len(outputs), device=labels.device).view(-1, *[1] * labels.dim()) < labels
    return (own[0] >= outputs.amax(0)) & ~((outputs == own) & before).any(0)
