"""Straight-through estimation: latent weights, matched by the model's own, take the gradients in their place.

The weights under the permutation and the latent ones are two things. Forward the model is permuted to be as near as it
can to the latent weights, by weight matching; backward the latent weights take the gradient, as if they had been used
themselves. Ainsworth et al. 2022 (Git Re-Basin), section 3.3; Bengio et al. 2013. Whatever weight matching can move,
by any spec, can be learned.

Latent matrices, one for each group, hardened by assignment, were tried (ResNet of width 8, digits, 3 pairs, 200 steps
in one round): they leave 0.67 of the barrier by activation, latent weights 0.56.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from starcli.alignment.learned.falling_adam import FallingAdam
from starcli.alignment.learned.parameter_layout import ParameterLayout, learnable_floats
from starcli.alignment.matching.costs import Costs
from starcli.alignment.matching.descent import Descent
from starcli.alignment.matching.method import MatchMethod
from starcli.alignment.matching.problem import MatchingProblem, StackedModel
from starcli.alignment.matching.weight_matching import match_many, match_weights
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation

LATENT_REACH = 8.0
"""How far a latent weight can go in one round, in root mean squares of all weights."""


class StraightThrough:
    """Permutation of one model that follows latent weights, by Adam with a rate that falls as a cosine."""

    round_steps: ClassVar[int] = 40

    def __init__(
        self,
        spec: Resolved,
        model: Mapping[str, Tensor],
        start: Permutation,
        steps: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """The latent weights are those of the model under `start`, to which nothing is nearer."""
        self._spec, self._layout = spec, ParameterLayout(spec)
        self._model = learnable_floats(spec, model, device)
        self._weights = self._layout.vector(start.apply(self._model))
        self._latent = self._weights.clone()
        rate = 2 * LATENT_REACH / steps * float(self._latent.double().square().mean().sqrt())  # of a cosine half counts
        self._optimizer = FallingAdam([self._latent], rate, steps=steps)
        self._generator = np.random.default_rng(seed)
        self._latent_side = StackedModel(spec, self._layout.views(self._latent), device)
        problem = MatchingProblem(self._latent_side, StackedModel(spec, self._model, device))
        costs = [Costs(*pair, split=False) for pair in problem.pairs]
        self._descent = Descent(problem, costs, {name: index.numpy() for name, index in start.index.items()})

    def weights(self) -> Tensor:
        """The model's parameters (P,), permuted."""
        return self._weights

    hard_weights = weights

    def follow(self, gradients: Tensor) -> None:
        """Move the latent weights, and match the model to them from where it is."""
        self._optimizer.step([gradients.to(self._latent.device)])
        self._latent_side.refill_()
        for costs in self._descent.costs:
            costs.forget()
        before = dict(self._descent.state.index)
        self._descent.run(self._generator)
        if any(each is not before[name] for name, each in self._descent.state.index.items()):
            self._weights = self._layout.vector(self.symmetry().apply(self._model))

    def symmetry(self) -> Permutation:
        """The permutation under which the model is nearest to the latent weights."""
        index = self._descent.state.index
        return Permutation(self._spec, {name: torch.from_numpy(each) for name, each in index.items()})


STRAIGHT_THROUGH = MatchMethod(
    one=match_weights, many=match_many, settings=("examples", "share", "gains", "steps"), relax=StraightThrough
)
"""From what activations say, then on the loss half way."""
