"""Values, what is known of traced tensors: factors, arrays of atom labels that broadcast to the tensor's shape.

Two positions whose labels agree in every factor hold equal values; an axis along which no factor varies is one along
which the tensor is constant. Positions of images, tokens and batches are fixed atoms.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from starcli.symmetry.derive.atoms import AtomLabels


@dataclass(frozen=True)
class Names:
    """The units that integers name: number i stands for `units[i]`, wherever that unit stands."""

    units: AtomLabels
    reason: str
    """Why the units are fixed where more follows from the numbers than a choice of units."""
    meaning: str = "numbers"
    """`numbers` of units; `counts`, how often each was named; `ends`, where the rows of each end, in order."""


@dataclass(frozen=True)
class Value:
    """A traced tensor: its shape, and factors with as many axes, each of size 1 or the tensor's."""

    shape: tuple[int, ...]
    factors: tuple[AtomLabels, ...] = ()
    names: Names | None = None
    """Of integers that say which units were chosen, these units."""

    @classmethod
    def of(cls, shape: Iterable[int], factors: Iterable[AtomLabels]) -> "Value":
        """A value with factors reduced to the axes along which they vary, without constant and repeated ones."""
        kept: list[AtomLabels] = []
        for factor in map(squash, factors):
            if factor.size > 1 and not any(np.array_equal(factor, other) for other in kept):
                kept.append(factor)
        return cls(tuple(shape), tuple(kept))

    def named(self, n: int, meaning: str = "numbers") -> AtomLabels | None:
        """The units that its integers name, in this sense, where there are `n` of them."""
        found = self.names
        return found.units if found is not None and found.meaning == meaning and len(found.units) == n else None

    def along(self, axis: int) -> tuple[AtomLabels, ...]:
        """The factors that vary along `axis`."""
        return tuple(factor for factor in self.factors if factor.shape[axis] > 1)

    def changed(self, axis: int, n: int, change: Callable[[AtomLabels], AtomLabels]) -> "Value":
        """The value with `n` positions along `axis`: of factors that vary there what `change` makes, others as are."""
        shape = (*self.shape[:axis], n, *self.shape[axis + 1 :])
        return Value.of(shape, (change(each) if each.shape[axis] > 1 else each for each in self.factors))

    def aligned(self, axes: Sequence[int], ndim: int) -> "Value":
        """The value in a space of `ndim` axes: its axis i becomes axes[i], the others have size 1."""
        order = np.argsort(axes)
        shape = [1] * ndim
        for i, axis in enumerate(axes):
            shape[axis] = self.shape[i]

        def move(factor: AtomLabels) -> AtomLabels:
            place = [1] * ndim
            for i, axis in enumerate(axes):
                place[axis] = factor.shape[i]
            return factor.transpose(order).reshape(place)

        return Value(tuple(shape), tuple(move(factor) for factor in self.factors))

    def padded(self, ndim: int) -> "Value":
        """The value with leading axes of size 1, as broadcasting adds them, up to `ndim`."""
        missing = ndim - len(self.shape)
        return self.aligned(range(missing, ndim), ndim) if missing > 0 else self

    def dropped(self, axes: Iterable[int]) -> "Value":
        """The value without `axes`, along which no factor may vary."""
        gone = tuple(axes)
        shape = tuple(n for axis, n in enumerate(self.shape) if axis not in gone)
        return Value(shape, tuple(factor.squeeze(gone) for factor in self.factors))


def varies(factor: AtomLabels) -> tuple[int, ...]:
    """The axes along which the factor has more than one label."""
    return tuple(axis for axis, n in enumerate(factor.shape) if n > 1)


def squash(factor: AtomLabels) -> AtomLabels:
    """The factor with size 1 along every axis on which it does not depend."""
    for axis in varies(factor):
        if factor.size and factor.item(0) != factor[tuple(-1 if i == axis else 0 for i in range(factor.ndim))]:
            continue
        first = factor.take([0], axis)
        if np.array_equal(np.broadcast_to(first, factor.shape), factor):
            factor = first
    return factor


def along_axis(labels: AtomLabels, axis: int, ndim: int) -> AtomLabels:
    """A factor of `ndim` axes that varies along one: labels (n,) -> (1, ..., n, ..., 1)."""
    return labels.reshape([len(labels) if i == axis else 1 for i in range(ndim)])
