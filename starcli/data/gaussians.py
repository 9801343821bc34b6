"""Data set `gaussians`: two classes in the plane, x | y ~ N(mu_y, Sigma), as in the paper's appendix A.2.2.

The paper gives the family and no numbers. Here mu_0 = (-d/2, 0), mu_1 = (d/2, 0) and Sigma = [[1, r], [r, 1]], both
classes equally frequent. No classifier errs less than Phi(-d / (2 sqrt(1 - r^2))): 0.124 with the defaults.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from starcli.data.loading import Loaded, Part, Request, assemble
from starcli.data.normalisation import Normalisation
from starcli.errors import StarcliError, unknown


@dataclass(frozen=True)
class GaussianParameters:
    """Parameters after the name: `gaussians:distance=3,correlation=0,train=200,test=1000,seed=1`.

    distance, correlation: d and r above.
    train, test: number of points.
    seed: of the draws.
    """

    distance: float = 2.0
    correlation: float = 0.5
    train: int = 1000
    test: int = 1000
    seed: int = 0

    def __str__(self) -> str:
        """Name of the data set with these parameters; defaults are left out."""
        said = [f"{f.name}={getattr(self, f.name):g}" for f in fields(self) if getattr(self, f.name) != f.default]
        return "gaussians" + (":" + ",".join(said) if said else "")


_RANGES: dict[str, tuple[type[float], float, float]] = {
    "distance": (float, 0.0, 1e3),
    "correlation": (float, -0.999, 0.999),
    "train": (int, 2, 10_000_000),
    "test": (int, 2, 10_000_000),
    "seed": (int, 0, 2**31),
}


def parse_parameters(text: str) -> GaussianParameters:
    """Parse `key=value,...`. Raises StarcliError for an unknown key, one given twice and a value out of range.

    >>> parse_parameters("distance=3,train=200")
    GaussianParameters(distance=3.0, correlation=0.5, train=200, test=1000, seed=0)
    """
    values: dict[str, float] = {}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in _RANGES:
            raise unknown("parameter of gaussians", key, _RANGES)
        if key in values:
            raise StarcliError(f"gaussians: {key} is said twice")
        kind, low, high = _RANGES[key]
        try:
            number = kind(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            what = "a whole number" if kind is int else "a number"
            raise StarcliError(f"gaussians: {key} is {value!r}, expected {what} from {low} to {high}")
        values[key] = number
    return GaussianParameters(**values)  # type: ignore[arg-type]


def load_gaussians(request: Request) -> Loaded:
    """Draw float32 points (2,), left as they are (mean 0, deviation 1); a seed gives the same points everywhere."""
    parameters = parse_parameters(request.rest)
    # The legacy generator's stream is frozen for good (NEP 19).
    draws = np.random.RandomState(parameters.seed)
    train, test = (_draw(parameters, count, draws) for count in (parameters.train, parameters.test))
    return assemble(
        str(parameters),
        Part(*train, "gaussians, training part"),
        Part(*test, "gaussians, test part"),
        normalisation=Normalisation(1.0, (0.0, 0.0), (1.0, 1.0)),
        num_classes=2,
    )


def _draw(
    parameters: GaussianParameters, count: int, draws: np.random.RandomState
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw `count` points and their labels."""
    labels = np.arange(count) % 2
    first, second = draws.standard_normal((2, count))
    r = parameters.correlation
    # Cholesky factor of Sigma: [[1, 0], [r, sqrt(1 - r^2)]].
    points = np.stack([first + (labels - 0.5) * parameters.distance, r * first + math.sqrt(1 - r * r) * second], axis=1)
    return points.astype(np.float32), labels.astype(np.int64)
