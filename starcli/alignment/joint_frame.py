"""Several models in one frame, each moved in turn to the mean of the others: what joint alignment is made of."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.kinds.ascent import LEAST_GAIN
from starcli.alignment.matching.method import Match
from starcli.models.state_dicts import computable
from starcli.runtime.progress import Progress
from starcli.symmetry.normal_form import normal_element
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry

HELD_BYTES = 2**31
"""What the method compares is held where that of all models takes no more, else made anew each time it is needed."""
MOST_ROUNDS = 100
"""Rounds after which models are taken where they are; 3 to 10 are usual."""


class JointFrame:
    """Models in a common frame: their permutations or elements so far, and the sum of what they are under these."""

    def __init__(
        self, aligner: Aligner, models: Sequence[Mapping[str, Tensor]], end: int, start: int, progress: Progress
    ) -> None:
        """Take `models` as they are; an `end` has a seed and examples of its own, a `start` another first model."""
        self.method, self.spec = aligner.alignment.match_method, aligner.compared_spec
        self.kinds, self.device = aligner.kinds, aligner.costs_device
        self.models = aligner.compared(models, draw=end)
        if self.kinds is not None:
            self.models = [normal_element(self.kinds, model).apply(model) for model in models]
        numbers = sum(math.prod(self.spec.shapes[name]) for name in self.spec.learnable())
        if 4 * numbers * len(models) <= HELD_BYTES:
            self.models = list(self.models)
        self.progress, self.sweeps = progress, 0
        self.generator = np.random.default_rng([aligner.alignment.seed + end, start])
        self.first, self.cold = (end + start) % len(models), min(1, aligner.alignment.restarts)
        self.symmetries: list[Symmetry] = [Permutation.identity(self.spec)] * len(models)
        if self.kinds is not None:
            self.symmetries = [aligner.identity] * len(models)
        self._add_up()

    def _add_up(self) -> None:
        """Sum what the models are in the common frame."""
        shapes = {name: self.spec.shapes[name] for name in self.spec.learnable()}
        self.sum, self.squares = {name: torch.zeros(n, dtype=torch.float64) for name, n in shapes.items()}, 0.0
        for number in range(len(self.models)):
            placed = self._placed(number)
            self.sum = {name: total + placed[name] for name, total in self.sum.items()}
            self.squares += _square(placed)

    def gather(self) -> None:
        """Match all to the first model of this start."""
        others = [number for number in range(len(self.models)) if number != self.first]
        matches = self._matches(self.models[self.first], others, [None] * len(others), self.cold)
        for number, match in zip(others, matches, strict=True):
            self.symmetries[number] = match.symmetry
        self._add_up()

    def settle(self) -> None:
        """Match each model to the mean of the others until none moves."""
        for _ in range(MOST_ROUNDS):
            order = self.generator.permutation(len(self.models)).tolist()
            if not sum([self._move(number) for number in order]):
                return

    @property
    def objective(self) -> float:
        """Mean inner product over the pairs: (|sum|^2 - sum of |.|^2) over twice their number."""
        count = len(self.models)
        return (_square(self.sum) - self.squares) / (count * (count - 1))

    def _move(self, number: int) -> int:
        """Match a model to the mean of the others from where it is, and return the number of units that moved."""
        self.progress.stop_if_asked()
        before = self._placed(number)
        others = len(self.models) - 1
        mean = {name: (total - before[name]).float() / others for name, total in self.sum.items()}
        # buffers, which nothing is matched on, are the model's own
        [match] = self._matches(
            {**self.models[number], **self.spec.named(mean)}, [number], [self.symmetries[number]], 1
        )
        if not (match.moved or self.kinds is not None):
            return 0
        now, self.symmetries[number] = self.symmetries[number], match.symmetry
        after = self._placed(number)
        if not match.moved:
            gained = sum(float((mean[name] * (after[name] - before[name])).sum()) for name in mean)
            if gained <= LEAST_GAIN * abs(match.objective):  # rotations come near to an optimum for ever
                self.symmetries[number] = now
                return 0
        self.sum = {name: total + (after[name].double() - before[name]) for name, total in self.sum.items()}
        return match.moved or 1

    def _matches(
        self,
        reference: Mapping[str, Tensor],
        numbers: Sequence[int],
        starts: Sequence[Symmetry | None],
        restarts: int,
    ) -> list[Match]:
        """Match the models of these numbers to `reference`, each with a seed of its own."""
        seeds = self.generator.integers(2**31, size=len(numbers)).tolist()
        models = [self.models[number] for number in numbers]
        if self.kinds is None:
            how = {"seeds": seeds, "restarts": restarts, "starts": starts, "device": self.device}
            found = self.method.match_all(reference, models, self.spec, **how)
        else:
            assert self.method.elements is not None
            each = zip(models, seeds, starts, strict=True)
            how = {"restarts": restarts, "progress": self.progress}
            found = [self.method.elements(reference, m, self.kinds, seed=s, start=at, **how) for m, s, at in each]
        self.sweeps += sum(match.sweeps for match in found)
        return found

    def _placed(self, number: int) -> dict[str, Tensor]:
        """What is matched on of a model, in the common frame."""
        model = self.models[number]
        if self.kinds is None:  # elements ask for all
            seen = self.spec.seen(model)
            model = {name: seen[name] for name in self.spec.learnable()}
        own = {name: computable(tensor.detach()).cpu() for name, tensor in model.items()}
        placed = self.spec.seen(self.symmetries[number].apply(own))
        return {name: placed[name] for name in self.spec.learnable()}


def _square(tensors: Mapping[str, Tensor]) -> float:
    """Sum of squares in float64."""
    return sum(float(torch.linalg.vector_norm(tensor.double()) ** 2) for tensor in tensors.values())
