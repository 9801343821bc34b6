"""Families of groups that are matched at once, and the layout of all stacks of a spec."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from starcli.alignment.matching.stacks import Chain, ChainPlace, Stacked, WeightStack, places_of, weight_stack
from starcli.symmetry.archspec.blocks import Block
from starcli.symmetry.archspec.resolved import Resolved


@dataclass(frozen=True)
class Family:
    """A root group with all groups within it: what is matched at once, while the rest is held."""

    root: str
    groups: tuple[str, ...]
    stacks: tuple[int, ...]
    """Numbers of its stacks in `MatchingLayout.stacks`."""
    quadratic: bool
    """Whether some block has it on two axes, so that its costs depend on its own permutation."""
    neighbours: tuple[int, ...]
    """Numbers of the families (itself among them if quadratic) whose costs change when it moves."""

    depth: int
    """Layers between the input and the family, roughly: the fewest steps from what makes units to what they feed."""

    @property
    def nested(self) -> bool:
        """Whether there are groups within the root."""
        return len(self.groups) > 1


@dataclass(frozen=True)
class MatchingLayout:
    """All stacks and families of one spec."""

    spec: Resolved
    stacks: tuple[WeightStack, ...]
    offsets: tuple[int, ...]
    """Where each stack's chain begins in the concatenated permutation."""
    families: tuple[Family, ...]


@lru_cache(maxsize=4)
def matching_layout(spec: Resolved) -> MatchingLayout:
    """Layout of a spec; those of the specs last used are kept."""
    rank = {name: i for i, name in enumerate(spec.groups)}
    blocks = [block for name in spec.learnable() for block in spec.blocks.get(name, ())]
    placed = [(block, places_of(block, rank)) for block in blocks]
    found: dict[Chain, list[Stacked]] = {}
    for block, places in placed:
        for focus, place in enumerate(places):
            found.setdefault(place.chain, []).append(Stacked(block, places, focus))
    starts = np.cumsum([0, *(chain.size for chain in found)]).tolist()
    offsets = dict(zip(found, starts, strict=False))
    stacks = tuple(weight_stack(chain, stacked, offsets, spec.shapes) for chain, stacked in found.items())
    families = _families(spec, tuple(found), placed)
    return MatchingLayout(spec, stacks, tuple(offsets.values()), families)


def _families(
    spec: Resolved, chains: tuple[Chain, ...], placed: list[tuple[Block, tuple[ChainPlace, ...]]]
) -> tuple[Family, ...]:
    """One family for each root group that matching can move, in the order of the spec."""
    stacks: dict[str, list[int]] = {}
    for number, chain in enumerate(chains):
        stacks.setdefault(chain.root, []).append(number)
    beside: dict[str, set[str]] = {root: set() for root in stacks}
    for _, places in placed:
        times = Counter(place.chain.root for place in places)
        for root in times:
            beside[root] |= {other for other in times if other != root or times[root] > 1}
    roots = [name for name in spec.groups if name in stacks]
    numbers = {root: i for i, root in enumerate(roots)}
    depths = _depths(placed)
    return tuple(
        Family(
            root=root,
            groups=spec.family(root),
            stacks=tuple(stacks[root]),
            quadratic=root in beside[root],
            neighbours=tuple(sorted(numbers[other] for other in beside[root])),
            depth=depths.get(root, 0),
        )
        for root in roots
    )


def _depths(placed: Sequence[tuple[Block, tuple[ChainPlace, ...]]]) -> dict[str, int]:
    """Fewest steps to every root from those that the network's input makes; nothing where none is found."""
    feeds: dict[str, set[str]] = {}
    first: dict[bool, set[str]] = {False: set(), True: set()}
    for block, places in placed:
        made = {place.chain.root for place in places if place.output}
        used = {place.chain.root for place in places if not place.output}
        for root in used:
            feeds.setdefault(root, set()).update(made - {root})
        if not used and max(block.axes) > 0:
            # a depthwise convolution has one input a unit, too, but a network of one input channel is rare
            inputs = prod(n for n, axis in zip(block.shape, block.axes, strict=True) if axis == 1)
            first[inputs > 1] |= made
    reached = first[True] or first[False]
    depths = dict.fromkeys(reached, 0)
    while reached:
        reached = {other for root in reached for other in feeds.get(root, ())} - set(depths)
        depths |= dict.fromkeys(reached, 1 + max(depths.values()))
    return depths
