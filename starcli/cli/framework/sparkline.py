"""Sparkline: a curve in one line of text."""

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
"""Characters from the lowest to the highest value."""


def sparkline(values: Sequence[float], *, low: float, high: float) -> str:
    """Draw a curve as one block a value: "▁" at `low`, "█" at `high`, "?" where it is not finite.

    All finite values lie between the two; where these are equal, all is low.

    >>> sparkline([0.0, 1.0, 2.0, 1.0], low=0.0, high=2.0)
    '▁▅█▅'
    """
    span = high - low

    def block(value: float) -> str:
        if not math.isfinite(value):
            return "?"
        share = (value - low) / span if span > 0 else 0.0
        return BLOCKS[round(share * (len(BLOCKS) - 1))]

    return "".join(block(value) for value in values)
