"""Places where the groups of a spec stand, and involutions of units at some of them."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from starcli.runtime.memory import row_slices
from starcli.symmetry.archspec.blocks import Block
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.stacked import is_stack


class GroupPlace(NamedTuple):
    """One part (that begins at position `start`) of one axis of a tensor, and a group that it bears."""

    tensor: str
    axis: int
    start: int
    group: str

    @property
    def own_axis(self) -> int:
        """The axis in the network's own tensors: those of a stack have one less. Units are written at 0, else read."""
        return max(0, self.axis - is_stack(self.tensor))

    def members(self, spec: Resolved) -> str | None:
        """The group whose units are the modules of a list, if each has values for the units at this place; else None.

        Not where it is around the units, so that they have one value each.
        """
        if not self.axis or not is_stack(self.tensor):
            return None
        block, k = spec.blocks_at[self.tensor, self.axis, self.start, self.group][0]
        first = block.axes.index(0)
        return None if first in block.parents[k] else block.groups[first]

    def has_values(self, spec: Resolved) -> bool:
        """Whether a vector may have one value for each unit at this place, or that each module of a list has."""
        count = sum(
            math.prod(block.shape) for block, _ in spec.blocks_at[self.tensor, self.axis, self.start, self.group]
        )
        members = self.members(spec)
        return count == math.prod(spec.index_shape(self.group)) * (spec.sizes[members] if members else 1)

    def sub_axes(self, block: Block) -> tuple[int, ...]:
        """The sub-axes of `block` that belong to the place; none if the block lies elsewhere."""
        if block.starts[self.axis] != self.start:
            return ()
        return tuple(k for k, group in enumerate(block.groups) if group == self.group and block.axes[k] == self.axis)


def places(spec: Resolved) -> dict[str, list[GroupPlace]]:
    """All places of every group; tied tensors are one."""
    repeated = {name for names in spec.tied for name in names[1:]}
    found: dict[str, dict[GroupPlace, None]] = {group: {} for group in spec.groups}
    for tensor, axes in spec.terms.items():
        for axis, terms in enumerate(axes) if tensor not in repeated else ():
            for term in terms:
                for group in dict.fromkeys(factor.group for factor in term.factors):
                    if group is not None:
                        found[group][GroupPlace(tensor, axis, term.start, group)] = None  # once for all cases
    return {group: list(own) for group, own in found.items()}


def redrawn_at(
    spec: Resolved, base: Mapping[str, Tensor], found: Iterable[GroupPlace], generator: torch.Generator
) -> dict[str, Tensor]:
    """The tensors of some places, with every value there multiplied by 1/2 to 3/2: positive ones stay positive."""
    changed: dict[str, Tensor] = {}
    for place in sorted(found, key=str):
        tensor = changed.setdefault(place.tensor, base[place.tensor].clone())
        for block in spec.blocks[place.tensor]:
            if place.sub_axes(block):
                view = block.view(tensor)
                view.mul_(0.5 + torch.rand(view.shape, generator=generator))
    return changed


class Swap:
    """An involution for every group, which swaps its units in random pairs; of an odd number one stays.

    The pairs are the same in every parent, so that swaps of a group commute with those of the groups around it.
    """

    def __init__(self, spec: Resolved, generator: torch.Generator) -> None:
        """Draw the pairs of all groups of `spec`."""
        self.index = {name: _partners(group.size, generator) for name, group in spec.groups.items()}
        """For each group the partner of every unit, (n,)."""

    def rows(self, block: Block, view: Tensor, only: Collection[int], rows: slice = slice(None)) -> Tensor:
        """Some rows of pV, where V = `view` has the sub-axes of `block` and p swaps along those in `only`."""
        found = view.index_select(0, self._along(block, 0)[rows]) if 0 in only else view[rows]
        for k in only:
            found = found.index_select(k, self._along(block, k)) if k else found
        return found

    def apart(self, block: Block, only: Collection[int], *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """V - pV of the block of each tensor, piece by piece."""
        views = [block.view(tensor) for tensor in tensors]
        for rows in row_slices(views[0]):
            yield tuple(view[rows] - self.rows(block, view, only, rows) for view in views)

    def halfway_(self, block: Block, parts: Sequence[Collection[int]], base: Tensor, out: Tensor) -> None:
        """Write the block of `base`, averaged over the swaps along each of `parts`, into that of `out`."""
        source, target = block.view(base), block.view(out)
        for rows in row_slices(source):
            found = source[rows]
            for only in sorted(parts, key=lambda only: 0 not in only):  # what crosses rows comes first
                other = self.rows(block, source, only, rows) if 0 in only else self.rows(block, found, only)
                found = found.lerp(other, 0.5)
            target[rows] = found

    def _along(self, block: Block, k: int) -> Tensor:
        return self.index[str(block.groups[k])]


def _partners(size: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(size, generator=generator)
    partner = order.clone()
    even = size // 2 * 2
    partner[0:even:2], partner[1:even:2] = order[1:even:2], order[0:even:2]
    return torch.empty_like(order).scatter_(0, order, partner)
