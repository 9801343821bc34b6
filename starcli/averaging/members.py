"""The models whose predictions are averaged: sources, and points between them and a star; which of them are drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from starcli.averaging.sampling import PointSampling
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.runtime.rehearsal import once_if_rehearsed

KEPT_PREDICTION_BYTES = 2 * 2**30
"""Predictions of sources are kept between repeats up to this size; beyond it they are computed again."""


class Members:
    """Predictions of the sources and of points between them and the star, all with statistics re-estimated.

    outputs: the predictions (N, classes) of what an evaluator has loaded.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        star: Model,
        sources: Sequence[Model],
        outputs: Callable[[Evaluator], Tensor],
    ) -> None:
        self.evaluator, self.star, self.outputs = evaluator, PathEnd(star), outputs
        self.sources = [PathEnd(source) for source in sources]
        self._kept: dict[int, Tensor] = {}

    def source(self, position: int) -> Tensor:
        """Of one source; kept, for other repeats need it too."""
        if position in self._kept:
            return self._kept[position]
        output = once_if_rehearsed("models of the ensemble", lambda: self._found(self.sources[position].model))
        if (len(self._kept) + 1) * output.nbytes <= KEPT_PREDICTION_BYTES:
            self._kept[position] = output
        return output

    def between(self, position: int, t: float) -> Tensor:
        """Of the point (1 - t) star + t source."""
        return once_if_rehearsed("points of the star domain", lambda: self._point(position, t))

    def _point(self, position: int, t: float) -> Tensor:
        self.evaluator.load_between(self.star, self.sources[position], t)
        return self._measured()

    def _found(self, model: Model) -> Tensor:
        self.evaluator.load(model)
        return self._measured()

    def _measured(self) -> Tensor:
        output = self.outputs(self.evaluator)
        self.evaluator.progress.step()
        return output


@dataclass(frozen=True)
class Draw:
    """The draws of one repeat: points (source, t) of the star domain, and the order of the ensemble's members."""

    points: list[tuple[int, float]]
    order: list[int]


def draw_members(sources: int, samples: int, points: PointSampling, generator: torch.Generator) -> Draw:
    """`samples` points (source, t) of the star domain, and as many of the ensemble as there are, in random order."""
    found = points.points(sources, samples, generator)
    order = torch.randperm(sources, generator=generator)[:samples].tolist()
    return Draw(found, order)
