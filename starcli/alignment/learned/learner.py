"""A symmetry that learns on the loss between two models, on the training split.

    minimise over pi   L((A + pi(B)) / 2)

by gradients on mini-batches, with BatchNorm on the statistics of the batch; an element of all kinds of symmetries
learns on L((1 - t) A + t pi(B)), t anywhere between in every other step. Ends are judged on examples that no step
sees, and the best one is kept, the start included: learning never ends worse than it began, by that measure.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor

from starcli.alignment.learned.moving_element import MovingElement
from starcli.alignment.learned.relaxation import Moving, Relaxation
from starcli.alignment.midpoint import JUDGED, MidpointJudge
from starcli.errors import StarcliError
from starcli.evaluation.batchnorm_statistics import batch_statistics
from starcli.evaluation.tasks.task import task_named
from starcli.models.flat_network import FlatNetwork
from starcli.models.logits import prediction_rows
from starcli.models.modes import autocast, modes_restored
from starcli.models.spectral_norm import approach_spectral_norms_
from starcli.models.state_dicts import computable
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.element import Element, Symmetry, units_of
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.permutation import Permutation

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

BATCH = 256
"""Training examples in a step."""
STEP_TOKENS = 4096
"""Tokens in a step, where examples are texts; of these there are fewer to judge on, too."""
JUDGED_EVERY = 10
"""Steps between two judgements, twice as many for elements; one of them costs as much as one or two steps."""


Sought = TypeVar("Sought", bound=Symmetry)


@dataclass(frozen=True)
class Learned(Generic[Sought]):
    """Symmetry that was learned, and the loss half way to the reference on the examples that it was judged on."""

    symmetry: Sought
    midpoint_loss: float


class Learner:
    """Learns symmetries of models of one workspace, their permutations by one relaxation of permutations."""

    def __init__(self, workspace: "Workspace", relax: type[Relaxation]) -> None:
        """Set examples apart to judge on: `JUDGED` of the training split, at most half. StarcliError for fewer than 4.

        Steps take all the others.
        """
        count = len(workspace.dataset.train)
        if count < 4:
            raise StarcliError(f"an alignment learns on 4 training examples or more, found {count}")
        self.workspace, self.relax = workspace, relax
        self._batch = _batch(workspace)
        self.judge = MidpointJudge(workspace, examples=min(JUDGED * self._batch // BATCH, count // 2))
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
    ) -> Learned[Permutation]:
        """The best permutation that `steps` steps from `start` come by, each round of them from the best so far.

        That is `start` where there are no units to rename. The same seed gives the same one. StarcliError where the
        models differ in buffers of which there is none between them, Interrupted where `progress` asks to stop.
        """

        def begin(best: Permutation, count: int) -> Moving[Permutation]:
            return self.relax(start.spec, model, best, count, seed)

        rounds = _rounds(steps, self.relax.round_steps) if start.spec.groups else []
        return self._best(reference, model, start, begin, rounds, seed=seed, line=False, progress=progress)

    def learn_element(
        self,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        kinds: Kinds,
        *,
        steps: int,
        rate: float,
        seed: int,
        progress: Progress = SILENT,
    ) -> Learned[Element]:
        """The best element of `kinds`, from the one that does nothing on; both models are in their normal forms.

        Steps are taken half way and anywhere between the models in turns. Otherwise as `learn`.
        """
        device = self.workspace.device
        moving = MovingElement(kinds, model, self.relax, steps=steps, rate=rate, seed=seed, device=device)
        rounds = _rounds(steps, self.relax.round_steps)
        start = Element.identity(kinds)
        return self._best(reference, model, start, moving.begin, rounds, seed=seed, line=True, progress=progress)

    def _best(
        self,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        start: Sought,
        begin: Callable[[Sought, int], Moving[Sought]],
        rounds: Sequence[int],
        *,
        seed: int,
        line: bool,
        progress: Progress,
    ) -> Learned[Sought]:
        """The best that is met in rounds of steps, half way (`line`: and elsewhere) between the models."""

        def judged(symmetry: Sought) -> float:
            return self.judge.loss(reference, symmetry.apply(model), progress=progress)

        best, steps = Learned(start, judged(start)), sum(rounds)
        if not steps:
            return best
        names = units_of(start).spec.learnable()
        midpoint = _Midpoint(self.workspace, self._flat, reference, start.apply(model), names)
        batches, places = self._batches(steps, seed), _places(steps, seed) if line else [0.5] * steps
        every, examples = 2 * JUDGED_EVERY if line else JUDGED_EVERY, iter(zip(batches, places, strict=True))
        done = 0
        for count in rounds:
            moving, last = begin(best.symmetry, count), best.symmetry
            for step, ((inputs, labels), t) in enumerate(islice(examples, count), 1):
                progress.stop_if_asked()
                moving.follow(midpoint.gradients(moving.tensors(), inputs, labels, t))
                if step % every and step < count:
                    continue
                found = moving.symmetry()
                if _moved(found, last):
                    last = found
                    best = min(best, Learned(found, judged(found)), key=lambda each: each.midpoint_loss)
                progress.step(0, step=done + step, of=steps, midpoint=best.midpoint_loss)
            done += count
        return best

    def _batches(self, steps: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of as many steps, every pass in an order of its own; a last one that is smaller is left out."""
        generator = torch.Generator().manual_seed(seed)
        size = min(self._batch, len(self._rows))
        each = len(self._rows) // size * size
        passes = -(-steps * size // each)
        rows = torch.cat([torch.randperm(len(self._rows), generator=generator)[:each] for _ in range(passes)])
        return self.workspace.dataset.train.batches(
            size, order=self._rows[rows[: steps * size]], device=self.workspace.device, channels_last=True
        )


def _batch(workspace: "Workspace") -> int:
    """Training examples in a step."""
    if workspace.dataset.vocab_size is None:
        return BATCH
    return max(1, min(BATCH, STEP_TOKENS // math.prod(workspace.architecture.input_shape)))


def _rounds(steps: int, each: int) -> list[int]:
    """Steps of each round."""
    return [min(each, left) for left in range(steps, 0, -each)]


def _places(steps: int, seed: int) -> list[float]:
    """Places between the models, one for each step: anywhere and half way, in turns."""
    anywhere = torch.rand(steps, generator=torch.Generator().manual_seed(seed)).tolist()
    return [0.5 if step % 2 else t for step, t in enumerate(anywhere)]


def _moved(found: Symmetry, last: Symmetry) -> bool:
    """Whether there is something new to judge; what is continuous always moves."""
    return isinstance(found, Element) or bool(found.moved(units_of(last)))


class _Midpoint:
    """The network between a reference and a model whose learnable parameters change; half way where nothing is said."""

    def __init__(
        self,
        workspace: "Workspace",
        flat: FlatNetwork,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        names: Iterable[str],
    ) -> None:
        """Take the buffers half way between `reference` and `model`; `names` are the parameters that change."""
        self.workspace, self.network, self.task = workspace, flat.network, task_named(workspace.dataset.task)
        torch.lerp(flat.flatten(reference), flat.flatten(model), 0.5, out=flat.parameters)
        flat.load_buffers([reference, model], [0.5, 0.5])
        found = dict(flat.network.named_parameters(remove_duplicate=False))
        self.parameters = {name: found[name] for name in names}
        self.reference = {name: computable(reference[name]).float().to(workspace.device) for name in names}

    def gradients(
        self, tensors: Mapping[str, Tensor], inputs: Tensor, labels: Tensor, t: float = 0.5
    ) -> dict[str, Tensor]:
        """Gradients by `tensors` of the loss on a batch at the place t: (1 - t) reference + t tensors.

        Zeros where the loss is infinite, and of frozen parameters, which are renamed with the rest but have none.
        """
        device = self.workspace.device
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.lerp(self.reference[name], tensors[name].to(device), t))
        approach_spectral_norms_(self.network)
        with modes_restored(self.network), batch_statistics(self.network.eval()):
            with autocast(device, self.workspace.precision):
                outputs = self.network(inputs)
            logits, targets = prediction_rows(outputs, labels, self.workspace.dataset.num_classes, "evaluation")
            loss = t * self.task.loss(logits.float(), targets)
            moving = {name: parameter for name, parameter in self.parameters.items() if parameter.requires_grad}
            found = dict(
                zip(moving, torch.autograd.grad(loss, list(moving.values()), materialize_grads=True), strict=True)
            )
        return {
            name: found[name].nan_to_num(0.0, 0.0, 0.0) if name in found else torch.zeros_like(parameter)
            for name, parameter in self.parameters.items()
        }
