"""Lemma 2 of the paper without data: pairs of unit vectors, and how near permutations bring two of them.

For phi = (phi_1, phi_2) and theta = (theta_1, theta_2), vectors of m numbers of norm 1 with phi_1 . phi_2 =
theta_1 . theta_2 = C, the lemma is about the least over permutations pi of

    g(pi)^2,  g(pi) = phi_1 . pi(theta_2) + pi(theta_1) . phi_2 - 2 C.

On the line between them the linear network theta_1 . theta_2 x leaves the solution C x by t (1 - t) g(pi) x. With
A = phi_1 theta_2^T + phi_2 theta_1^T (m, m), g(pi) = sum_i A[i, pi(i)] - 2 C. Extremes of g are assignment problems;
its least square is none, as that asks for a sum as near to a given number as possible (as in subset sum).

Weight matching takes the permutation that brings the weights nearest, the least |phi_1 - pi(theta_1)|^2 +
|phi_2 - pi(theta_2)|^2. That is an assignment problem, in which g does not occur.
"""

import itertools
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

ROUNDING = 1e-12
"""Swaps that help less than this may be no swaps at all."""


def sample(count: int, width: int, product: float, draws: np.random.Generator) -> Floats:
    """Pairs (count, 2, width) from the uniform distribution on the lemma's set.

    The first vector is uniform on the sphere; the second is C times the first plus sqrt(1 - C^2) times a vector that is
    uniform on the sphere orthogonal to the first.
    """
    first, other = draws.standard_normal((2, count, width))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    other -= (first * other).sum(axis=1, keepdims=True) * first
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return np.stack([first, product * first + np.sqrt(1 - product**2) * other], axis=1)


def cross_products(phi: Floats, theta: Floats) -> Floats:
    """A (width, width) of two pairs (2, width)."""
    return np.outer(phi[0], theta[1]) + np.outer(phi[1], theta[0])


def weight_matching(phi: Floats, theta: Floats) -> Indices:
    """Permutation (width,) that brings theta's weights nearest to phi's."""
    from scipy.optimize import linear_sum_assignment

    # of squared distances: the same optimum as of products, found four times as fast, as small ones are near by
    return linear_sum_assignment(np.square(phi[:, :, None] - theta[:, None, :]).sum(axis=0))[1]


def gap(table: Floats, permutation: Indices, product: float) -> float:
    """g of a permutation, from the table of cross products."""
    return float(table[np.arange(len(table)), permutation].sum() - 2 * product)


@cache
def permutations(width: int) -> Indices:
    """All permutations (width!, width)."""
    return np.array(list(itertools.permutations(range(width))))


def least(table: Floats, product: float) -> float:
    """Least |g| over all permutations, by trying each."""
    tried = permutations(len(table))
    return float(np.abs(sum(table[row, tried[:, row]] for row in range(len(table))) - 2 * product).min())


def swapped(table: Floats, permutation: Indices, product: float, enough: float = 0.0) -> float:
    """|g| after swaps of two places, each time the one that leaves the least, until none helps or it is `enough`."""
    permutation, left = permutation.copy(), gap(table, permutation, product)
    while abs(left) > enough:
        moved = table[:, permutation]
        own = moved.diagonal()
        after = left + moved + moved.T - own[:, None] - own
        i, j = np.unravel_index(np.abs(after).argmin(), after.shape)
        if abs(after[i, j]) > abs(left) - ROUNDING:
            break
        left = float(after[i, j])
        permutation[[i, j]] = permutation[[j, i]]
    return abs(left)


def least_of_sparse(phi: Floats, product: float) -> float:
    """Least |g| over all permutations for the sparse theta = (e_1, C e_1 + sqrt(1 - C^2) e_2), which is in the set.

    Only the places i and j that 1 and 2 go to matter: g = C phi_1[i] + sqrt(1 - C^2) phi_1[j] + phi_2[i] - 2 C. As the
    width grows the largest entries of phi vanish, and so does all but 2 C.
    """
    sums = (product * phi[0] + phi[1])[:, None] + np.sqrt(1 - product**2) * phi[0]
    np.fill_diagonal(sums, np.inf)
    return float(np.abs(sums - 2 * product).min())
