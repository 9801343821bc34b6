"""Bounds of operators, such as the 6 of ReLU6, that the values of a forward pass do not reach.

Beyond a bound a network is another function: where no value lies there, two units that differ there alone look alike.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from starcli.runtime.dispatch_mode import DispatchMode

REACHED = 0.05
"""Least share of values beyond a bound with which the bound counts as reached."""
BEYOND = 0.25
"""Share of the values on the side of a bound that are to be beyond it."""
FARTHEST = 1e4
"""Largest factor of values to reach a bound; those farther away keep numbers finite in half precision."""
MOST_VALUES = 100_000
"""Most values of one operator that are looked at."""
TOGETHER = 4.0
"""Bounds that are reached by factors this near to each other are tried at one size."""

_BOUNDS: Mapping[str, Callable[[Mapping[str, Any]], Sequence[Any]]] = {
    "clamp": lambda given: (given.get("min"), given.get("max")),
    "clamp_min": lambda given: (given["min"],),
    "clamp_max": lambda given: (given["max"],),
    "hardtanh": lambda given: (given["min_val"], given["max_val"]),
    "hardswish": lambda given: (-3.0, 3.0),
    "hardsigmoid": lambda given: (-3.0, 3.0),
    "threshold": lambda given: (given["threshold"],),
    "hardshrink": lambda given: (-given["lambd"], given["lambd"]),
    "softshrink": lambda given: (-given["lambd"], given["lambd"]),
    "softplus": lambda given: (given["threshold"] / given["beta"],),
    **{
        name: lambda given: (given["other"],) for name in ("gt", "ge", "lt", "le", "maximum", "minimum", "fmax", "fmin")
    },
}
"""The bounds of each operator's first argument, by its other arguments."""


class UnreachedBounds(DispatchMode):  # type: ignore[no-untyped-call]
    """Notes, while it is entered, by which factor values would have to be larger to reach the bounds of operators.

    >>> with UnreachedBounds() as bounds:
    ...     _ = torch.nn.functional.relu6(torch.tensor([-2.0, 0.2, 0.3, 0.5, 1.0])).clamp(0.1, 0.5)
    >>> bounds.sizes()
    [6.0]
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._factors: list[float] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        bounds = _BOUNDS.get(func._schema.name.rpartition("::")[2].rstrip("_"))
        if bounds is not None:
            given = {argument.name: argument.default_value for argument in func._schema.arguments}
            given |= dict(zip(given, args, strict=False)) | dict(kwargs or {})
            value = args[0]
            if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
                self._factors += [factor for bound in bounds(given) if (factor := _factor(value, bound)) > 1]
        return func(*args, **(kwargs or {}))

    def sizes(self) -> list[float]:
        """Sizes at which all of these bounds are reached, in units of the sizes that were seen; largest first."""
        return list(_far_apart(sorted(self._factors, reverse=True)))


def _far_apart(factors: Sequence[float]) -> Iterator[float]:
    """Of factors, largest first, those that are not TOGETHER with one before them."""
    last = math.inf
    for factor in factors:
        if factor < last / TOGETHER:
            last = factor
            yield factor


def _factor(values: Tensor, bound: Any) -> float:
    """By which factor the values have to be larger for BEYOND of those on a bound's side to be beyond it.

    1 for bounds that are reached, are on no value's side, or could not be reached.
    """
    if bound is None or (isinstance(bound, int | float) and (bound == 0 or not math.isfinite(bound))):
        return 1.0
    if isinstance(bound, Tensor):
        values, bound = values + torch.zeros_like(bound), bound + torch.zeros_like(values)
        bound = _some(bound)
    values = _some(values)
    side = values * bound > 0
    count = int(side.sum())
    if count < REACHED * len(values) or count == 0:
        return 1.0
    needed = (bound / values)[side]
    if int((needed <= 1).sum()) >= REACHED * len(values):
        return 1.0
    factor = float(needed.kthvalue(math.ceil(BEYOND * count)).values)
    return factor if factor <= FARTHEST else 1.0


def _some(values: Tensor) -> Tensor:
    """At most MOST_VALUES of the values, in float64."""
    flat = values.detach().reshape(-1)
    return flat[:: math.ceil(len(flat) / MOST_VALUES)].double()
