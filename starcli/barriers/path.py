"""Paths through weight space: a straight line between two models, or a curve by way of its bends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from starcli.evaluation.evaluator import PathEnd
from starcli.registry.curve_forms import CURVE_FORMS
from starcli.registry.entry import resolve

LINE = "line"
"""The form of a path without bends."""


def bezier_weights(count: int, t: float) -> tuple[float, ...]:
    """Weights of the nodes of a Bezier curve at t: C(n, k) (1 - t)^(n - k) t^k for k = 0, ..., n = count - 1.

    With one bend that is (1 - t)^2 A + 2 t (1 - t) theta + t^2 B. Garipov et al. 2018, section 3.2.

    >>> bezier_weights(3, 0.5)
    (0.25, 0.5, 0.25)
    """
    last = count - 1
    return tuple(math.comb(last, k) * (1 - t) ** (last - k) * t**k for k in range(count))


def polygon_weights(count: int, t: float) -> tuple[float, ...]:
    """Weights of the nodes of a polygonal chain at t: node k lies at t = k / (count - 1), straight lines between.

    Garipov et al. 2018, section 3.2.

    >>> polygon_weights(3, 0.25), polygon_weights(3, 1.0)
    ((0.5, 0.5, 0.0), (0.0, 0.0, 1.0))
    """
    place = t * (count - 1)
    before = min(int(place), count - 2)
    weights = [0.0] * count
    weights[before], weights[before + 1] = 1 - (place - before), place - before
    return tuple(weights)


@dataclass(frozen=True)
class Path:
    """A path from the first of `nodes` to the last, by way of those between, its bends.

    form: a name of `starcli.registry.curve_forms`; a path without bends is a straight line in any of them.
    """

    nodes: Sequence[PathEnd]
    form: str = LINE

    def weights(self, t: float) -> tuple[float, ...]:
        """The weight of each node at t from 0 to 1; they sum to 1."""
        return node_weights(self.form, len(self.nodes), t)


def node_weights(form: str, count: int, t: float) -> tuple[float, ...]:
    """The weight of each of `count` nodes at t, of a line or a curve of that form."""
    if count == 2:
        return polygon_weights(count, t)
    found: tuple[float, ...] = resolve(CURVE_FORMS, "form", form)(count, t)
    return found
