"""Sinkhorn relaxation: doubly stochastic matrices in the place of permutations, made permutations when they are judged.

Of scores X (n, n) the doubly stochastic matrix of form exp(x_ij + r_i + c_j), found by normalising rows and columns in
turns, in log space: Sinkhorn and Knopp 1967; Mena et al. 2018. The model half way has weights that are mixed by these
matrices, and the gradient goes through them to the scores. Pena et al. 2023, "Re-basin via implicit Sinkhorn
differentiation"; here the few iterations are differentiated themselves. Their other objective, the L2 distance of the
weights, has in weight matching a search that needs no relaxation.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from starcli.alignment.learned.falling_adam import FallingAdam
from starcli.alignment.learned.parameter_layout import ParameterLayout, learnable_floats
from starcli.alignment.learned.soft_permutation import SoftApplication
from starcli.alignment.matching.linear_assignment import assign
from starcli.alignment.matching.method import MatchMethod
from starcli.alignment.matching.weight_matching import match_many, match_weights
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation

MIXED = 0.01
"""What a unit has of all others together where it begins; with less it hardly moves, with more nothing is a network."""
SCORE_REACH = 10.0
"""How far a score can go in one round."""
NORMALISATIONS = 20
"""Of rows, and as many of columns."""


def sinkhorn(scores: Tensor, iterations: int = NORMALISATIONS) -> Tensor:
    """Nearly doubly stochastic matrices of scores (..., n, n): columns sum to 1, rows as nearly as iterations get.

    >>> sinkhorn(torch.tensor([[0.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    for _ in range(iterations):
        scores = scores - scores.logsumexp(-1, keepdim=True)
        scores = scores - scores.logsumexp(-2, keepdim=True)
    return scores.exp()


class SinkhornPermutation:
    """Soft permutation of one model: scores for each group, which follow gradients by Adam, its rate a cosine."""

    round_steps: ClassVar[int] = 200

    def __init__(
        self,
        spec: Resolved,
        model: Mapping[str, Tensor],
        start: Permutation,
        steps: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """Scores such that `start` has all but `MIXED`; nothing here is drawn from `seed`."""
        self._device = device
        self._spec, self._layout, self._application = spec, ParameterLayout(spec), SoftApplication(spec, device)
        self._model = learnable_floats(spec, model, device)
        self._scores = {name: _scores(index).to(device).requires_grad_() for name, index in start.index.items()}
        self._optimizer = FallingAdam(self._scores.values(), 2 * SCORE_REACH / steps, steps=steps)
        self._soften()

    def _soften(self) -> None:
        """Mix the weights anew."""
        matrices = {name: sinkhorn(scores) for name, scores in self._scores.items()}
        self._mixed = self._application.apply(self._model, matrices)

    def weights(self) -> Tensor:
        """The model's parameters (P,), mixed by the soft permutation."""
        return self._layout.vector(self._mixed)

    def hard_weights(self) -> Tensor:
        """The model's parameters (P,) under `symmetry()`."""
        return self._layout.vector(self.symmetry().apply(self._model))

    def follow(self, gradients: Tensor) -> None:
        """Move the scores."""
        by_name = self._layout.views(gradients.to(self._device))
        moving = [name for name, tensor in self._mixed.items() if tensor.requires_grad]
        mixed, by_mixed = [self._mixed[name] for name in moving], [by_name[name] for name in moving]
        scores = list(self._scores.values())
        self._optimizer.step(torch.autograd.grad(mixed, scores, by_mixed, materialize_grads=True))
        self._soften()

    def symmetry(self) -> Permutation:
        """The permutation of greatest score, the units of a group within others by those that are chosen around it."""
        made: dict[str, Tensor] = {}
        for name, scores in self._scores.items():
            old = Permutation(self._spec, made).sources(name)
            new = torch.meshgrid(*map(torch.arange, scores.shape[: len(old)]), indexing="ij") if old else ()
            chosen = scores.detach().cpu()[(*new, *old)]  # (parents..., n, n)
            flat = chosen.reshape(-1, *chosen.shape[-2:]).numpy()
            made[name] = torch.stack([torch.from_numpy(assign(each)) for each in flat]).view(chosen.shape[:-1])
        return Permutation(self._spec, made)


def _scores(index: Tensor) -> Tensor:
    """Scores (new parents..., old parents..., n, n) of a group's permutation (parents..., n), whichever unit is old."""
    around, n = index.shape[:-1], index.shape[-1]
    above = math.log(max(1, n - 1) * (1 - MIXED) / MIXED)
    chosen = above * torch.eye(n)[index]  # (new parents..., n, n)
    return chosen.view(*around, *[1] * len(around), n, n).expand(*around, *around, n, n).clone()


SINKHORN = MatchMethod(
    one=match_weights, many=match_many, settings=("examples", "share", "gains", "steps"), relax=SinkhornPermutation
)
"""From what activations say, then on the loss half way."""
