"""Classes of exchangeable atoms: colour refinement, and laws between the parents of the same children.

Two atoms have one colour when they occur equally often in the same axes of the same tensors, the same functions are
applied to them, and their parents and children have the same colours. A colour of one atom alone is fixed in effect.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from starcli.symmetry.derive.algebra import relate
from starcli.symmetry.derive.atoms import AtomLabels, Atoms, unique
from starcli.symmetry.derive.call import Parameter
from starcli.symmetry.derive.values import varies

Hashes = NDArray[np.uint64]
MAX_ROUNDS = 1000


@dataclass(frozen=True)
class Occurrences:
    """Where atoms stand: one entry for each atom and tensor axis."""

    atoms: AtomLabels
    axis: AtomLabels
    """Number of the tensor axis, in order of first use."""
    count: AtomLabels
    rank: AtomLabels
    """The first place, counted through all axes in order of first use."""


@dataclass(frozen=True)
class Colours:
    """The colour classes of all atoms that take part."""

    nodes: AtomLabels
    """All atoms that stand in a tensor or above one that does, sorted."""
    colour: AtomLabels
    """Class of each node."""
    size: AtomLabels
    """Number of nodes of each class."""
    child: AtomLabels
    parent: AtomLabels
    """Positions in `nodes` of every child and its parent."""


def axes_in_order(parameters: dict[str, Parameter]) -> list[tuple[str, int]]:
    """All tensor axes of more than one position, those first whose tensor is used first."""
    used = sorted(
        (parameter.first_use, i, name)
        for i, (name, parameter) in enumerate(parameters.items())
        if parameter.first_use is not None
    )
    return [(name, axis) for _, _, name in used for axis, n in enumerate(parameters[name].value.shape) if n > 1]


def occurrences(atoms: Atoms, parameters: dict[str, Parameter]) -> Occurrences:
    """Count how often each atom stands on each axis of the parameters, and where it stands first."""
    found: list[tuple[AtomLabels, ...]] = []
    place = 0
    for number, (name, axis) in enumerate(axes_in_order(parameters)):
        labels = parameters[name].labels(axis)
        if labels is None:
            continue
        others = tuple(i for i in varies(labels) if i != axis)
        roots = atoms.find(np.moveaxis(labels, axis, -1) if others else labels).reshape(-1)
        names, first, count = np.unique(roots, return_index=True, return_counts=True)
        found.append((names, np.full(len(names), number), count, place + first))
        place += len(roots)
    if not found:
        empty = np.empty(0, dtype=np.int64)
        return Occurrences(empty, empty, empty, empty)
    return Occurrences(*(np.concatenate(column) for column in zip(*found, strict=True)))


def refine(atoms: Atoms, where: Occurrences) -> Colours:
    """The coarsest stable colouring of the atoms."""
    child, parent = atoms.edges()
    nodes = unique(np.concatenate([where.atoms, child, parent]))
    children, parents = np.searchsorted(nodes, child), np.searchsorted(nodes, parent)
    start = np.zeros(len(nodes), dtype=np.uint64)
    np.add.at(start, np.searchsorted(nodes, where.atoms), _mix(where.axis) * where.count.astype(np.uint64))
    for number, labels in enumerate(atoms.functions.values()):
        applied, times = np.unique(atoms.find(np.concatenate(labels)), return_counts=True)
        known = np.isin(applied, nodes)
        at = np.searchsorted(nodes, applied[known])
        start[at] += _mix(np.array([number + (1 << 43)])) * times[known].astype(np.uint64)
    fixed = atoms.is_fixed(nodes)
    start[fixed] = _mix(np.flatnonzero(fixed) + (1 << 40))
    colour, number = _names(start)
    for _ in range(MAX_ROUNDS):
        hashes = _mix(colour)
        above, below = np.zeros_like(start), np.zeros_like(start)
        np.add.at(above, children, _mix(colour[parents] + (1 << 41)))
        np.add.at(below, parents, _mix(colour[children] + (1 << 42)))
        colour, more = _names(_blend(hashes, above, below))
        if more == number:
            break
        number = more
    return Colours(nodes, colour, np.bincount(colour, minlength=number), children, parents)


def _mix(x: NDArray[np.int64] | Hashes) -> Hashes:
    """Hashes of numbers (splitmix64), whose sums stand for multisets."""
    z = x.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _blend(a: Hashes, b: Hashes, c: Hashes) -> Hashes:
    return _mix(a * np.uint64(3) + _mix(b + np.uint64(1)) * np.uint64(5) + _mix(c + np.uint64(2)) * np.uint64(7))


def _names(hashes: Hashes) -> tuple[AtomLabels, int]:
    """Hashes -> consecutive numbers."""
    values, index = np.unique(hashes, return_inverse=True)
    return index.astype(np.int64), len(values)


def stable_colours(atoms: Atoms, parameters: dict[str, Parameter]) -> tuple[Occurrences, Colours]:
    """Refine until the parents of every class agree with each other.

    Where children have parents of two classes, one parent may determine the other (all children of p stand below q: q
    is above p), or be determined by it (the same children: one thing; this is how key-value heads, reached by their
    keys and by their values, become one).
    """
    while True:
        _unite_equal_sets(atoms)
        where = occurrences(atoms, parameters)
        colours = refine(atoms, where)
        before = _state(atoms, colours)
        for pairs in _shared(colours):
            relate(atoms, colours.nodes[pairs[0]], colours.nodes[pairs[1]], "as sets of the same units")
        if _state(atoms, colours) == before:
            return where, colours


def _unite_equal_sets(atoms: Atoms) -> None:
    """Unite parents of the very same children: sets that came to have the same members only after they had been made.

    Swin V2 normalises each branch before it joins the residual stream.
    """
    while True:
        child, parent = atoms.edges()
        names, index, count = np.unique(parent, return_inverse=True, return_counts=True)
        members = np.zeros(len(names), dtype=np.uint64)
        np.add.at(members, index, _mix(child))
        _, first, same = np.unique(
            np.stack([members, count.astype(np.uint64)]), axis=1, return_index=True, return_inverse=True
        )
        chief = names[first[same.reshape(-1)]]
        again = (chief != names) & ~(atoms.is_fixed(chief) & atoms.is_fixed(names))
        if not again.any():
            return
        atoms.union(names[again], chief[again])


def _state(atoms: Atoms, colours: Colours) -> tuple[int, int, int]:
    """Three counts that change whenever something is united, put above something, or pinned."""
    roots = unique(atoms.find(colours.nodes))
    return len(roots), len(atoms.edges()[0]), int(atoms.is_fixed(roots).sum())


def movable(colours: Colours, atoms: Atoms) -> NDArray[np.bool_]:
    """For every class whether its atoms may move: it has more than one, and none is fixed."""
    fixed = np.zeros(len(colours.size), dtype=bool)
    fixed[colours.colour[atoms.is_fixed(colours.nodes)]] = True
    return (colours.size > 1) & ~fixed


def _shared(colours: Colours) -> list[tuple[AtomLabels, AtomLabels]]:
    """For every class of children and every two classes of parents above it: the parents, child by child."""
    many = (colours.size > 1)[colours.colour]
    keep = many[colours.child] & many[colours.parent]
    child, parent = colours.child[keep], colours.parent[keep]
    found = []
    for sets in parents_by_class(colours, child, parent).values():
        single = [above for above in sets if above is not None]
        found += list(combinations(single, 2))
    return found


def parents_by_class(colours: Colours, child: AtomLabels, parent: AtomLabels) -> dict[int, list[AtomLabels | None]]:
    """For each class of children, and each class of parents above it, the parent of every child in order of children.

    None stands for a class of parents of which some child has several.
    """
    kinds = np.stack([colours.colour[child], colours.colour[parent], child, parent], axis=1)
    kinds = kinds[np.lexsort((kinds[:, 3], kinds[:, 2], kinds[:, 1], kinds[:, 0]))]
    cuts = np.flatnonzero((np.diff(kinds[:, 0]) != 0) | (np.diff(kinds[:, 1]) != 0)) + 1
    found: dict[int, list[AtomLabels | None]] = {}
    for piece in np.split(kinds, cuts) if len(kinds) else []:
        several = len(unique(piece[:, 2])) < len(piece)
        found.setdefault(int(piece[0, 0]), []).append(None if several else piece[:, 3])
    return found
