"""Files to be merged that are no fine-tunings of one model, as a sample of their weights shows."""

import math
from collections.abc import Sequence

from torch import Tensor

from starcli.alignment.order_of_units import order_cosine
from starcli.fusion.merged_tensors import SlicedModel

UNRELATED = 0.1
"""Cosine below which units stand in unrelated orders: aligned networks of different seeds have 0.1 to 0.6."""

_MATRICES, _NUMBERS = 16, 2**18
"""How many matrices are looked at, the largest ones, and so many numbers of each, from its first row on."""

_LEAST_ROWS, _LEAST_NUMBERS = 8, 2_000
"""Below this, of a matrix and of all together, the order may be the same, or another one, by chance."""


def unrelated_to_first(models: Sequence[SlicedModel]) -> list[str]:
    """Names of the models whose units stand in an order that has nothing to do with that of the first one's.

    By the `order_cosine` of some rows of the largest matrices that all models have; none where these are too small to
    tell. It reads at most 4 million numbers of each model, a few hundredths of a second.

    >>> import torch
    >>> draws = torch.Generator().manual_seed(0)
    >>> one, other = ({"w": torch.randn(64, 80, generator=draws)} for _ in range(2))
    >>> tuned = {"w": one["w"] + 0.1 * other["w"]}
    >>> unrelated_to_first([SlicedModel.of(*each) for each in (("a", one), ("tuned", tuned), ("other", other))])
    ['other']
    """
    first, *others = models
    rows = {name: _rows(each.form.shape) for name, each in first.tensors.items() if each.form.is_float}
    known = [name for name, count in rows.items() if count >= _LEAST_ROWS and _have(others, name, first)]
    chosen = sorted(known, key=lambda name: -first.tensors[name].form.numel)[:_MATRICES]
    own = _sample(first, chosen, rows)
    if sum(tensor.numel() for tensor in own.values()) < _LEAST_NUMBERS:
        return []
    cosines = {model.name: order_cosine(own, _sample(model, chosen, rows), chosen) for model in others}
    return [name for name, cosine in cosines.items() if cosine < UNRELATED and cosine]  # 0: of weights that are all 0


def _rows(shape: Sequence[int]) -> int:
    """How many rows of a matrix are looked at; 0 of what is none."""
    if len(shape) < 2 or 0 in shape:
        return 0
    return min(shape[0], _NUMBERS // math.prod(shape[1:]))


def _have(models: Sequence[SlicedModel], name: str, first: SlicedModel) -> bool:
    """Whether all models have a matrix, in the shape of the first one's."""
    shape = first.tensors[name].form.shape
    found = [model.tensors[name].form for model in models if name in model.tensors]
    return len(found) == len(models) and all(form.is_float and form.shape == shape for form in found)


def _sample(model: SlicedModel, names: Sequence[str], rows: dict[str, int]) -> dict[str, Tensor]:
    """The first rows of matrices."""
    found = {}
    for name in names:
        shape = model.tensors[name].form.shape
        found[name] = model.tensors[name].read(0, rows[name] * math.prod(shape[1:])).reshape(rows[name], *shape[1:])
    return found
