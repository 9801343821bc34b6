"""Null spaces whose dimension is beyond doubt, and small integer vectors in them."""

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

ZERO = 1e-10
"""Largest singular value that counts as zero, as a share of the largest one."""
NOT_ZERO = 1e-7
"""Least singular value that counts as not zero; where one lies between, nothing is concluded."""
LARGEST_EXPONENT = 6


def null_space(matrix: Tensor, zero: float = ZERO, not_zero: float = NOT_ZERO) -> Tensor | None:
    """Basis (d, m) of the vectors v with `matrix` v = 0, for a matrix (rows, m) of rounded float64.

    Columns are brought to norm 1 first, so that one of small values weighs as much as another. None where some
    singular value is neither zero nor clearly not.

    >>> null_space(torch.tensor([[1.0, 1.0], [2.0, 2.0], [-1.0, -1.0]], dtype=torch.float64)).shape
    torch.Size([1, 2])
    >>> null_space(torch.tensor([[1.0, 1.0], [2.0, 2.0 + 1e-8]], dtype=torch.float64)) is None
    True
    """
    norms = torch.linalg.vector_norm(matrix, dim=0)
    scaled = matrix / norms
    if len(scaled) > scaled.shape[1]:
        scaled = torch.linalg.qr(scaled, mode="r").R
    _, values, vectors = torch.linalg.svd(scaled, full_matrices=True)
    values = torch.cat([values, values.new_zeros(matrix.shape[1] - len(values))])
    largest = float(values[0])
    if bool(((values > zero * largest) & (values < not_zero * largest)).any()):
        return None
    basis: Tensor = vectors[values <= zero * largest] / norms
    return basis


def sparse_integers(basis: Tensor, tolerance: float = 1e-5) -> list[tuple[int, ...]]:
    """Independent vectors of small integers in the space that `basis` (d, m) spans, those of fewest entries first.

    For each coordinate the vector of least L1 norm that is 1 there; such vectors are sparse (Chen, Donoho and Saunders
    2001, "Atomic decomposition by basis pursuit"). Vectors that are no multiples of small integers, up to `tolerance`,
    are left out.

    >>> sparse_integers(torch.tensor([[1.0, 1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 2.0, -2.0]]))
    [(0, 0, 0, 1, -1), (1, 1, -1, 0, 0)]
    """
    if not len(basis):
        return []
    basis = torch.linalg.qr(basis.T).Q.T  # a basis of entries near 1
    vectors = [_sparsest(basis, k) for k in range(basis.shape[1])]
    found = {_positive(each) for v in vectors if v is not None and (each := _integers(v, tolerance))}
    chosen: list[tuple[int, ...]] = []
    for each in sorted(found, key=lambda v: (sum(map(abs, v)), [-abs(x) for x in v][::-1])):
        rows = torch.tensor([*chosen, each], dtype=torch.float64)
        if int(torch.linalg.matrix_rank(rows)) == len(rows):
            chosen.append(each)
    return chosen


def _sparsest(basis: Tensor, coordinate: int) -> Tensor | None:
    """The vector of least L1 norm with entry 1 at `coordinate`; None where all have 0 there."""
    if float(basis[:, coordinate].abs().max()) < 1e-6:
        return None
    if len(basis) == 1:
        return basis[0] / basis[0, coordinate]
    d, m = basis.shape
    rows, ones = basis.T.numpy(), torch.eye(m).numpy()
    # minimise sum t over (c, t) with -t <= c B <= t
    bounds = torch.cat([basis.new_zeros(d), basis.new_ones(m)]).numpy()
    done = linprog(
        bounds,
        A_ub=np.block([[rows, -ones], [-rows, -ones]]),
        b_ub=np.zeros(2 * m),
        A_eq=np.concatenate([rows[coordinate], np.zeros(m)])[None],
        b_eq=np.ones(1),
        bounds=[(None, None)] * d + [(0, None)] * m,
    )
    return None if done.x is None else basis.T @ torch.from_numpy(done.x[:d]).to(basis.dtype)


def _integers(vector: Tensor, tolerance: float) -> tuple[int, ...]:
    """The vector times what makes its least entry 1, where that gives small integers; else nothing."""
    size = vector.abs()
    scaled = vector / size[size > tolerance * size.max()].min()
    whole = scaled.round()
    if float((scaled - whole).abs().max()) > tolerance or float(whole.abs().max()) > LARGEST_EXPONENT:
        return ()
    return tuple(int(each) for each in whole)


def _positive(vector: tuple[int, ...]) -> tuple[int, ...]:
    """The vector or its negative: that of which the first entry is positive."""
    first = next(each for each in vector if each)
    return tuple(each if first > 0 else -each for each in vector)
