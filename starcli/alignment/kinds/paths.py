"""Where groups stand in blocks of weights, with the groups around them: what a match of units gains, block by block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from starcli.alignment.matching.stacks import ChainPlace, places_of
from starcli.symmetry.archspec.blocks import Block
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.proof.places import GroupPlace


@dataclass(frozen=True)
class UnitPath:
    """A root group in one block of weights with one group within it, one within that, and so on; others are held."""

    block: Block
    groups: tuple[str, ...]
    axes: tuple[int, ...]
    """The sub-axis of each of `groups`."""
    ways: frozenset[int]
    """Which of the ways to set signs of the innermost group act here."""
    beside: frozenset[str]
    """Roots of the other groups of the block."""
    output: bool
    """Whether the root stands on axis 0 of the tensor: what makes its units, rather than what they feed."""

    def product(self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> Tensor:
        """Inner products of units of the two, (sizes..., sizes...): the reference's first."""
        sides = [self.rows(each[self.block.tensor]) for each in (reference, model)]
        sizes = [self.block.shape[k] for k in self.axes]
        return (sides[0] @ sides[1].T).reshape(*sizes, *sizes)

    def squares(self, model: Mapping[str, Tensor]) -> float:
        """Sum of squares of the block."""
        return float(self.block.view(model[self.block.tensor]).square().sum())

    def rows(self, tensor: Tensor) -> Tensor:
        """The block of a tensor, a row for each combination of units of `groups`."""
        view = self.block.view(tensor).movedim(self.axes, tuple(range(len(self.axes))))
        return view.flatten(0, len(self.axes) - 1).flatten(1) if view.dim() > len(self.axes) else view.reshape(-1, 1)


Gains = Mapping[tuple[tuple[str, ...], frozenset[int]], Tensor]
"""What matches of units gain, by groups (root first) and ways of signs: (batch, sizes..., sizes...)."""


def unit_paths(kinds: Kinds) -> dict[str, list[UnitPath]]:
    """All paths of each root group of the network's learnable parameters."""
    spec, found = kinds.spec, dict[str, list[UnitPath]]()
    rank = {name: number for number, name in enumerate(spec.groups)}
    for name in spec.learnable():
        for block in spec.blocks.get(name, ()):
            places = places_of(block, rank)
            roots = [place.chain.root for place in places]
            for number, place in enumerate(places):
                beside = frozenset(roots[:number] + roots[number + 1 :])
                found.setdefault(place.chain.root, []).extend(_paths(kinds, block, place, beside))
    return found


def added_up(
    paths: Sequence[UnitPath],
    reference: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    weights: Sequence[float],
) -> Gains:
    """Gains of matches of units, summed over all `paths` of a root, each as often as `weights` say; a batch of one."""
    total: dict[tuple[tuple[str, ...], frozenset[int]], Tensor] = {}
    for path, weight in zip(paths, weights, strict=True):
        if weight:
            key, own = (path.groups, path.ways), weight * path.product(reference, model).unsqueeze(0)
            total[key] = total[key] + own if key in total else own
    return total


def _paths(kinds: Kinds, block: Block, place: ChainPlace, beside: frozenset[str]) -> list[UnitPath]:
    """One path for each innermost group of a chain; what holds still in it is left out."""
    chain, made = place.chain, []
    parents = {parent for around in chain.parents for parent in around}
    for leaf in (k for k in range(len(chain.groups)) if k not in parents):
        around = (*chain.parents[leaf], leaf)
        while len(around) > 1 and not _acts(kinds, block, place.axes[around[-1]]):
            around = around[:-1]
        if len(around) == 1 and not _acts(kinds, block, place.axes[around[0]]):
            continue  # a scale that stays as it is where the others rotate: between normal forms it is 1
        axes = tuple(place.axes[k] for k in around)
        kind, at = kinds.groups[chain.groups[around[-1]]], _place(block, axes[-1])
        ways = frozenset(number for number, way in enumerate(kind.signs) if way.get(at, 0) % 2)
        groups = tuple(chain.groups[k] for k in around)
        made.append(UnitPath(block, groups, axes, ways, beside, place.output))
    return made


def _acts(kinds: Kinds, block: Block, axis: int) -> bool:
    """Whether a matrix acts on a sub-axis, where its group has one."""
    kind = kinds.groups[str(block.groups[axis])]
    return not kind.by_matrix or _place(block, axis) in kind.exponents


def _place(block: Block, axis: int) -> GroupPlace:
    return GroupPlace(block.tensor, block.axes[axis], block.starts[block.axes[axis]], str(block.groups[axis]))
