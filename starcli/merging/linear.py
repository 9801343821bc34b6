"""Means of models: along a line, or along an arc."""

from collections.abc import Iterator

import torch
from torch import Tensor

from starcli.merging.method import MergeMethod, TensorSettings
from starcli.merging.stack import Stack, gram

COLLINEAR = 0.9995
"""Cosine, or minus it, from which two tensors count as parallel, so that an arc between them is their line."""


def weighted_mean(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Mean sum_i w_i x_i / sum_i w_i, or without normalisation the sum sum_i w_i x_i.

    Wortsman et al. 2022 (Model soups).

    >>> stack = Stack.of("w", [torch.zeros(3), torch.ones(3)])
    >>> list(weighted_mean(stack, TensorSettings((1, 3), normalise_weights=True)))
    [tensor([0.7500, 0.7500, 0.7500])]
    """
    return map(settings.summed, stack.chunks())


def spherical_mean(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Point at t of the arc from tensor a to tensor b: sin((1 - t) A) / sin A a + sin(t A) / sin A b.

    A is the angle between them, as vectors; their lengths are not changed first. Where they are parallel (|cos A| above
    0.9995), or one is zero, it is (1 - t) a + t b. Shoemake 1985 (Animating rotation with quaternion curves).
    """
    coefficients = arc_coefficients(gram(stack.chunks()), settings.t)
    return (coefficients.to(stack.dtype) @ values for values in stack.chunks())


def arc_coefficients(products: Tensor, t: float) -> Tensor:
    """Coefficients of a and b at `t` of their arc, from their inner products (2, 2): (2,).

    >>> arc_coefficients(torch.eye(2, dtype=torch.float64), 0.5)
    tensor([0.7071, 0.7071], dtype=torch.float64)
    """
    line = torch.tensor([1 - t, t], dtype=torch.float64)
    lengths = products.diagonal().sqrt()
    if not bool((lengths > 0).all()):
        return line
    cosine = products[0, 1] / lengths.prod()
    if abs(float(cosine)) > COLLINEAR:
        return line
    angle = torch.acos(cosine)
    return torch.sin(line * angle) / torch.sin(angle)


LINEAR = MergeMethod(weighted_mean, ("weights", "normalise_weights"), defaults={"normalise_weights": True})
SLERP = MergeMethod(spherical_mean, ("t",), sources=2)
