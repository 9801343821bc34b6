"""Merges of the changes of whole matrices, by their singular values and vectors: TSV, Iso-C."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from starcli.merging.method import MergeMethod, TensorSettings
from starcli.merging.stack import Stack

ROUNDING_OF_WEIGHTS = torch.finfo(torch.float32).eps
"""Relative error of weights: changes of low rank, as LoRA's, are known to this only."""


def task_singular_vectors(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Base and the leading singular vectors of each source's change, made orthogonal to those of the others.

    Of each w_i (x_i - x_0), a matrix of r rows or columns, whichever are fewer, the floor(r / n) largest singular
    values S_i are kept, at least one, and their vectors U_i and V_i. U = [U_1 ... U_n] and V are replaced by the
    orthonormal matrices that are nearest to them: x_0 + s U' diag(S_1 ... S_n) V'^T. See `on_matrices` for other
    tensors. Gargiulo et al. 2025 (Task singular vectors), TSV-Merge.
    """
    return on_matrices(decorrelated_sum, stack, settings)


def isotropic(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Base and the sum of changes with equal singular values: x_0 + s mean(S) U V^T, where sum_i w_i d_i is U S V^T.

    d_i is x_i - x_0. See `on_matrices` for tensors that are no matrices. Marczak et al. 2025 (No task left behind),
    Iso-C.
    """
    return on_matrices(isotropic_sum, stack, settings)


def on_matrices(merge: Callable[[Tensor], Tensor], stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Base and what `merge` makes of all changes (sources, rows, columns) of a matrix; of a vector base and their mean.

    Axes of length 1 do not count, and all behind the first one are columns, as of a convolution's weight its inputs and
    places. The whole tensor of all models is held at a time. Singular values are found in float64: where vectors of
    different sources nearly meet, making them orthogonal magnifies rounding.
    """
    weights = settings.weight_vector(stack.dtype)[:, None]
    rows, *columns = [length for length in stack.shape if length > 1] or [1]
    if not columns:
        for deltas, base in stack.deltas():
            yield base.add(deltas.mul_(weights).mean(0), alpha=settings.scale)
        return
    deltas, base = (torch.cat(parts, -1) for parts in zip(*stack.deltas(), strict=True))
    changes = deltas.mul_(weights).reshape(len(deltas), rows, -1)
    if not bool(changes.isfinite().all()):
        yield deltas.sum(0)  # not finite: who asked for the merge finds and names that
        return
    yield base.add(merge(changes.double()).to(base.dtype).reshape(-1), alpha=settings.scale)


def decorrelated_sum(changes: Tensor) -> Tensor:
    """The sum of the leading parts of changes (n, rows, columns), whose singular vectors are made orthogonal first.

    Vectors of singular values that are 0 but for rounding say nothing and are left out.

    >>> decorrelated_sum(torch.tensor([[[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]]]))
    tensor([[2., 0.],
            [0., 3.]])
    """
    most = max(1, min(changes.shape[1:]) // len(changes))
    parts = [_leading(change, most) for change in changes]
    left, values, right = (torch.cat(each, -1) for each in zip(*parts, strict=True))
    return orthonormal(left) * values @ orthonormal(right).T


def isotropic_sum(changes: Tensor) -> Tensor:
    """The sum of changes (n, rows, columns), each of whose singular values is replaced by their mean.

    Those that are 0 but for rounding stay 0 and do not count.

    >>> isotropic_sum(torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]))
    tensor([[2., 0.],
            [0., 2.]])
    """
    total = changes.sum(0)
    left, values, right = _leading(total, min(total.shape))
    return values.mean() * left @ right.T if len(values) else total


def orthonormal(columns: Tensor) -> Tensor:
    """The orthonormal matrix nearest to `columns` (rows, k), on the space that these span: P Q^T of P D Q^T.

    The polar factor; where columns depend on each other it is that of the lowest rank, so that equal columns stay
    equal. (k above rows gives orthonormal rows.)
    """
    left, _, right = _leading(columns, min(columns.shape))
    return left @ right.T


def _leading(matrix: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular values (k,) of a matrix, of those that are not 0 but for rounding, and their vectors.

    Left ones (rows, k), right ones (columns, k), k at most `most`.
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    least = values.max() * max(matrix.shape) * ROUNDING_OF_WEIGHTS if len(values) else 0
    count = min(most, int((values > least).sum()))
    return left[:, :count], values[:count], right[:count].T


_READS = ("weights", "scale")

TSV = MergeMethod(task_singular_vectors, _READS, base=True)
ISO_C = MergeMethod(isotropic, _READS, base=True)
