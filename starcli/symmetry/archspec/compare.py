"""Comparison of two resolved specs by the symmetries that they describe, whatever their groups are called."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

from starcli.errors import few
from starcli.symmetry.archspec.blocks import Block
from starcli.symmetry.archspec.resolved import Resolved

AxisSlot = tuple[object, ...]
Atom = tuple[str, tuple[int, ...]]
"""One unit: the name of its group, then its index, preceded by the indices of the groups around it."""


def same_symmetries(first: Resolved, second: Resolved) -> list[str]:
    """List in what the symmetries that two specs describe differ; nothing where they are the same.

    An *atom* is one unit of one group (in one combination of units around it); its *slots* are all positions (tensor,
    axis, position) that it moves, together with the parent's position where that lies on another axis. Those in a stack
    are of its members, so that specs with and without stacks can be compared. Two specs are the same if they have the
    same atoms, by slots, each with the same others beside it and the same one around it. Groups of one unit move
    nothing and do not count.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> shapes = {"w1": (6, 9), "w2": (3, 6)}
    >>> whole = resolve_spec(parse("{format: 1, tensors: {w1: [h], w2: [_, h]}}"), shapes)
    >>> other = resolve_spec(parse("{format: 1, tensors: {w1: [units], w2: [_, units]}}"), shapes)
    >>> same_symmetries(whole, other)
    []
    """
    known, other = first.member_shapes, second.member_shapes
    problems = [f"{name}: only in the first" for name in known if name not in other]
    problems += [f"{name}: only in the second" for name in other if name not in known]
    problems += [
        f"{name}: shape {shape} in the first, {other[name]} in the second"
        for name, shape in known.items()
        if other.get(name, shape) != shape
    ]
    if problems:
        return problems
    one, two = _Orbits(first), _Orbits(second)
    found = one.differences(two, "first", "second")
    # Both ways, since a group of the second may have no counterpart in the first.
    return found + two.differences(one, "second", "first")


class _Orbits:
    """The atoms of a spec by their slots, and which of them are exchanged with each other."""

    def __init__(self, spec: Resolved) -> None:
        self.spec = spec
        slots: dict[Atom, set[AxisSlot]] = defaultdict(set)
        for tensor, blocks in spec.blocks.items():
            for block in blocks:
                for k, group in enumerate(block.groups):
                    if group is not None and spec.groups[group].size > 1:
                        _collect(block, k, group, slots, spec.stacks.get(tensor, ()))
        self.key = {atom: frozenset(found) for atom, found in slots.items()}
        self.atom = {key: atom for atom, key in self.key.items()}

    def around(self, atom: Atom) -> frozenset[AxisSlot] | None:
        """Slots of the nearest atom around `atom`, passing over groups of one unit; None at the top."""
        group, index = atom
        parent = self.spec.groups[group].within
        while parent is not None:
            index = index[:-1]
            if self.spec.groups[parent].size > 1:
                return self.key[parent, index]
            parent = self.spec.groups[parent].within
        return None

    def differences(self, other: "_Orbits", here: str, there: str) -> list[str]:
        """One line for each group of this spec that the other does not have."""
        found = []
        for group in self.spec.groups:
            atoms = [atom for atom in self.key if atom[0] == group]
            reason = self._difference(atoms, other)
            if reason:
                bearing = ", ".join(self.spec.bearing[group][:4])
                found.append(
                    f"group {group} ({self.spec.groups[group].size}) of the {here}, on {bearing}: {there}: {reason}"
                )
        return found

    def _difference(self, atoms: list[Atom], other: "_Orbits") -> str:
        """Why the other spec does not have these atoms of one group as they are here; nothing if it has."""
        missing = [atom for atom in atoms if self.key[atom] not in other.atom]
        if missing:
            return self._nearest(missing[0], other)
        images = {atom: other.atom[self.key[atom]] for atom in atoms}
        if any(self.around(atom) != other.around(image) for atom, image in images.items()):
            return "lies within another group"
        orbits: dict[tuple[int, ...], set[tuple[str, tuple[int, ...]]]] = defaultdict(set)
        for (_, index), (name, image) in images.items():
            orbits[index[:-1]].add((name, image[:-1]))
        split = next((sorted({name for name, _ in found}) for found in orbits.values() if len(found) > 1), None)
        if split:
            return f"split into {', '.join(split[:4])}"
        name, image = next(iter(images.values()), ("", ()))
        if images and other.spec.groups[name].size != self.spec.groups[atoms[0][0]].size:
            return f"part of {name} ({other.spec.groups[name].size})"
        return ""

    def _nearest(self, atom: Atom, other: "_Orbits") -> str:
        """Which positions of the atom the other spec moves otherwise, and where one of its atoms differs."""
        mine = self.key[atom]
        best = max(other.key.items(), key=lambda item: len(item[1] & mine), default=None)
        if best is None or not best[1] & mine:
            return f"nothing moves {_where(mine)}"
        (name, _), theirs = best
        parts = [f"{name} does not move {_where(mine - theirs)}"] if mine - theirs else []
        parts += [f"{name} also moves {_where(theirs - mine)}"] if theirs - mine else []
        return ", ".join(parts)


def _where(slots: frozenset[AxisSlot]) -> str:
    return few(sorted({f"{slot[0]} axis {slot[1]}" for slot in slots}), 4)


def _collect(block: Block, k: int, group: str, slots: dict[Atom, set[AxisSlot]], members: Sequence[str]) -> None:
    """Add the slots of all atoms of `group` on sub-axis k; `members`: of the tensor, where it is a stack."""
    parents, members = block.parents[k], members if block.axes[k] else ()
    elsewhere = [i for i in parents if block.axes[i] != block.axes[k] and not (members and block.axes[i] == 0)]
    bearing = (*parents, k)
    beside = [i for i in range(len(block.shape)) if block.axes[i] == block.axes[k] and i not in bearing]
    around = [i for i in range(len(block.shape)) if members and block.axes[i] == 0 and i not in bearing]
    for index in product(*(range(block.shape[i]) for i in bearing)):
        at = dict(zip(bearing, index, strict=True))
        condition = tuple(
            (block.axes[i] - bool(members), block.starts[block.axes[i]] + block.steps[i] * at[i])
            for i in elsewhere
            if block.shape[i] > 1
        )
        positions = _positions(block, block.axes[k], at, beside)
        tensors = [members[number] for number in _positions(block, 0, at, around)] if members else [block.tensor]
        axis = block.axes[k] - bool(members)
        slots[group, index].update((tensor, axis, place, *condition) for tensor in tensors for place in positions)


def _positions(block: Block, axis: int, at: Mapping[int, int], free: Sequence[int]) -> list[int]:
    """Positions on an axis at which the sub-axes there have the coordinates `at`, those of `free` any."""
    start = block.starts[axis] + sum(block.steps[i] * each for i, each in at.items() if block.axes[i] == axis)
    return [
        start + sum(block.steps[i] * j for i, j in zip(free, rest, strict=True))
        for rest in product(*(range(block.shape[i]) for i in free))
    ]
