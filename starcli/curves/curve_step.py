"""One step of training a curve: the loss at a random point of it, by whose gradient all bends move.

E_t[L(phi(t))],    phi(t) = sum_k w_k(t) theta_k,    t ~ Unif[0, 1]        (Garipov et al. 2018, equation 2)

theta_0 and the last node are the ends, which stay. The network's own parameters hold the point, the bends are vectors
apart. The gradient by bend k is w_k(t) times the gradient at the point.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starcli.barriers.path import node_weights
from starcli.curves.settings import CurveSettings
from starcli.models.flat_network import FlatNetwork, weighted_sum_
from starcli.models.spectral_norm import approach_spectral_norms_
from starcli.recipes.recipe import Recipe
from starcli.runtime.progress import Progress
from starcli.training.fixed_tensors import fixed_in_training
from starcli.training.objective import Row
from starcli.training.seeds import substream
from starcli.training.train import PlainObjective, final_statistics_

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


class OnCurve(PlainObjective):
    """The objective of a curve. The network's own parameters are the point on it; the bends are apart.

    The bends begin on the straight line between the ends, evenly. What is `fixed_in_training` stays there, and goes
    along the curve.
    """

    def __init__(
        self,
        workspace: "Workspace",
        flat: FlatNetwork,
        ends: Sequence[Mapping[str, Tensor]],
        recipe: Recipe,
        seed: int,
        settings: CurveSettings,
        progress: Progress,
    ) -> None:
        super().__init__(workspace, flat, recipe, progress, sync_batchnorm=settings.sync_batchnorm)
        flat.load(ends[0])
        self.seed, self.settings = seed, settings
        self.first, self.last = map(flat.flatten, ends)
        places = [bend / (settings.bends + 1) for bend in range(settings.bends + 2)]
        self.vector = torch.cat([torch.lerp(self.first, self.last, place) for place in places[1:-1]])
        self.bends = list(self.vector.view(settings.bends, -1))
        self.parts = [part for bend in self.bends for part in flat.views(bend).values()]
        self.point = fixed_in_training(flat, workspace.dataset.train)
        self.fixed = {
            name: _between(ends[0][name].to(own), ends[1][name].to(own), places) for name, own in self.point.items()
        }
        self.slopes: list[Tensor | None] = []
        self.clear()
        self.draw_generator = torch.Generator()

    def step(
        self, inputs: Tensor, labels: Tensor, epoch: int, step: int, number: int = 0, weight: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Add the gradient by the bends of the loss at one point; each piece of a batch has its own point."""
        self.batchnorm.counted = weight > 0
        weights = self.weights(self.draw(epoch, step, number))
        self._put(weights)
        super().clear()
        found = self.accumulate(inputs, labels, weight)
        gradients = super().gradients()
        shares = [(share, gradient) for share in weights[1:-1] for gradient in gradients]
        for place, (share, gradient) in enumerate(shares):
            if gradient is not None:
                slope, own = self.slopes[place], share * gradient
                self.slopes[place] = own if slope is None else slope + own
        return found

    def weights(self, t: float) -> tuple[float, ...]:
        """The weight of each node at t, ends included."""
        return node_weights(self.settings.form, self.settings.bends + 2, t)

    def _put(self, weights: Sequence[float]) -> None:
        """A point into the network, but for running statistics; vectors of spectral norms nearly."""
        weighted_sum_(self.flat.parameters, [self.first, *self.bends, self.last], weights)
        for name, own in self.point.items():
            nodes = zip(weights, self.fixed[name], strict=True)
            own.copy_(torch.stack([weight * node for weight, node in nodes if weight]).sum(0))
        approach_spectral_norms_(self.flat.normalised_weights)

    def draw(self, epoch: int, step: int, number: int) -> float:
        """The t of one point: a function of its place in the run, one for all pieces where BatchNorm is in common."""
        number = 0 if self.settings.sync_batchnorm else number
        place = self.draw_generator.manual_seed(substream(self.seed, "draw", epoch, step, number))
        return float(torch.rand(1, generator=place, dtype=torch.float64))

    def put_bend(self, bend: int) -> None:
        """A bend, from 0, into the network, with its own BatchNorm statistics."""
        self._put([float(node == bend + 1) for node in range(len(self.bends) + 2)])
        final_statistics_(self.flat, self.workspace, self.progress)

    def buffers(self) -> Sequence[Tensor]:
        """Running statistics and the like, without what each step sets by its t."""
        return [tensor for name, tensor in self.flat.buffers.items() if name not in self.point]

    def clear(self) -> None:
        """Forget the gradients, those at the point too: a first backward pass may have left some, and begin again."""
        super().clear()
        self.slopes = [None] * len(self.parts)

    def gradients(self) -> Sequence[Tensor | None]:
        """Gradient by each part of each bend."""
        return self.slopes

    def watched(self) -> Sequence[Tensor]:
        """None: the gradients lie apart from the parameters that backward passes see."""
        return []

    def take(self, gradients: Sequence[Tensor | None]) -> None:
        """Replace what the steps left."""
        self.slopes = list(gradients)

    def clip(self, largest: float) -> None:
        """Scale by the norm of the gradient by all bends."""
        for part, slope in zip(self.parts, self.slopes, strict=True):
            part.grad = slope
        torch.nn.utils.clip_grad_norm_(self.parts, largest)

    def end_epoch(self, epoch: int) -> Row:
        """Nothing: no point of the curve is its result."""
        return {}

    def describe(self, epoch: int, step: int) -> str:
        """The t of a step's point."""
        return f" at t = {self.draw(epoch, step, 0):.4f}"


def _between(first: Tensor, last: Tensor, places: Sequence[float]) -> list[Tensor]:
    """Points of a line; what is equal stays, for infinite entries of a mask would become NaN."""
    return [torch.where(first == last, first, torch.lerp(first, last, place)) for place in places]
