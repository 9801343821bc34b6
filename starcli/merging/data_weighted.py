"""Means that weigh models by what data say of them: of each parameter, or of the inputs of each layer."""

from collections.abc import Sequence

import torch
from torch import Tensor

FISHER_FLOOR = 1e-6
"""Least weight of a parameter: where no model has more, the mean is the plain one. The paper's value."""

OFF_DIAGONAL = 0.9
"""By what products of different inputs are multiplied, so that the regression leans to the plain mean: the paper's."""

RIDGE = 1e-6
"""Part of the mean square of a layer's inputs that is added to each, so that inputs that are always 0 have a mean."""


def fisher_mean(models: Sequence[Tensor], information: Sequence[Tensor]) -> Tensor:
    """sum_i F_i x_i / sum_i F_i, number by number, of the diagonals F_i of the models' Fisher information.

    F_i is at least 1e-6. Computed in float64. Matena and Raffel 2022 (Merging models with Fisher-weighted averaging).

    >>> fisher_mean([torch.zeros(2), torch.ones(2)], [torch.tensor([1.0, 0.0]), torch.tensor([3.0, 0.0])])
    tensor([0.7500, 0.5000], dtype=torch.float64)
    """
    weights = torch.stack([each.double().clamp(min=FISHER_FLOOR) for each in information])
    return (weights * torch.stack([model.double() for model in models])).sum(0) / weights.sum(0)


def regression_mean(models: Sequence[Tensor], products: Sequence[Tensor]) -> Tensor:
    """The weight W (..., outputs, inputs) whose outputs are nearest to those that each model has on its own inputs.

    products: G_i = X_i^T X_i (..., inputs, inputs) of each model's inputs X_i (positions, inputs). Least squares of
    sum_i ||X_i W^T - X_i W_i^T||^2 are W = (sum_i W_i G_i) (sum_i G_i)^-1, where the numbers of G_i off its diagonal
    are multiplied by 0.9 first. Computed in float64. Jin et al. 2023 (Dataless knowledge fusion by merging weights).
    """
    shrunk = [_shrunk(each.double()) for each in products]
    total = torch.stack(shrunk).sum(0)
    moved = torch.stack([model.double() @ each for model, each in zip(models, shrunk, strict=True)]).sum(0)
    found: Tensor = torch.linalg.solve(total, moved, left=False)
    return found


def _shrunk(products: Tensor) -> Tensor:
    """Products with those off the diagonal made smaller, and the diagonal away from 0."""
    diagonal = products.diagonal(dim1=-2, dim2=-1)
    ridge = (RIDGE * diagonal.mean(-1, keepdim=True)).clamp(min=1e-30)  # of a layer that reads nothing but 0
    return OFF_DIAGONAL * products + torch.diag_embed((1 - OFF_DIAGONAL) * diagonal + ridge)
