"""Sparkline: a curve in one line of text."""

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
"""Characters from the lowest to the highest value."""


def sparkline(values: Sequence[float], *, low: float | None = None, high: float | None = None) -> str:
    """Draw a curve as one block a value: the lowest is "▁", the highest "█", what is not finite "?".

    `low` and `high` set the scale, so that several curves compare; values beyond it are cut. A flat curve is low.

    >>> sparkline([0.0, 1.0, 2.0, 1.0])
    '▁▅█▅'
    """
    finite = [value for value in values if math.isfinite(value)]
    bottom = low if low is not None else min(finite, default=0.0)
    top = high if high is not None else max(finite, default=0.0)
    span = top - bottom

    def block(value: float) -> str:
        if not math.isfinite(value):
            return "?"
        share = (value - bottom) / span if span > 0 else 0.0
        return BLOCKS[min(max(round(share * (len(BLOCKS) - 1)), 0), len(BLOCKS) - 1)]

    return "".join(block(value) for value in values)
