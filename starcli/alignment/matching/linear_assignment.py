"""Linear assignment: the permutation of units with the greatest sum of gains.

Products of weights make hard instances: terms of rank one (biases, BatchNorm's weights) and columns that all rows want
send shortest augmenting paths (Jonker & Volgenant 1987) through most of the matrix. A price subtracted from each column
changes no optimum. A few Sinkhorn iterations in float32 (entropic transport: Cuturi 2013) give nearly optimal prices,
and with them a probability for each entry; at those that are not negligible, a few in each row, a sparse solver finds
an assignment within milliseconds. Linear programming's dual tells whether it is the optimum of the whole matrix: prices
(and what each row gains at them) under which no entry anywhere gains more than the one that was chosen. Where they are
not found the dense solver decides. Milliseconds on matrices of a first sweep (ResNet-18, ResNet-50 twice, ViT-B/16; a
busy machine), always the same optimum:

    n                                                512   1,024   2,048   3,072
    scipy                                             14      64     181     785
    scipy with prices, these included                  8      35      98     463
    candidates and proof, prices included              8      24      80     258
"""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float32] | NDArray[np.float64]

EPS = float(np.finfo(np.float32).eps)
"""Distance of 1 from the next float32."""
DENSE_UP_TO = 96
"""Up to this size the dense solver is faster without prices."""
SPARSE_FROM = 600
"""From this size on it is worth leaving out entries."""
TEMPERATURE = 0.04
"""Temperature of the Sinkhorn iterations, in units of the mean distance from the largest gain of a row.

It is about 0.1 standard deviations.
"""
ITERATIONS = 10
"""Number of Sinkhorn iterations."""
NEGLIGIBLE = 1e-3
"""Entries of a smaller probability are left to the proof. At 0.01 half of them fail, at 0.0001 all takes longer."""
CROWDED = 64
"""Candidates in a row, on average, above which the dense solver is faster."""
AUCTION_ROUNDS = 300
"""Rounds of looking for prices that prove an optimum; 15 to 100 are usual."""
EXACT = 1e-9
"""Tolerance of that proof, in temperatures: an entry may gain this much more than the one that was chosen."""


def assign(gains: Floats) -> Indices:
    """Permutation p that maximises sum_i gains[i, p[i]].

    `gains` is (n, n) and finite. Optimal in float64; of several optima any one.

    >>> assign(np.array([[1.0, 5.0], [2.0, 3.0]]))
    array([1, 0])
    """
    from scipy.optimize import linear_sum_assignment

    n = len(gains)
    if n < 2:
        return np.zeros(n, dtype=np.int64)
    prices: NDArray[np.float64] | float = 0.0
    if n > DENSE_UP_TO:
        transport = Transport(gains)
        prices = transport.prices
        if n >= SPARSE_FROM and transport.temperature > 0:
            candidates = transport.candidates()
            found = _sparse(candidates)
            if found is not None and _optimal(gains, candidates, found):
                return found
    costs = np.subtract(prices, gains, dtype=np.float64)
    return cast(Indices, linear_sum_assignment(costs)[1].astype(np.int64, copy=False))


@dataclass(frozen=True)
class Candidates:
    """Entries that an optimum may use, and bounds of the others."""

    prices: NDArray[np.float64]
    """(n,): prices of the columns."""
    rows: Indices
    columns: Indices
    """(m,) each, in the order of the matrix."""
    net: NDArray[np.float64]
    """(m,): the gains less the price of the column."""
    elsewhere: NDArray[np.float64]
    """(n,): no other entry of the row gains more than this, net."""
    unit: float
    """Temperature of the Sinkhorn iterations."""


class Transport:
    """Entropic transport between rows and columns, by Sinkhorn iterations.

    With E = exp(gains / t): alternately e = 1 / (E f), f = 1 / (E^T e). The prices of the columns are -t log f, those
    under which most rows want different ones; e E f are probabilities.
    """

    def __init__(self, gains: Floats) -> None:
        """Run the iterations on `gains` (n, n)."""
        self.gains = gains
        table = torch.from_numpy(np.ascontiguousarray(gains)).float()
        self.means = table.mean(dim=0)
        table = table - self.means
        self.most = table.amax(dim=1)
        table -= self.most[:, None]
        t = -TEMPERATURE * float(table.mean())
        self.temperature = t if 0 < t < math.inf and 1 / t < 1e38 else 0.0
        """0 where the gains of each row are all the same, up to prices, and where float32 cannot hold them."""
        self.prices = np.zeros(len(gains))
        if not self.temperature:
            return
        # below exp(-60) nothing counts, and denormal numbers would be slow
        self.table = table.mul_(1 / t).clamp_(min=-60).exp_()
        self.factors = torch.ones(len(gains))
        for _ in range(ITERATIONS):
            self.rows = torch.mv(table, self.factors).reciprocal_()
            self.factors = torch.mv(table.T, self.rows).reciprocal_()
        self.prices = (self.means.double() - self.factors.double().log() * t).numpy()

    def candidates(self) -> Candidates:
        """Entries whose probability is not NEGLIGIBLE."""
        chosen = self.table * self.factors > (NEGLIGIBLE / self.rows)[:, None]
        rows, columns = np.divmod(np.flatnonzero(chosen.numpy()), len(self.gains))
        net = self.gains[rows, columns].astype(np.float64) - self.prices[columns]
        t, most = self.temperature, self.most.double()
        rounding = 4 * EPS * (float(self.means.abs().max()) + float(most.abs().max()) + 60 * t) + 1e-3 * t
        elsewhere = most + t * (math.log(NEGLIGIBLE) - self.rows.double().log()) + rounding
        return Candidates(self.prices, rows, columns, net, elsewhere.numpy(), t)


def _sparse(candidates: Candidates) -> Indices | None:
    """Best assignment that uses candidates only; None where there is none, or they are too many."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n, net = len(candidates.prices), candidates.net
    starts = np.searchsorted(candidates.rows, np.arange(n + 1))
    if not (starts[1:] > starts[:-1]).all() or len(net) > CROWDED * n:
        return None
    most = np.maximum.reduceat(net, starts[:-1])
    costs = most[candidates.rows] + candidates.unit - net  # an entry of 0 would be no entry
    # for a square matrix the solver lets rows outbid each other first, without end where gains are nearly the same: a
    # column that nobody wants makes it none
    # scipy's solver takes no other integers, and up to 1.14 does not convert them
    columns, starts = candidates.columns.astype(np.int32), starts.astype(np.int32)
    table = csr_array((costs, columns, starts), shape=(n, n + 1))
    try:
        _, found = min_weight_full_bipartite_matching(table)
    except ValueError:
        return None
    return cast(Indices, found.astype(np.int64, copy=False))


def _optimal(gains: Floats, candidates: Candidates, found: Indices) -> bool:
    """Whether `found` is the best of all assignments.

    It is if there are prices d with g[i, p[i]] - d[p[i]] >= g[i, j] - d[j] for all i and j, up to EXACT. The least of
    them above the given ones are longest paths, which Bellman and Ford's rounds find.
    """
    n, slack = len(found), EXACT * candidates.unit
    own = gains[np.arange(n), found].astype(np.float64) - candidates.prices[found]
    order = np.argsort(candidates.columns, kind="stable")
    columns = candidates.columns[order]
    starts = np.flatnonzero(np.concatenate([[True], columns[1:] != columns[:-1]]))
    columns = columns[starts]
    behind = (candidates.net - own[candidates.rows])[order]
    before = found[candidates.rows][order]
    extra = np.zeros(n)
    for _ in range(AUCTION_ROUNDS):
        raised = np.maximum(extra[columns], np.maximum.reduceat(extra[before] + behind, starts))
        if (raised <= extra[columns] + slack).all():
            break
        extra[columns] = raised
    else:
        return False
    left = own - extra[found] + slack
    unsure = np.flatnonzero(~(candidates.elsewhere - extra.min() <= left))
    most = (gains[unsure] - (candidates.prices + extra)).max(axis=1, initial=-np.inf)
    return bool((most <= left[unsure]).all())
