"""Linear assignment: which old unit goes to which new one, so that the gains summed are greatest.

Products of weights make hard instances: terms of rank one (biases, BatchNorm's weights) and columns that all rows want
send shortest augmenting paths (Jonker & Volgenant 1987, as in scipy) through most of the matrix. A potential subtracted
from each column changes no optimum; with nearly optimal ones the paths are short. A few Sinkhorn iterations in float32
find such potentials (entropic transport: Cuturi 2013), and the exact solver finishes. Milliseconds on the matrices of
matching two ResNet-18s, always the same optimum:

    n                                                128    256    512
    scipy                                            2.0    12.8   94
    lapx 0.11 (lapjvr)                               0.5     3.2   34
    scipy with potentials, these included            0.4     1.3    5.8
    lapx with potentials, these included             0.5     1.8    2.4    (3,072: 1,450, scipy 470)

so that a second solver would not pay.
"""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Indices = NDArray[np.int64]
Floats = NDArray[np.float32] | NDArray[np.float64]

SMALL = 96
"""Up to this size the exact solver is faster alone."""
TEMPERATURE = 0.04
"""Of the Sinkhorn iterations, in units of the mean distance from the largest gain of a row; 0.1 standard deviations."""
ITERATIONS = 10


def assign(gains: Floats) -> Indices:
    """The permutation p that maximises sum_i gains[i, p[i]].

    `gains` is (n, n) and finite. Optimal in float64; of several optima any one.
    """
    n = len(gains)
    if n < 2:
        return np.zeros(n, dtype=np.int64)
    prices = column_potentials(gains) if n > SMALL else 0.0
    costs = np.subtract(prices, gains, dtype=np.float64)
    return cast(Indices, linear_sum_assignment(costs)[1].astype(np.int64, copy=False))


def column_potentials(gains: Floats) -> NDArray[np.float64]:
    """What each column should cost (n,) for every row to want a different one, nearly.

    With E = exp(gains / t): alternately e = 1 / (E f), f = 1 / (E^T e); the potentials are -t log f.
    """
    table = torch.from_numpy(gains).float()
    means = table.mean(dim=0)
    table = table - means
    table -= table.amax(dim=1, keepdim=True)
    temperature = -TEMPERATURE * float(table.mean())
    if temperature <= 0:
        return means.double().numpy()
    # below exp(-60) nothing counts, and denormal numbers would be slow
    table.mul_(1 / temperature).clamp_(min=-60).exp_()
    factors = torch.ones(len(gains))
    for _ in range(ITERATIONS):
        rows = torch.mv(table, factors).reciprocal_()
        factors = torch.mv(table.T, rows).reciprocal_()
    return (means - factors.log_().mul_(temperature)).double().numpy()
