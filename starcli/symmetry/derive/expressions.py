"""Axis expressions from the coordinates of units along an axis, taken apart from the outside in.

A table maps each group to its index at every position, -1 where the group does not move that position.
"""

from collections.abc import Mapping
from itertools import compress, pairwise

import numpy as np

from starcli.symmetry.archspec.expression import Fixed, Node, Ref, concat, interleave, product
from starcli.symmetry.derive.atoms import AtomLabels

MOST_PARTS_OF_AN_AXIS = 4096
MAX_TURNS = 8
DEEPEST_DERIVED = 24
Table = Mapping[int, AtomLabels]


class Writer:
    """Writer of axis expressions, for given names and sizes of groups."""

    def __init__(self, names: Mapping[int, str], sizes: Mapping[int, int]) -> None:
        """`names` and `sizes` are those of every group, by its number."""
        self.names, self.sizes = names, sizes

    def axis(self, table: Table, n: int, depth: int = 0) -> Node | None:
        """The expression of an axis of `n` positions, or None where the grammar has none.

        `depth`: how many steps it is inside the one that was asked for.
        """
        table = {group: index for group, index in table.items() if (index >= 0).any()}
        if not table:
            return Fixed(n)
        if depth > DEEPEST_DERIVED or not all(self._complete(group, index) for group, index in table.items()):
            return None
        for way in (self._inner, self._outer, self._copies, self._parts, self._turns):
            found = way(table, n, depth)
            if found is not None:
                return found
        return None

    def _complete(self, group: int, index: AtomLabels) -> bool:
        """Whether all units stand here equally often, as in every expression; without it no split can succeed."""
        count = np.bincount(index[index >= 0], minlength=self.sizes[group])
        return bool((count == count[0]).all())

    def _inner(self, table: Table, n: int, depth: int) -> Node | None:
        """(rest INT): every combination stands several times in a row."""
        changes = [np.flatnonzero(np.diff(index)) + 1 for index in table.values()]
        run = int(np.gcd.reduce(np.concatenate([*changes, [n]])))
        if run == 1:
            return None
        rest = self.axis({group: index[::run] for group, index in table.items()}, n // run, depth + 1)
        return None if rest is None else product((rest, Fixed(run)))

    def _outer(self, table: Table, n: int, depth: int) -> Node | None:
        """(group rest): the group's index runs once through all its values, and the rest is the same at each."""
        for group, index in table.items():
            size = self.sizes[group]
            if n % size or not np.array_equal(index, np.repeat(np.arange(size), n // size)):
                continue
            others = {g: i.reshape(size, -1) for g, i in table.items() if g != group}
            if all((i == i[0]).all() for i in others.values()):
                rest = self.axis({g: i[0] for g, i in others.items()}, n // size, depth + 1)
                return None if rest is None else product((Ref(self.names[group]), rest))
        return None

    def _copies(self, table: Table, n: int, depth: int) -> Node | None:
        """(INT rest): the axis is the same thing several times."""
        combined = np.stack(list(table.values()))
        again = np.flatnonzero((combined[:, 1:] == combined[:, :1]).all(axis=0)) + 1
        for period in again:
            if n % period == 0 and np.array_equal(combined[:, period:], combined[:, :-period]):
                rest = self.axis({g: i[:period] for g, i in table.items()}, int(period), depth + 1)
                return None if rest is None else product((Fixed(n // int(period)), rest))
        return None

    def _parts(self, table: Table, n: int, depth: int) -> Node | None:
        """Concatenation: cut wherever another set of groups begins, or the present ones begin anew."""
        signature = np.stack([index >= 0 for index in table.values()])
        cuts = set((np.flatnonzero((signature[:, 1:] != signature[:, :-1]).any(axis=0)) + 1).tolist())
        if not cuts:
            index = np.stack(list(table.values()))
            begins = (index == index[:, :1]).all(axis=0)
            cuts = set((np.flatnonzero(begins[1:] & ~begins[:-1]) + 1).tolist())
        if not cuts or len(cuts) > MOST_PARTS_OF_AN_AXIS:
            return None
        edges = [0, *sorted(cuts), n]
        parts = []
        for start, stop in pairwise(edges):
            # no group begins or ends within a part
            here = compress(table.items(), signature[:, start])
            part = self.axis({g: i[start:stop] for g, i in here}, stop - start, depth + 1)
            if part is None:
                return None
            parts.append(part)
        return concat(tuple(parts))

    def _turns(self, table: Table, n: int, depth: int) -> Node | None:
        """Interleaving: positions taken in turns."""
        for turns in sorted({*range(2, min(MAX_TURNS, n // 2) + 1), *_stride(table)}):
            parts = [
                self.axis({g: i[k::turns] for g, i in table.items()}, len(range(k, n, turns)), depth + 1)
                for k in range(turns)
            ]
            whole = tuple(part for part in parts if part is not None)
            if len(whole) == turns:
                return interleave(whole)
        return None


def _stride(table: Table) -> tuple[int, ...]:
    """The distance of neighbouring units of the first group, if that is the same for all, and more than one."""
    distances = np.unique(np.diff(np.flatnonzero(next(iter(table.values())) >= 0)))
    return tuple(distances.tolist()) if len(distances) == 1 and distances[0] > 1 else ()
