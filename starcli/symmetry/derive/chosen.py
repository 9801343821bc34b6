"""Units of what the input chooses: each expert of a mixture has units of its own, which move with it.

A row that one of E experts computed has, at each place, the unit of whichever expert that was. A *choice* stands for
it: an atom with E members, one for each expert. While a network is followed, choices meet each other and other atoms as
all atoms do. `settle` then says of the members what was found out of the choices, expert by expert.
"""

from collections.abc import Iterable

import numpy as np

from starcli.symmetry.derive.algebra import reduce
from starcli.symmetry.derive.atoms import AtomLabels, Atoms, distinct_rows, unique
from starcli.symmetry.derive.call import Call
from starcli.symmetry.derive.values import Names, Value, along_axis, varies


def named_along(call: Call, value: Value, axes: list[int], reason: str) -> Names | None:
    """The units along the one axis of `axes`, which integers between 0 and its size name; None where it has no such."""
    along = [factor for axis in axes for factor in value.along(axis)]
    if len(axes) != 1 or len(along) != 1 or varies(along[0]) != (axes[0],):
        return None
    units = along[0].reshape(-1)
    if len(unique(call.atoms.find(units))) < len(units) or call.atoms.is_fixed(units).any():
        return None
    call.atoms.experts.append(units)
    return Names(units, f"{reason}, {call.where}")


def chosen(call: Call, value: Value, axis: int, units: AtomLabels) -> Value:
    """`value` at one position of `axis`, of size 1 from then on: that of the one of `units` that the input chooses."""
    kept = []
    for factor in value.factors:
        if factor.shape[axis] == 1:
            kept.append(factor)
        elif varies(factor) == (axis,):
            call.atoms.union(factor.reshape(-1), units)
        else:
            rows = np.moveaxis(factor, axis, -1)
            kinds, index = distinct_rows(call.atoms.find(rows.reshape(-1, rows.shape[-1])))
            made = np.array([call.atoms.choice(members) for members in kinds])[index]
            kept.append(np.expand_dims(made.reshape(rows.shape[:-1]), axis))
    return Value.of([1 if i == axis else n for i, n in enumerate(value.shape)], kept)


def looked_up(call: Call, value: Value, axis: int, at: Value, reason: str, meaning: str = "numbers") -> Value:
    """`value` at one position of `axis`, of size 1 from then on, as integers `at` say: of units, if they name those."""
    units = at.named(value.shape[axis], meaning)
    if units is not None:
        return chosen(call, value, axis, units)
    call.pin_names(at)
    return rows_of_input(call, value, [axis], reason)


def rows_of_input(call: Call, value: Value, axes: list[int], reason: str) -> Value:
    """`value` at one position of `axes`, of size 1 from then on: the input tells which, and may tell them all apart."""
    own = next((factor for factor in value.factors if varies(factor) == (axes[0],)), None)
    if own is not None and len(axes) == 1:
        call.atoms.pin(own, f"{reason}, {call.where}")
        return chosen(call, value, axes[0], own.reshape(-1))
    return told_apart(call, value, axes, reason)


def told_apart(call: Call, value: Value, axes: list[int], reason: str) -> Value:
    """What is left of `value`, of size 1 along `axes`, whose positions are told apart.

    Units that another axis tells too (those of each head) are told apart within each of their sets: the sets may move.
    """
    for factor in value.factors:
        inside = [axis for axis in varies(factor) if axis in axes]
        if len(inside) == 1 < len(varies(factor)):
            made = call.atoms.new(factor.shape[inside[0]], fixed=f"{reason}, {call.where}")
            call.atoms.place(factor, along_axis(made, inside[0], factor.ndim))
        elif inside:
            call.atoms.pin(factor, f"{reason}, {call.where}")
    return reduce(call.atoms, value, axes, whole=False)


def settle(atoms: Atoms, parameters: Iterable[Value]) -> None:
    """Say of the members of all choices what was found out of the choices, each with the others of the same expert.

    A choice that met a unit of a parameter, or stands above one, is the same in all experts: its members move with it.
    """
    if not atoms.choices:
        return
    own = _with_all_above(atoms, [factor for value in parameters for factor in value.factors])
    free = _united(atoms, own)
    _choices_above(atoms, free, own)
    child, parent = (each.tolist() for each in atoms.edges())
    for below, above in zip(child, parent, strict=True):
        if below in free:
            alike = above in free and free[above].shape == free[below].shape
            atoms.place(free[below], free[above] if alike else np.array([above]))
    atoms.forget_above(np.array([*free], dtype=np.int64))


def _with_all_above(atoms: Atoms, factors: list[AtomLabels]) -> set[int]:
    """The atoms in `factors`, and those above them."""
    child, parent = atoms.edges()
    found = unique(np.concatenate([np.empty(0, dtype=np.int64), *(atoms.find(each.reshape(-1)) for each in factors)]))
    while True:
        more = unique(np.concatenate([found, parent[np.isin(child, found)]]))
        if len(more) == len(found):
            return set(found.tolist())
        found = more


def _united(atoms: Atoms, own: set[int]) -> dict[int, AtomLabels]:
    """The members of each choice that met nothing but choices, those of choices that were united being united."""
    free: dict[int, AtomLabels] = {}
    for label, members in atoms.choices.items():
        root = int(atoms.find(np.array([label]))[0])
        if atoms.is_fixed(np.array([root]))[0]:
            atoms.pin(members, atoms.reason(root))
        elif root in own:
            atoms.place(members, np.array([root]))
        elif (first := free.setdefault(root, members)).shape == members.shape:
            atoms.union(first, members)
        else:
            for labels in (first, members):
                atoms.pin(labels, "choices among several numbers of units")
    return free


def _choices_above(atoms: Atoms, free: dict[int, AtomLabels], own: set[int]) -> None:
    """Sets of choices alone are choices among sets: fresh members for them, level by level."""
    child, parent = (each.tolist() for each in atoms.edges())
    below: dict[int, set[int]] = {}
    for one, above in zip(child, parent, strict=True):
        below.setdefault(above, set()).add(one)
    while True:
        new = {}
        for above, inside in below.items():
            sizes = {len(free.get(each, ())) for each in inside}
            taken = above in free or above in own or atoms.is_fixed(np.array([above]))[0]
            if not taken and len(sizes) == 1 and sizes != {0}:
                new[above] = atoms.new(sizes.pop())
        if not new:
            return
        free.update(new)
