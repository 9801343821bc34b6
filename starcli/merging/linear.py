"""Means of models: along a line, along an arc, or on a sphere."""

from collections.abc import Iterator

import torch
from torch import Tensor

from starcli.merging.method import MergeMethod, TensorSettings
from starcli.merging.stack import Stack, gram

COLLINEAR = 0.9995
"""Cosine, or minus it, from which two tensors count as parallel, so that an arc between them is their line."""

NO_DIRECTION = 1e-6
"""Length of a sum of directions, or sine of an angle between two, below which it is 0 but for rounding."""

MOST_STEPS, STAYS = 100, 1e-12
"""Steps of a mean on a sphere, and change of its coefficients at which it is found."""


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


def karcher_mean(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Riemannian mean of the directions of tensors, as points of a sphere, at the mean of their lengths.

    m sum_i w_i |x_i| / sum_i w_i, where m is the unit vector at which sum_i w_i angle(m, x_i)^2 is least: of two of one
    length the point at w_2 / (w_1 + w_2) of their arc. Where two are opposite (a cosine below -0.9995), or directions
    cancel, it is the weighted mean; a tensor of zeros has a length alone. Karcher 1977 (Riemannian center of mass and
    mollifier smoothing).
    """
    coefficients = karcher_coefficients(gram(stack.chunks()), settings.weight_vector(torch.float64))
    return (coefficients.to(stack.dtype) @ values for values in stack.chunks())


def karcher_coefficients(products: Tensor, weights: Tensor) -> Tensor:
    """Coefficients of n tensors in their `karcher_mean`, from their inner products (n, n) and weights (n,): (n,).

    m and all tangents are sums of the directions u_i, so that no tensor is read. From their mean on, m moves by the
    mean of the tangents at m that lead to the u_i, theta_i / sin(theta_i) (u_i - cos(theta_i) m), until it stays.

    >>> karcher_coefficients(torch.diag(torch.tensor([1.0, 4.0])).double(), torch.ones(2).double())
    tensor([1.0607, 0.5303], dtype=torch.float64)
    """
    weights, lengths = weights / weights.sum(), products.diagonal().sqrt()
    directed, safe = weights * (lengths > 0), torch.where(lengths > 0, lengths, 1)
    cosines = products / torch.outer(safe, safe)
    if bool(((cosines < -COLLINEAR) & (torch.outer(directed, directed) > 0)).any()):
        return weights
    mean = directed  # everything from here on is coefficients of the u_i
    for _ in range(MOST_STEPS):
        size = (mean @ cosines @ mean).clamp(min=0).sqrt()
        if not float(size) > NO_DIRECTION:
            return weights
        mean = mean / size
        angles = torch.acos((cosines @ mean).clamp(-1, 1))
        sines = angles.sin()
        forces = directed * torch.where(sines > NO_DIRECTION, angles / sines, 1)
        tangent = forces - (forces @ angles.cos()) * mean
        if float(tangent.abs().max()) < STAYS:
            break
        step = (tangent @ cosines @ tangent).clamp(min=0).sqrt()
        mean = torch.cos(step) * mean + torch.sinc(step / torch.pi) * tangent
    return (weights @ lengths) * mean / safe


def _without_mean(settings: TensorSettings) -> str:
    wrong = min(settings.weights) < 0 or not any(settings.weights)
    return "weights: expected numbers from 0, and not all 0" if wrong else ""


LINEAR = MergeMethod(weighted_mean, ("weights", "normalise_weights"), defaults={"normalise_weights": True})
SLERP = MergeMethod(spherical_mean, ("t",), sources=2)
KARCHER = MergeMethod(karcher_mean, ("weights",), objection=_without_mean)
