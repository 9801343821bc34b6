"""Interface of a merge method: a function of one tensor of all models, and the settings that it reads."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from starcli.merging.stack import Stack

LEAST_SUM = 1e-6
"""Sum of weights, as a share of the sum of their sizes, below which it is 0 but for rounding: 0.1 + 0.2 - 0.3 is."""


@dataclass(frozen=True)
class TensorSettings:
    """Settings of one tensor's merge: those that its method does not read have no meaning.

    weights: one a source. t: the place between two models, 0 to 1. density: the share of a source's changes that is
    kept, one a source. epsilon: by how much that of the smallest changes is less, and that of the largest more.
    outliers: the share of a source's largest changes that is left out. least: the magnitude of the smallest change that
    is kept, where the method `trims`. scale: of what is added to the base. normalise_weights: whether these are divided
    by their sum. seed: of what is drawn.
    """

    weights: tuple[float, ...]
    t: float = 0.5
    density: tuple[float, ...] = ()
    epsilon: tuple[float, ...] = ()
    outliers: tuple[float, ...] = ()
    least: tuple[float, ...] = ()
    scale: float = 1.0
    normalise_weights: bool = False
    seed: int = 0

    def summed(self, values: Tensor) -> Tensor:
        """Weighted sum over the sources of values (sources, numbers); with normalisation divided by that of weights."""
        weights = self.weight_vector(torch.float64)
        if self.normalise_weights:
            weights = weights / weights.sum()
        return weights.to(values.dtype) @ values

    def weight_vector(self, dtype: torch.dtype) -> Tensor:
        """The weights, (sources,)."""
        return torch.tensor(self.weights, dtype=dtype)


_SAID = [each for each in fields(TensorSettings) if each.name not in ("least", "seed")]

MERGE_SETTINGS = tuple(each.name for each in _SAID)
"""Settings that the caller of a merge may say; the others it finds."""

NUMBERS = tuple(each.name for each in _SAID if each.type is not bool)
"""Those that are numbers, and may differ from tensor to tensor."""

PER_SOURCE = tuple(each.name for each in _SAID if each.type == tuple[float, ...])
"""Those of which there may be a number for each source."""


@dataclass(frozen=True)
class MergeMethod:
    """A way to merge models by their weights alone.

    merge: makes the merged numbers of a tensor, chunk by chunk, in its order. reads: the settings that it has a use
    for, `seed` where it draws. base: whether it needs the model that the sources descend from. fewest: how many sources
    it takes at least. sources: how many exactly, None for any number. trims: whether it keeps the largest changes of
    the whole model, and so needs `least`. defaults: settings by name, where they are not those of `TensorSettings`; a
    number for each source alike. objection: what is wrong with a tensor's settings that are right one by one, in words,
    or nothing.
    """

    merge: Callable[[Stack, TensorSettings], Iterator[Tensor]]
    reads: tuple[str, ...]
    base: bool = False
    fewest: int = 1
    sources: int | None = None
    trims: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    objection: Callable[[TensorSettings], str] = lambda _: ""
