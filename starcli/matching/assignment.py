"""Linear assignment: which old unit goes to which new one, so that the gains summed are greatest."""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

try:  # the optional extra `fast`: Jonker-Volgenant in Rust, 3 to 4 times as fast here and of the same optimum
    from lap import lapjvr as _lapjvr
except ImportError:
    _lapjvr = None

Indices = NDArray[np.int64]
Floats = NDArray[np.float32] | NDArray[np.float64]


def solver() -> str:
    """The name of the solver in use: "lapx" where it can be imported, else "scipy"."""
    return "scipy" if _lapjvr is None else "lapx"


def assign(gains: Floats) -> Indices:
    """The permutation p that maximises sum_i gains[i, p[i]].

    `gains` is (n, n) and finite. Optimal in float64, whichever solver is in use; of several optima any one.
    Shortest augmenting paths: Jonker & Volgenant 1987, as in scipy and in lapx.
    """
    if len(gains) < 2:
        return np.zeros(len(gains), dtype=np.int64)
    costs = np.negative(gains, dtype=np.float64)
    if _lapjvr is None:
        # of the negated costs: scipy's own `maximize` is measurably slower on nearly aligned units
        return cast(Indices, linear_sum_assignment(costs)[1].astype(np.int64, copy=False))
    return cast(Indices, np.asarray(_lapjvr(costs, return_cost=False)[1], dtype=np.int64))
