"""Atoms, the units that may move: a union-find, the parents of each atom, and which atoms are fixed.

Every channel, head or hidden unit is an atom, an integer. Atoms that every operator moves together are united. An atom
may have parents: units that move whenever it leaves them (the head of a unit). A fixed atom moves nowhere; it differs
from all others. All methods take and return int64 arrays, so that an axis of 25,088 positions costs no Python loop.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

AtomLabels = NDArray[np.int64]


class Atoms:
    """All atoms of one trace: which are united, which have parents, which are fixed and why."""

    def __init__(self) -> None:
        """No atoms yet."""
        self.count = 0
        self._root: AtomLabels = np.empty(1024, dtype=np.int64)
        self._fixed: NDArray[np.bool_] = np.zeros(1024, dtype=bool)
        self._reason: AtomLabels = np.zeros(1024, dtype=np.int64)
        self.reasons: list[str] = [""]
        self._edges: list[tuple[AtomLabels, AtomLabels]] = []
        self._sorted = False
        self._bundles: dict[bytes, int] = {}
        self._choices: dict[bytes, int] = {}
        self.choices: dict[int, AtomLabels] = {}
        """Atoms that stand for one of several others, whichever the input chooses -> these (see `chosen.py`)."""
        self.experts: list[AtomLabels] = []
        """Units among which the input chooses."""
        self.functions: dict[str, list[AtomLabels]] = {}
        """Functions of single numbers -> the labels of what they were applied to."""
        self._ordinals: dict[int, int] = {}

    def new(self, n: int, fixed: str | None = None) -> AtomLabels:
        """Labels of `n` fresh atoms; with a reason `fixed` they are fixed."""
        first = self.count
        self.count += n
        while self.count > len(self._root):
            self._root = np.concatenate([self._root, np.empty_like(self._root)])
            self._fixed = np.concatenate([self._fixed, np.zeros_like(self._fixed)])
            self._reason = np.concatenate([self._reason, np.zeros_like(self._reason)])
        made = np.arange(first, self.count, dtype=np.int64)
        self._root[made] = made
        self._fixed[made] = fixed is not None
        self._reason[made] = self._number(fixed) if fixed else 0
        return made

    def _number(self, reason: str) -> int:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    def find(self, labels: AtomLabels) -> AtomLabels:
        """The representative of every label, in the same shape."""
        roots: AtomLabels = self._root[labels]
        while not ((above := self._root[roots]) == roots).all():
            self._root[labels] = roots = above
        return roots

    def is_fixed(self, labels: AtomLabels) -> NDArray[np.bool_]:
        """Whether the atom of each label is fixed."""
        return self._fixed[self.find(labels)]

    def reason(self, label: int) -> str:
        """Why the atom is fixed; empty where no reason was given."""
        return self.reasons[int(self._reason[self.find(np.array([label]))[0]])]

    def union(self, a: AtomLabels, b: AtomLabels) -> None:
        """Unite a[i] with b[i] for all i.

        Two fixed atoms stay two: a shifted axis must not make its positions equal.
        """
        a, b = self.find(a.reshape(-1)), self.find(b.reshape(-1))
        keep = (a != b) & ~(self._fixed[a] & self._fixed[b])
        if not keep.any():
            return
        a, b = a[keep], b[keep]
        names, index = distinct(np.concatenate([a, b]))
        rows, columns = index[: len(a)], index[len(a) :]
        # a fixed atom would carry its other partners into one component: it is a pin, not a link
        link = ~(self._fixed[a] | self._fixed[b])
        number, component = components(len(names), rows[link], columns[link])
        self._sorted = False
        first = np.full(number, self.count, dtype=np.int64)
        np.minimum.at(first, component, names)
        merged = first[component]
        pinned = np.zeros(number, dtype=bool)
        why = np.zeros(number, dtype=np.int64)
        for movable, other in ((rows, columns), (columns, rows)):
            hit = ~link & self._fixed[names[other]]
            pinned[component[movable[hit]]] = True
            why[component[movable[hit]]] = self._reason[names[other[hit]]]
        known = self._reason[names] > 0
        why[component[known]] = self._reason[names[known]]
        self._root[names] = merged
        hit_atoms = first[pinned]
        self._fixed[hit_atoms] = True
        self._reason[first[why > 0]] = why[why > 0]

    def occurrences(self, labels: AtomLabels) -> AtomLabels | None:
        """Fixed atoms that distinguish, by their order, positions whose atoms were united later; None for no positions.

        An atom that is repeated from the start marks equal values, and is not distinguished.
        """
        if np.array_equal(self.find(labels), labels):
            return None
        names, first, index = np.unique(labels, return_index=True, return_inverse=True)
        roots = self.find(names)
        order = np.lexsort((first, roots))
        starts = np.flatnonzero(np.concatenate([[True], np.diff(roots[order]) != 0]))
        if len(starts) == len(names):
            return None
        times = np.diff(np.append(starts, len(names)))
        rank = np.empty(len(names), dtype=np.int64)
        # those that stand here three times are told apart by other atoms than those that stand twice
        rank[order] = np.arange(len(names)) + np.repeat(times * (times - 1) // 2 - starts, times)
        ranks, place = np.unique(rank, return_inverse=True)
        for each in ranks.tolist():
            if each not in self._ordinals:
                self._ordinals[each] = int(self.new(1, fixed="another use of the same unit")[0])
        return np.array([self._ordinals[each] for each in ranks.tolist()])[place][index].reshape(labels.shape)

    def pin(self, labels: AtomLabels, reason: str) -> None:
        """Fix all atoms in `labels`, for this reason."""
        roots = unique(self.find(labels))
        roots = roots[~self._fixed[roots]]
        self._fixed[roots] = True
        self._reason[roots] = self._number(reason)

    def tell_apart(self, parts: Iterable[AtomLabels], reason: str) -> None:
        """Tell the parts from each other, for this reason; within a part nothing is told apart."""
        for part in parts:
            if part.size == 1:
                self.pin(part, reason)
            else:
                self.place(part, self.new(1, fixed=reason))

    def place(self, children: AtomLabels, parents: AtomLabels) -> None:
        """Make parents[i], broadcast to all children, a parent of children[i], for all i."""
        a, b = self.find(children.reshape(-1)), self.find(np.broadcast_to(parents, children.shape).reshape(-1))
        keep = (a != b) & ~(self._fixed[a] & self._fixed[b])
        if keep.any():
            self._edges.append((a[keep], b[keep]))
            self._sorted = False

    def roles(self, labels: AtomLabels) -> AtomLabels:
        """Fresh atoms, one below each of those in `labels`: these units in one of the places that they have."""
        names, index = distinct(self.find(labels))
        made = self.new(len(names))
        self.place(made, names)
        return made[index]

    def edges(self) -> tuple[AtomLabels, AtomLabels]:
        """All pairs (child, parent), each once, none from an atom to itself."""
        if not self._edges:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        if self._sorted:
            return self._edges[0]
        children = self.find(np.concatenate([child for child, _ in self._edges]))
        parents = self.find(np.concatenate([parent for _, parent in self._edges]))
        # one number a pair: rows are sorted far more slowly
        pairs = unique((children * self.count + parents)[children != parents])
        self._edges, self._sorted = [(pairs // self.count, pairs % self.count)], True
        return self._edges[0]

    def bundles(self, rows: AtomLabels) -> AtomLabels:
        """For every row of labels (n, m) one atom (n,) above its members; rows with the same members share it.

        A row with a single member is that member. (Two bundles whose members only later become the same are found equal
        at the end, see `colours.stable_colours`.)
        """
        rows = self.find(rows)
        if rows.shape[1] == 1:
            return rows[:, 0]
        rows = np.sort(rows, axis=1)
        kinds, index = distinct_rows(rows)
        made = np.array([self._bundle(members) for members in _sets(kinds)], dtype=np.int64)
        return made[index]

    def choice(self, members: AtomLabels) -> int:
        """The atom that stands for one of `members`, in their order."""
        key = members.tobytes()
        if key not in self._choices:
            self._choices[key] = int(self.new(1)[0])
            self.choices[self._choices[key]] = members
        return self._choices[key]

    def note_applied(self, function: str, factors: Iterable[AtomLabels]) -> None:
        """Note that a function of single numbers was applied to what has these labels.

        It tells them from others, to which it is not applied, or less often.
        """
        self.functions.setdefault(function, []).extend(factor.reshape(-1) for factor in factors)

    def forget_above(self, gone: AtomLabels) -> None:
        """Take away all that was said of what `gone` stand above, and below."""
        child, parent = self.edges()
        keep = ~np.isin(child, gone) & ~np.isin(parent, gone)
        self._edges, self._sorted = [(child[keep], parent[keep])], False

    def _bundle(self, members: AtomLabels) -> int:
        """The atom above `members`, made where these are bundled for the first time."""
        if len(members) == 1:
            return int(members[0])
        key = members.tobytes()
        if key not in self._bundles:
            above = self.new(1)
            self._bundles[key] = int(above[0])
            self.place(members, above)
        return self._bundles[key]


def distinct(labels: AtomLabels) -> tuple[AtomLabels, AtomLabels]:
    """The distinct labels in order, and the place of every label among them.

    It takes linear time where the labels lie close together.
    """
    low, here = _present(labels)
    if here is None:
        names, index = np.unique(labels, return_inverse=True)
        return names, index.reshape(labels.shape)
    number = np.cumsum(here) - 1
    return np.flatnonzero(here) + low, number[labels - low]


def distinct_rows(rows: AtomLabels) -> tuple[AtomLabels, AtomLabels]:
    """The distinct rows in order, and the place of every row among them; no entry is negative.

    Numbers whose largest byte comes first are in the order of their bytes, which numpy sorts several times as fast as
    rows of numbers.
    """
    row = np.dtype((np.void, 8 * rows.shape[1]))
    keys = np.ascontiguousarray(rows, dtype=">i8").view(row).reshape(-1)
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    return rows[first], index.reshape(-1)


def components(count: int, rows: AtomLabels, columns: AtomLabels) -> tuple[int, AtomLabels]:
    """Number of components of a graph of `count` nodes with edges rows[i] - columns[i], and the one of each node."""
    met = np.bincount(np.concatenate([rows, columns]), minlength=count)
    if met.max(initial=0) <= 1:  # nothing but pairs, as nearly always
        found: AtomLabels = np.arange(count)
        found[columns] = rows
        names, found = distinct(found)
        return len(names), found
    # scipy up to 1.11 takes no other integers here: it warns, and gives back nonsense
    kind = np.int32 if count <= np.iinfo(np.int32).max else np.int64
    graph = coo_array((np.ones(len(rows)), (rows.astype(kind), columns.astype(kind))), shape=(count, count))
    number, reached = connected_components(graph, directed=False)
    return number, reached.astype(np.int64)


def unique(labels: AtomLabels) -> AtomLabels:
    """The distinct labels in order.

    numpy.unique hashes integers for it, which takes ten times as long for millions.
    """
    low, here = _present(labels)
    if here is not None:
        return np.flatnonzero(here) + low
    flat = labels.reshape(-1)
    if upwards(flat):
        return flat
    in_order: AtomLabels = np.sort(flat)
    return np.compress(np.concatenate([[True], in_order[1:] != in_order[:-1]]), in_order)


def upwards(labels: AtomLabels) -> bool:
    """Whether the labels count upwards, so that no two are equal; quickly seen."""
    flat = labels.reshape(-1)
    return bool((flat[1:] > flat[:-1]).all())


def _present(labels: AtomLabels) -> tuple[int, NDArray[np.bool_] | None]:
    """The smallest label, and for each from there on whether it occurs; None where they lie too far apart for that."""
    low = int(labels.min(initial=np.iinfo(np.int64).max))
    span = int(labels.max(initial=low)) - low + 1
    if span > 4 * labels.size + 1000:
        return low, None
    here = np.zeros(span, dtype=bool)
    here[labels - low] = True
    return low, here


def _sets(rows: AtomLabels) -> Iterator[AtomLabels]:
    """The distinct members of every sorted row."""
    for row in rows:
        yield row[np.concatenate([[True], row[1:] != row[:-1]])]
