"""From colour classes to groups: every movable atom gets coordinates, its index in each group that moves it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from starcli.symmetry.derive.atoms import AtomLabels, Atoms, distinct_rows, unique
from starcli.symmetry.derive.colours import Colours, Occurrences, movable, parents_by_class


class Refused(Exception):
    """A structure of units that no spec can describe.

    `labels` must be fixed, or, where `parts` of them are given, those must be distinguished from each other, or, where
    `rows` (m, n) are, those of all rows must move alike.
    """

    def __init__(
        self, labels: AtomLabels, reason: str, parts: Sequence[AtomLabels] = (), rows: AtomLabels | None = None
    ) -> None:
        """`reason` says what cannot be described."""
        super().__init__(reason)
        self.labels, self.reason, self.parts, self.rows = labels, reason, parts, rows


@dataclass
class Units:
    """Groups and the coordinates of atoms in them. A group is known by the class of its atoms."""

    colours: Colours
    size: dict[int, int] = field(default_factory=dict)
    within: dict[int, int | None] = field(default_factory=dict)
    rank: dict[int, int] = field(default_factory=dict)
    """The first place at which a unit of the group stands."""
    members: dict[int, AtomLabels] = field(default_factory=dict)
    """Class -> positions in `colours.nodes`, for classes that move."""
    coordinates: dict[int, dict[int, AtomLabels]] = field(default_factory=dict)
    """Class -> group -> the index of every member; under `~group` that in a second place of the group (see `group`)."""

    @staticmethod
    def group(key: int) -> int:
        """The group of a key of coordinates: itself, or `~group` where its units stand a second time.

        A matrix on one axis whose rows and columns are the same units has both: (units units).
        """
        return key if key >= 0 else ~key

    def closure(self, group: int) -> frozenset[int]:
        """The group and all groups around it."""
        parent = self.within[group]
        return frozenset([group]) if parent is None else self.closure(parent) | {group}

    def rows(self, group: int) -> AtomLabels:
        """The labels of the group's units (size, times), a row for each number that a unit has in the group."""
        own, labels = self.coordinates[group][group], self.colours.nodes[self.members[group]]
        return labels[np.argsort(own, kind="stable")].reshape(self.size[group], -1)

    def table(self, atoms: Atoms, labels: AtomLabels) -> dict[int, AtomLabels]:
        """Index of each position in each group: labels (n,) -> group -> (n,), -1 where the group does not move it."""
        roots = atoms.find(labels)
        nodes = np.searchsorted(self.colours.nodes, roots)
        classes = self.colours.colour[nodes]
        found: dict[int, AtomLabels] = {}
        for kind in unique(classes):
            if int(kind) not in self.coordinates:
                continue
            here = np.flatnonzero(classes == kind)
            at = np.searchsorted(self.members[int(kind)], nodes[here])
            for group, index in self.coordinates[int(kind)].items():
                found.setdefault(group, np.full(len(labels), -1, dtype=np.int64))[here] = index[at]
        return found


def units(atoms: Atoms, where: Occurrences, colours: Colours) -> Units:
    """The groups and coordinates of all movable atoms. Raises Refused."""
    moves = movable(colours, atoms)
    node_moves = moves[colours.colour]
    keep = node_moves[colours.child] & node_moves[colours.parent]
    above = parents_by_class(colours, colours.child[keep], colours.parent[keep])
    order = np.argsort(colours.colour, kind="stable")
    order = order[node_moves[order]]
    cuts = np.flatnonzero(np.diff(colours.colour[order])) + 1
    result = Units(colours)
    result.members = {int(colours.colour[each[0]]): np.sort(each) for each in np.split(order, cuts) if len(each)}
    ranks = _ranks(where, colours)
    for kind in result.members:
        _place(result, kind, above, ranks, ())
    return result


def _ranks(where: Occurrences, colours: Colours) -> AtomLabels:
    """The first place of every node or of anything below it."""
    rank = np.full(len(colours.nodes), np.iinfo(np.int64).max)
    np.minimum.at(rank, np.searchsorted(colours.nodes, where.atoms), where.rank)
    while True:
        before = rank.copy()
        np.minimum.at(rank, colours.parent, rank[colours.child])
        if np.array_equal(before, rank):
            return rank


def _place(
    result: Units, kind: int, above: dict[int, list[AtomLabels | None]], ranks: AtomLabels, path: tuple[int, ...]
) -> dict[int, AtomLabels]:
    """Coordinates of a class: those of all its parents, and its own where several atoms share all of them."""
    if kind in result.coordinates:
        return result.coordinates[kind]
    members = result.members[kind]
    colours = result.colours
    if kind in path:
        raise Refused(colours.nodes[members], "units that stand above each other in a circle")
    found: dict[int, AtomLabels] = {}
    for parents in above.get(kind, []):
        if parents is None:
            raise Refused(colours.nodes[members], "units that stand in several sets of one kind")
        outer = int(colours.colour[parents[0]])
        inherited = _place(result, outer, above, ranks, (*path, kind))
        at = np.searchsorted(result.members[outer], parents)
        for group, index in inherited.items():
            if not np.array_equal(found.setdefault(group, index[at]), index[at]):
                _place_again(result, found, group, index[at], colours.nodes[members])
    own, size = _index(found, ranks[members])
    if size > 1:
        if min(found, default=0) < 0:
            raise Refused(colours.nodes[members], "units within two units of one group")
        result.size[kind], result.rank[kind] = size, int(ranks[members].min())
        result.within[kind] = _innermost(result, found, colours.nodes[members])
        found = {**found, kind: own}
    result.coordinates[kind] = found
    return found


def _place_again(units: Units, found: dict[int, AtomLabels], key: int, index: AtomLabels, labels: AtomLabels) -> None:
    """Add to the coordinates `found` a second index in a group, where every pair of its units occurs once.

    Raises Refused for all else.
    """
    if np.array_equal(found.get(~key, ()), index):
        return
    places, around = {**found, ~key: index}, units.within.get(key)
    sizes = [units.size[units.group(each)] for each in places]
    times = len(unique(np.ravel_multi_index(tuple(places.values()), sizes)))
    if ~key in found or times < math.prod(sizes) or (around is not None and ~around in found):
        raise Refused(labels, "units that stand below two units of one group")
    found[~key] = index


def _index(found: dict[int, AtomLabels], ranks: AtomLabels) -> tuple[AtomLabels, int]:
    """The place of every member among those with the same coordinates, by rank; and how many those are."""
    if not found:
        return np.argsort(np.argsort(ranks, kind="stable"), kind="stable"), len(ranks)
    _, bucket = distinct_rows(np.stack(list(found.values()), axis=1))
    count = np.bincount(bucket)
    order = np.lexsort((ranks, bucket))
    own = np.empty(len(ranks), dtype=np.int64)
    own[order] = np.arange(len(ranks)) - np.repeat(np.cumsum(count) - count, count)
    return own, int(count.max())


def _innermost(result: Units, found: dict[int, AtomLabels], labels: AtomLabels) -> int | None:
    """The group within which all of `found` lies. Raises Refused where there is no single one.

    The larger of two groups is kept then, in what it says of these units (channels of a shuffle between two grouped
    convolutions), and the units of the other are told apart.
    """
    if not found:
        return None
    kept = max(found, key=lambda group: (len(result.closure(group)), result.size[group], -result.rank[group]))
    other = next((group for group in found if group not in result.closure(kept)), None)
    if other is None:
        return kept
    reason = "units within two groups at once, neither within the other"
    raise Refused(labels, reason, parts=list(result.rows(other)))
