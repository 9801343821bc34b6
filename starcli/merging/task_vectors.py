"""Merges of task vectors, changes of models from a common base: sums of them, trimmed or thinned, and model stock."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from starcli.merging.method import LEAST_SUM, MergeMethod, TensorSettings
from starcli.merging.sparse import RandomChanges, keep_between_, keep_largest_, kept_between, least_kept
from starcli.merging.stack import Stack, gram


def task_arithmetic(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Base x_0 and the weighted sum of changes: x_0 + s sum_i w_i (x_i - x_0), s the scale.

    With normalisation the sum is divided by sum_i w_i. Ilharco et al. 2023 (Editing models with task arithmetic).

    >>> stack = Stack.of("w", [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])], torch.zeros(2))
    >>> list(task_arithmetic(stack, TensorSettings((1, 1), scale=0.5)))
    [tensor([0.5000, 1.0000])]
    """
    for deltas, base in stack.deltas():
        yield _added(base, settings.summed(deltas), settings)


def ties(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Base and the mean of the largest changes of one sign: trim, elect sign, disjoint mean.

    d_i is x_i - x_0, of which the numbers of magnitude `settings.least` and more are kept: the share `density` that is
    largest in all tensors together. At each place the sign of sum_i w_i d_i is elected (+ where it is 0), and the
    sources A that agree with it are averaged: x_0 + s sum_A w_i d_i / sum_A w_i. Without normalisation it is their sum.
    Yadav et al. 2023 (TIES-merging): as there, and in the authors' code, a task vector is that of the whole model;
    other programs trim each tensor alone.
    """
    for deltas, base in stack.deltas():
        yield _added(base, _agreed(keep_largest_(deltas, settings.least), settings), settings)


def dare_linear(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Task arithmetic of changes of which a random share `density` is kept, divided by it: see `RandomChanges`."""
    some = RandomChanges(settings.density, settings.seed)
    for deltas, base in stack.deltas():
        yield _added(base, settings.summed(some.keep_(deltas)), settings)


def dare_ties(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Signs elected as in `ties`, of changes of which a random share `density` is kept: see `RandomChanges`."""
    some = RandomChanges(settings.density, settings.seed)
    for deltas, base in stack.deltas():
        yield _added(base, _agreed(some.keep_(deltas), settings), settings)


def della(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Signs elected and changes averaged as in `ties`, of random changes, of which large ones are kept more often.

    In each row of a tensor a change is kept with a probability between density - epsilon, of the smallest, and
    density + epsilon, of the largest, and divided by it: see `shares_by_rank`. Deep et al. 2024 (DELLA-merging).
    """
    for deltas, base in _drawn_by_rank(stack, settings):
        yield _added(base, _agreed(deltas, settings), settings)


def della_linear(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Task arithmetic of the random changes of `della`, whose signs may differ."""
    for deltas, base in _drawn_by_rank(stack, settings):
        yield _added(base, settings.summed(deltas), settings)


def sce(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Base and the mean of changes of one sign, weighted by their squares, where sources differ most.

    Select: of all places of a tensor the share `density` at which the variance of the changes d_i = x_i - x_0 over the
    sources is largest; elsewhere they become 0. Calculate: w_i = sum d_i^2 / sum_j sum d_j^2, over all these places.
    Erase: those changes whose sign is not that of sum_i d_i. x_0 + s sum_A w_i d_i / sum_A w_i, where A are the sources
    whose changes are left; without normalisation it is their sum. Wan et al. 2024 (FuseChat), SCE.
    """
    least: tuple[float, ...] = (0.0,)
    if settings.density[0] < 1:
        least = least_kept(lambda: map(_spread, stack.changes()), settings.density[:1])
    squares = torch.stack([_selected_(each, least).double().square().sum(1) for each in stack.changes()]).sum(0)
    weights = (squares / squares.sum() if squares.any() else squares)[:, None].to(stack.dtype)
    for deltas, base in stack.deltas():
        positive = _selected_(deltas, least).sum(0) >= 0
        change = _of_one_sign(deltas.mul_(weights), weights, positive, divided=settings.normalise_weights)
        yield _added(base, change, settings)


def breadcrumbs(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Task arithmetic of changes that are neither small nor outliers, in each tensor by itself.

    Of the N numbers of each x_i - x_0 the floor(outliers N) largest ones become 0, and all but the floor(density N)
    largest of the others. Davari and Belilovsky 2024 (Model breadcrumbs), equation 1.

    >>> stack = Stack.of("w", [torch.tensor([9.0, 0.1, -2.0, 3.0])], torch.zeros(4))
    >>> list(breadcrumbs(stack, TensorSettings((1,), density=(0.5,), outliers=(0.25,))))
    [tensor([ 0.,  0., -2.,  3.])]
    """
    least, most = kept_between(stack.changes, settings.density, settings.outliers)
    for deltas, base in stack.deltas():
        yield _added(base, settings.summed(keep_between_(deltas, least, most)), settings)


def model_stock(stack: Stack, settings: TensorSettings) -> Iterator[Tensor]:
    """Point between the base and the mean of n sources that their angles say is nearest to the centre of solutions.

    (1 - t) x_0 + t mean_i x_i with t = n c / (1 + (n - 1) c), c the mean cosine of x_i - x_0 and x_j - x_0 over pairs.
    Each tensor has a t of its own. Jang et al. 2024 (Model stock), equation 5.
    """
    t = stock_ratio(gram(stack.changes()))
    for deltas, base in stack.deltas():
        yield deltas.mean(0).mul_(t).add_(base)


def stock_ratio(products: Tensor) -> float:
    """The t of `model_stock`, of the inner products of n changes (n, n).

    0 where it has no finite value, and a change of 0 has the cosine 0 with all others.

    >>> stock_ratio(torch.tensor([[1, 0.5], [0.5, 1]], dtype=torch.float64))
    0.6666666666666666
    """
    count, lengths = len(products), products.diagonal().sqrt()
    scale = torch.outer(lengths, lengths)
    cosines = torch.where(scale > 0, products / scale, 0).clamp(-1, 1)
    cosine = float(cosines.triu(1).sum()) / (count * (count - 1) / 2)
    below = 1 + (count - 1) * cosine
    return count * cosine / below if abs(below) >= 1e-6 else 0.0


def _agreed(deltas: Tensor, settings: TensorSettings) -> Tensor:
    """The sum, or weighted mean, of the changes whose sign is that of their sum: (numbers,)."""
    weights = settings.weight_vector(deltas.dtype)[:, None]
    changes = deltas * weights  # (sources, numbers)
    return _of_one_sign(changes, weights, changes.sum(0) >= 0, divided=settings.normalise_weights)


def _of_one_sign(changes: Tensor, weights: Tensor, positive: Tensor, *, divided: bool) -> Tensor:
    """The sum of weighted changes (sources, numbers) of the elected signs, or it divided by that of their weights.

    weights: (sources, 1). positive: which signs are elected, (numbers,).
    """
    agree = changes.sign() == positive.to(changes.dtype).mul_(2).sub_(1)
    total = changes.mul_(agree).sum(0)
    if divided:
        below = (weights * agree).sum(0)
        nothing = below.abs() <= LEAST_SUM * weights.abs().sum()  # but rounding
        total.div_(torch.where(nothing, 1, below))
    return total


def _drawn_by_rank(stack: Stack, settings: TensorSettings) -> Iterator[tuple[Tensor, Tensor]]:
    some = RandomChanges(settings.density, settings.seed, settings.epsilon)
    for deltas, base in stack.deltas(whole=stack.row):
        yield some.keep_(deltas, stack.row), base


def _spread(deltas: Tensor) -> Tensor:
    """Standard deviation over the sources at each place, (1, numbers), in float32: the same in any order of them."""
    wide = deltas.double()
    return (wide - wide.mean(0)).square_().mean(0).sqrt_().float()[None]  # torch's std takes six times as long


def _selected_(deltas: Tensor, least: Sequence[float]) -> Tensor:
    return deltas.mul_(_spread(deltas) >= torch.tensor(least)) if least[0] else deltas


def _share_of_each(settings: TensorSettings) -> str:
    shares = sorted(set(settings.density))
    shown = ", ".join(f"{share:g}" for share in shares)
    return f"density: {shown}: expected one for all sources, whose places are the same" if len(shares) > 1 else ""


def _beyond_shares(settings: TensorSettings) -> str:
    for density, epsilon in zip(settings.density, settings.epsilon, strict=True):
        if density < 1 and (epsilon >= density or density + epsilon > 1 + LEAST_SUM):
            shares = f"from {density - epsilon:.3g} to {density + epsilon:.3g}"
            return f"density {density:g} and epsilon {epsilon:g}: shares {shares}, expected above 0, at most 1"
    return ""


def _added(base: Tensor, change: Tensor, settings: TensorSettings) -> Tensor:
    return base.add(change, alpha=settings.scale)


_SUMS = ("weights", "scale", "normalise_weights")

TASK_ARITHMETIC = MergeMethod(task_arithmetic, _SUMS, base=True)
TIES = MergeMethod(
    ties, (*_SUMS, "density"), base=True, trims=True, defaults={"density": 0.2, "normalise_weights": True}
)
DARE_LINEAR = MergeMethod(dare_linear, (*_SUMS, "density", "seed"), base=True, defaults={"density": 0.5})
DARE_TIES = MergeMethod(dare_ties, (*_SUMS, "density", "seed"), base=True, defaults={"density": 0.5})
BREADCRUMBS = MergeMethod(
    breadcrumbs, (*_SUMS, "density", "outliers"), base=True, defaults={"density": 0.15, "outliers": 0.01}
)

_DELLA = {"density": 0.7, "epsilon": 0.07}
"""Those of the authors' example: of 30% dropped on average, in a window of 14%."""

DELLA = MergeMethod(
    della, (*_SUMS, "density", "epsilon", "seed"), base=True, defaults={**_DELLA, "normalise_weights": True},
    objection=_beyond_shares,
)  # fmt: skip
DELLA_LINEAR = MergeMethod(
    della_linear, (*_SUMS, "density", "epsilon", "seed"), base=True, defaults=_DELLA, objection=_beyond_shares
)
SCE = MergeMethod(
    sce, ("scale", "normalise_weights", "density"), base=True, fewest=2, objection=_share_of_each,
    defaults={"density": 0.1, "normalise_weights": True},
)  # fmt: skip
MODEL_STOCK = MergeMethod(model_stock, (), base=True, fewest=2)
