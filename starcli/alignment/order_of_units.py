"""Whether models have their units in one order as they are, as fine-tunings of one model have: nothing to align then.

Rows and columns of every weight are centred. What is left of two models whose units stand in orders that have nothing
to do with each other has, over all such orders, an inner product of 0, but for what touches no hidden unit. Measured
on the digits (perceptron, ResNet, ViT), the cosine of networks of different seeds is within 0.05 of 0, aligned by
weight or activation 0.1 to 0.6; fine-tunings of one network have 0.94 and more, after ten times its training 0.76. Of
networks of two to four hidden units on inputs of two numbers some have the order of others by chance. LSTMs of
different seeds over one table of pretrained vectors of words have 0.91 to 0.93 over all tensors, so that the middle one
of the matrices counts as well, which has 0.29 at most.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from starcli.checkpoints.checkpoint import Checkpoint
from starcli.models.state_dicts import computable

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace

SAME_ORDER = 0.7
"""Cosine from which on the order counts as the same."""


def in_one_order(workspace: "Workspace", models: Sequence[Checkpoint]) -> bool:
    """Whether all other models have the order of units that the first has, as far as their weights show it."""
    first, *others = models
    names = [name for name, each in workspace.outline().named_parameters() if each.requires_grad]
    # Mapped anew, in a millisecond, not read: the system still holds the pages that were hashed. Through `tensors` they
    # would stay in this process to its end.
    tensors = first.fresh_tensors()
    return bool(others) and all(order_cosine(tensors, each.fresh_tensors(), names) >= SAME_ORDER for each in others)


def order_cosine(first: Mapping[str, Tensor], second: Mapping[str, Tensor], names: Iterable[str]) -> float:
    """Cosine of two state dicts over the tensors `names`, rows and columns centred; 0 where nothing is left of one.

    It is at most that of the middle one of the matrices: a large one that models share does not show the order of all.

    >>> import torch
    >>> weight = torch.randn(64, 20, generator=torch.Generator().manual_seed(0))
    >>> nearly, shuffled = {"w": weight + 0.1 * weight.cos()}, {"w": weight.flip(0)}
    >>> order_cosine({"w": weight}, nearly, ["w"]) > 0.9, abs(order_cosine({"w": weight}, shuffled, ["w"])) < 0.1
    (True, True)
    """
    total, matrices = (0.0, 0.0, 0.0), list[float]()
    for name in names:
        if name in first and name in second and first[name].is_floating_point() and first[name].dim():
            a, b = _centred(first[name]), _centred(second[name])
            both, own, its = (float((x * y).sum()) for x, y in ((a, b), (a, a), (b, b)))
            total = total[0] + both, total[1] + own, total[2] + its
            if a.dim() > 1 and own and its:
                matrices.append(_cosine(both, own, its))
    middle = sorted(matrices)[len(matrices) // 2 :][:1]
    return min([_cosine(*total), *middle])


def _cosine(both: float, own: float, its: float) -> float:
    """An inner product over both norms, whose squares are given; 0 where one is 0."""
    return both / math.sqrt(own * its) if own and its else 0.0


def _centred(weight: Tensor) -> Tensor:
    """A tensor (units, ...) less its means over the first two axes, in float64."""
    weight = computable(weight).double()
    weight = weight - weight.mean(0, keepdim=True)
    return weight - weight.mean(1, keepdim=True) if weight.dim() > 1 else weight
