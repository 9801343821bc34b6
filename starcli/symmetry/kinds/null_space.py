"""Null spaces whose dimension is beyond doubt, and small integer vectors in them."""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

ZERO = 1e-10
"""Largest singular value that counts as zero, as a share of the largest one."""
NOT_ZERO = 1e-7
"""Least singular value that counts as not zero; where one lies between, nothing is concluded."""
LARGEST_EXPONENT = 6
MOST_ZEROS = 2_000
"""Most sets of coordinates that are tried as those where a sparse vector is zero."""


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


def sparse_integers(
    basis: Tensor, tolerance: float = 1e-5, known: Sequence[tuple[int, ...]] = ()
) -> list[tuple[int, ...]]:
    """Independent vectors of small integers in the space that `basis` (d, m) spans, those of fewest entries first.

    For each coordinate the vector of least L1 norm that is 1 there; such vectors are sparse (Chen, Donoho and Saunders
    2001, "Atomic decomposition by basis pursuit"). Vectors that are no multiples of small integers, up to `tolerance`,
    are left out. So are `known` independent ones of the space: where these and the vectors at coordinates at which all
    of them are 0 span the space, no others are looked for. A coordinate that is next to nothing in all vectors is 0.

    >>> basis = torch.tensor([[1.0, 1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 2.0, -2.0]], dtype=torch.float64)
    >>> sparse_integers(basis)
    [(0, 0, 0, 1, -1), (1, 1, -1, 0, 0)]
    >>> sparse_integers(basis, known=[(0, 0, 0, 1, -1)])
    [(1, 1, -1, 0, 0)]
    """
    if len(known) >= len(basis):
        return []
    even = torch.linalg.qr(basis.T).Q.T  # a basis of entries near 1
    even = even * (even.norm(dim=0) > tolerance / math.sqrt(basis.shape[1]))  # rounding, also where it comes first
    wanted = {i for i in range(basis.shape[1]) if not any(each[i] for each in known)}
    vectors = [v for part in _parts(even) for v in _sparsest_vectors(even, part, wanted)]
    found = {_positive(each) for v in vectors if (each := _integers(v, tolerance))}
    in_order = sorted(found, key=lambda v: (sum(map(abs, v)), [-abs(x) for x in v][::-1]))
    chosen = _independent([*known, *in_order])[len(known) :]
    if known and len(known) + len(chosen) < len(basis):
        return [each for each in sparse_integers(basis, tolerance) if each not in known]
    return chosen


def _independent(vectors: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Those of the vectors that are no linear combination of others before them."""
    chosen: list[tuple[int, ...]] = []
    rows = torch.zeros(0, len(vectors[0]) if vectors else 0, dtype=torch.float64)  # orthonormal
    for each in vectors:
        vector = torch.tensor(each, dtype=torch.float64)
        rest = vector - (rows @ vector) @ rows
        rest = rest - (rows @ rest) @ rows  # twice is enough (Giraud, Langou and Rozloznik 2005)
        if float(rest.norm()) > 1e-8 * float(vector.norm()):
            rows = torch.cat([rows, (rest / rest.norm())[None]])
            chosen.append(each)
    return chosen


def _parts(basis: Tensor) -> list[list[int]]:
    """Sets of coordinates that the space falls into: it is the sum of its vectors in each."""
    linked = (basis.T @ basis).abs() > 1e-8  # the projection to the space
    left, parts = set(range(basis.shape[1])), []
    while left:
        part, edge = set[int](), {min(left)}
        while edge:
            part |= edge
            edge = {j for i in edge for j in linked[i].nonzero().flatten().tolist()} - part
        left -= part
        parts.append(sorted(part))
    return [part for part in parts if bool(linked[part][:, part].any())]


def _sparsest_vectors(basis: Tensor, part: list[int], wanted: Collection[int]) -> list[Tensor]:
    """For each wanted coordinate of a part the vectors of least L1 norm with entry 1 there, as far as they are found.

    Coordinates of constant ratio in the whole space count as one. In a space of dimension d such a vector is zero at
    d - 1 coordinates: these are tried where they are few.
    """
    if not any(i in wanted for i in part):
        return []
    inner = basis[:, part]
    _, values, right = torch.linalg.svd(inner, full_matrices=False)
    inner = right[values > 1e-6]
    first, ratios = _in_constant_ratio(inner)
    some, which = torch.unique(first, return_inverse=True)
    sizes = torch.zeros(len(some), dtype=basis.dtype).index_add_(0, which, ratios.abs())
    d, m = len(inner), len(some)
    inner = inner[:, some]
    at = [k for k, i in enumerate(some.tolist()) if part[i] in wanted]
    if math.comb(m, d - 1) > MOST_ZEROS:
        found = [v for k in at if (v := _sparsest(inner, sizes, k)) is not None]
    else:
        found = list(_vectors_with_zeros(inner, sizes, at))
    vectors = []
    for v in found:
        vectors.append(basis.new_zeros(basis.shape[1]))
        vectors[-1][part] = v[which] * ratios
    return vectors


def _in_constant_ratio(basis: Tensor) -> tuple[Tensor, Tensor]:
    """For each coordinate (m,) the first one that it is a multiple of in all vectors of the space, and the factor."""
    products = basis.T @ basis
    squares = products.diagonal()
    parallel = products.square() > (1 - 1e-10) * squares * squares.unsqueeze(1)
    first = parallel.int().argmax(dim=1)
    return first, products[torch.arange(len(first)), first] / squares[first]


def _vectors_with_zeros(basis: Tensor, sizes: Tensor, at: Sequence[int]) -> Iterator[Tensor]:
    """For each of some coordinates the vectors of least L1 norm that are 1 there, among those with d - 1 zeros.

    A coordinate counts in the norm as much as `sizes` says.
    """
    d, m = basis.shape
    vectors = basis
    if d > 1:
        zeros = torch.tensor(list(combinations(range(m), d - 1)))
        _, values, right = torch.linalg.svd(basis[:, zeros].permute(1, 2, 0), full_matrices=True)  # of (d - 1, d)
        vectors = right[values[:, -1] > 1e-6, -1] @ basis  # (choices, m)
    vectors = torch.where(vectors.abs() < 1e-9, 0.0, vectors)
    for k in at:
        with_k = vectors[vectors[:, k].abs() > 1e-6]
        scaled = with_k / with_k[:, k : k + 1]
        norms = scaled.abs() @ sizes
        yield from scaled[norms <= norms.min() * (1 + 1e-9)] if len(norms) else ()


def _sparsest(basis: Tensor, sizes: Tensor, coordinate: int) -> Tensor | None:
    """The vector of least L1 norm with entry 1 at `coordinate`; None where all have 0 there."""
    if float(basis[:, coordinate].abs().max()) < 1e-6:
        return None
    from scipy.optimize import linprog  # a quarter of a second, which most commands have no use for

    d, m = basis.shape
    rows, ones = basis.T.numpy(), torch.eye(m).numpy()
    # minimise sum sizes t over (c, t) with -t <= c B <= t
    done = linprog(
        torch.cat([basis.new_zeros(d), sizes]).numpy(),
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
