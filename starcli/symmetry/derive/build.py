"""From a finished trace to a resolved spec: groups, their names, axis expressions, reasons of fixed axes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from starcli.symmetry.archspec.blocks import UnitGroup
from starcli.symmetry.archspec.expression import Fixed, Node, canonical, cases, symbols
from starcli.symmetry.archspec.names import unused_name
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.stacked import MEMBERS, members, stacked_shapes
from starcli.symmetry.archspec.validate import make_resolved
from starcli.symmetry.derive.atoms import AtomLabels, Atoms, distinct_rows, unique
from starcli.symmetry.derive.call import Parameter
from starcli.symmetry.derive.colours import axes_in_order, stable_colours
from starcli.symmetry.derive.expressions import MAX_TURNS, Table, Writer
from starcli.symmetry.derive.trace import Trace
from starcli.symmetry.derive.units import Refused, Units, units
from starcli.symmetry.derive.values import varies

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.\-]")
_MODULE = re.compile(r"(\.parametrizations\..*|(^|\.)[^.]*)$")
"""What follows the name of the module in that of a tensor."""
UNLIKE = "its units differ from each other"
MAX_ATTEMPTS = 200


@dataclass(frozen=True)
class Frozen:
    """A tensor axis on which nothing moves, and why."""

    tensor: str
    axis: int
    reason: str

    def to_json(self) -> dict[str, object]:
        """The axis and its reason as plain values."""
        return {"tensor": self.tensor, "axis": self.axis, "reason": self.reason}


@dataclass(frozen=True)
class Built:
    """A spec, the reasons of its fixed axes, and the atoms of each group."""

    resolved: Resolved
    frozen: tuple[Frozen, ...]
    atoms: Mapping[str, AtomLabels]
    """(units, times): as often as the group stands within others. Those of one row have one number in the group."""


def build_spec(trace: Trace, network: nn.Module) -> Built:
    """The spec of all units that the trace found to be exchangeable.

    Units whose structure no expression can describe are fixed, with that reason.
    """
    for _, labels in trace.unread():
        trace.atoms.pin(labels, "the traced function does not read it")
    for _ in range(MAX_ATTEMPTS):
        where, colours = stable_colours(trace.atoms, trace.parameters)
        try:
            found = units(trace.atoms, where, colours)
            return _written(trace, network, found)
        except Refused as refused:
            _meet(trace.atoms, refused)
    raise AssertionError("every attempt fixes at least one class of atoms")


def _meet(atoms: Atoms, refused: Refused) -> None:
    """Do what a refusal asks for."""
    if refused.rows is not None:
        kinds, index = distinct_rows(atoms.find(refused.rows.T))
        atoms.place(refused.rows, atoms.new(len(kinds))[index])
    atoms.tell_apart(refused.parts, refused.reason)
    if refused.rows is None and not refused.parts:
        atoms.pin(refused.labels, refused.reason)


def _written(trace: Trace, network: nn.Module, found: Units) -> Built:
    """The spec of `found`. Raises Refused for an axis that the grammar cannot express."""
    names = _names(trace, found)
    writer = Writer(
        names | {~group: name for group, name in names.items()},
        found.size | {~group: size for group, size in found.size.items()},
    )
    known: dict[bytes, Node] = {}
    axes = {name: _axes(trace, found, writer, parameter, known) for name, parameter in trace.parameters.items()}
    tensors = network.state_dict(keep_vars=True)
    shapes = stacked_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, trace.stacks)
    nodes: dict[str, tuple[Node, ...]] = {
        name: axes[trace.same[name]] if name in trace.same else tuple(Fixed(n) for n in shape)
        for name, shape in shapes.items()
    }
    used = {symbol for each in nodes.values() for node in each for symbol in symbols(node)}
    for group in sorted(found.size, key=lambda g: -len(found.closure(g))):
        if names[group] not in used:
            # above units that are told by other means, but itself on no axis: nothing could be permuted by it
            raise Refused(found.colours.nodes[found.members[group]], "it stands on no axis of its own")
    _refuse_two_above(found, names, nodes)
    groups = {
        names[group]: UnitGroup(names[group], size, None if (parent := found.within[group]) is None else names[parent])
        for group, size in found.size.items()
    }
    ties: dict[str, list[str]] = {}
    for name in shapes:
        if name in trace.same:
            ties.setdefault(trace.same[name], []).append(name)
    held = {name for name, _ in network.named_buffers(remove_duplicate=False)}
    buffers = frozenset(name for name in shapes if name in held or members(name, 1)[0] in held)
    resolved = make_resolved(
        groups, nodes, shapes, buffers, tuple(tuple(each) for each in ties.values() if len(each) > 1)
    )
    labels = {names[group]: found.rows(group) for group in found.size}
    return Built(resolved, _frozen(trace, nodes), labels)


def _refuse_two_above(found: Units, names: Mapping[int, str], nodes: Mapping[str, tuple[Node, ...]]) -> None:
    """Raise Refused for a group around another that stands on two more axes of a tensor of that one, or on none.

    A layer between experts' units and a stream whose units go with the experts is such: [expert, unit, expert]; and a
    grouped convolution whose groups are added up, so that its outputs are of no group.
    """
    nested = [(names[group], parent) for group, parent in found.within.items() if parent is not None]
    for name, axes in nodes.items():
        on = [symbols(node) for node in axes]
        for unit, parent in nested:
            beside = any(unit in here and names[parent] not in here for here in on)
            times = sum(names[parent] in here for here in on)
            if beside and times != 1:
                labels = found.colours.nodes[found.members[parent]]
                where = f"on {'two axes' if times else 'no axis'} of {name}"
                raise Refused(labels, f"it stands {where}, beside units within it")


def _axes(
    trace: Trace, found: Units, writer: Writer, parameter: Parameter, known: dict[bytes, Node]
) -> tuple[Node, ...]:
    """The expression of every axis of one tensor.

    `known` holds those of axes that depend on no other: the same units in the same order stand on the tensors of a
    normalisation and on the next layer's weight.
    """
    shape = parameter.value.shape
    told = [_told(trace, found, parameter, axis, known) for axis in range(len(shape))]
    nodes = []
    for axis, rows in enumerate(told):
        parts = []
        for key, table in rows:
            node = known[key] if table is None and key is not None else writer.axis(table or {}, shape[axis])
            if node is None:
                reason = f"an order of units that no expression has, on axis {axis} of {parameter.name}"
                raise _unwritable(found, writer, table or {}, reason)
            parts.append(node if table is None else canonical(node, {}))
            if key is not None:
                known[key] = parts[-1]
        nodes.append(cases(tuple(parts)))
    return tuple(nodes)


def _told(
    trace: Trace, found: Units, parameter: Parameter, axis: int, known: Mapping[bytes, Node]
) -> list[tuple[bytes | None, Table | None]]:
    """The atoms along an axis, and their coordinates unless they are `known`.

    Of the second axis those in each part of the first that has units of its own there.
    """
    labels = parameter.labels(axis)
    if parameter.parts > 1 and axis == 1 and labels is not None and parameter.first_use is not None:
        rows = [(trace.atoms.find(row).tobytes(), row) for row in labels.reshape(-1, labels.shape[1])]
        return [(key, None if key in known else found.table(trace.atoms, row)) for key, row in rows]
    key = _units_of(trace, parameter, axis)
    return [(key, None if key in known else _table(trace, found, parameter, axis))]


def _units_of(trace: Trace, parameter: Parameter, axis: int) -> bytes | None:
    """The atoms along the axis of a parameter in use; None where they depend on another axis too."""
    labels = parameter.labels(axis)
    if labels is None or parameter.first_use is None or labels.size > labels.shape[axis]:
        return None
    return trace.atoms.find(labels).tobytes()


def _unwritable(found: Units, writer: Writer, table: Table, reason: str) -> Refused:
    """What must be told apart for an axis whose order of units cannot be written.

    Those are the groups that cannot be written beside larger ones: of each the parts that stand in order, taken in
    turns or one behind the other, else its units.
    """
    moving = {found.group(key) for key, index in table.items() if (index >= 0).any()}
    n = len(next(iter(table.values())))
    kept: set[int] = set()
    parts: list[AtomLabels] = []
    for group in sorted(moving, key=lambda each: (len(found.closure(each)), -found.size[each])):
        around = found.closure(group).intersection(moving) - {group}
        if not around <= kept:
            continue  # those around it are told apart first
        if writer.axis({key: table[key] for key in table if found.group(key) in kept | {group}}, n) is not None:
            kept.add(group)
        else:
            rows = found.rows(group)
            numbers = [] if around or ~group in table else _in_order(table[group])
            parts += [rows[each].reshape(-1) for each in numbers] or list(rows)
    return Refused(np.concatenate(parts), reason, parts)


def _in_order(index: AtomLabels) -> list[AtomLabels]:
    """The fewest parts of units that stand on an axis once each, contiguous or taken in turns, in order; or none."""
    places = np.flatnonzero(index >= 0)
    order = index[places]
    if len(unique(order)) < len(order):
        return []
    breaks = np.flatnonzero((np.diff(order) != 1) | (np.diff(places) != 1)) + 1
    ways = [np.split(order, breaks)] + [[order[k::turns] for k in range(turns)] for turns in range(2, MAX_TURNS + 1)]
    fitting = [
        way for way in ways if 1 < len(way) <= len(order) // 2 and all((np.diff(part) == 1).all() for part in way)
    ]
    return min(fitting, key=len, default=[])


def _table(trace: Trace, found: Units, parameter: Parameter, axis: int) -> Table:
    """Coordinates of the units along one axis.

    Where they depend on another axis too (a grouped convolution), the groups that the other axis bears are left out
    there, and the rest must be the same everywhere: else the units of all its rows are made to move alike.
    """
    labels = parameter.labels(axis)
    if labels is None or parameter.first_use is None:
        return {}
    others = [i for i in varies(labels) if i != axis]
    rows = np.moveaxis(labels, axis, -1).reshape(-1, labels.shape[axis])
    if not others:
        return found.table(trace.atoms, rows[0])
    rows = rows[np.append(True, (rows[1:] != rows[:-1]).any(axis=1))]  # all rows of one set of channels are the same
    whole = {group: index.reshape(rows.shape) for group, index in found.table(trace.atoms, rows.reshape(-1)).items()}
    table: dict[int, AtomLabels] = {}
    for group, index in whole.items():
        if (index == index[:, :1]).all() and len(unique(index[index >= 0])) == found.size[found.group(group)]:
            continue  # constant along this axis: borne by the other
        if not (index == index[0]).all():
            reason = f"axes of {parameter.name} that depend on each other"
            alike = (parameter.name, axis) in trace.alike
            trace.alike.add((parameter.name, axis))
            raise Refused(found.colours.nodes[found.members[found.group(group)]], reason, rows=None if alike else rows)
        table[group] = index[0]
    return table


def _names(trace: Trace, found: Units) -> dict[int, str]:
    """A name for each group, after the module whose tensor bears it first, or after the list whose members it moves.

    Sets get `.expert`, `.member`, `.group` or `.head`.
    """
    edges: list[tuple[int, str, int]] = []
    place = 0
    for name, axis in axes_in_order(trace.parameters):
        edges.append((place, name, len(trace.parameters[name].value.shape)))
        labels = trace.parameters[name].labels(axis)
        place += 0 if labels is None else labels.size
    starts = np.array([start for start, _, _ in edges])
    experts = {root for labels in trace.atoms.experts for root in trace.atoms.find(labels).tolist()}
    lists = {root: name for name, labels in trace.lists.items() for root in trace.atoms.find(labels).tolist()}
    around = {parent for parent in found.within.values() if parent is not None}
    names: dict[int, str] = {}
    taken: set[str] = set()
    for group in sorted(found.size, key=lambda g: (found.rank[g], g not in around, found.size[g])):
        _, tensor, rank = edges[int(np.searchsorted(starts, found.rank[group], side="right")) - 1]
        base = _FORBIDDEN.sub("-", (_MODULE.sub("", tensor) or tensor).replace(MEMBERS, "each"))
        base = f"units.{base}" if base.isdecimal() else base  # an expression would read a number as a size
        if group in around:
            first = int(found.colours.nodes[found.members[group]][0])
            base = lists.get(first, base)
            chosen = ".member" if first in lists else ".expert" if first in experts else ""
            base += chosen or (".group" if rank > 2 else ".head")
        elif found.within[group] is not None:
            base += ".unit"
        names[group] = unused_name(base, taken)
        taken.add(names[group])
    return names


def _frozen(trace: Trace, nodes: Mapping[str, tuple[Node, ...]]) -> tuple[Frozen, ...]:
    """The fixed axes of parameters, with the first reason that was given for one of their positions."""
    found = []
    for name, parameter in trace.parameters.items():
        for axis, n in enumerate(parameter.value.shape):
            labels = parameter.labels(axis)
            if labels is None or n == 1 or name not in nodes or not isinstance(nodes[name][axis], Fixed):
                continue
            fixed = trace.atoms.is_fixed(labels).reshape(-1)
            first = labels.reshape(-1)[np.flatnonzero(fixed)[:1]]
            reason = trace.atoms.reason(int(first[0])) if len(first) else ""
            found.append(Frozen(name, axis, reason or _above(trace, labels) or UNLIKE))
    return tuple(found)


def _above(trace: Trace, labels: AtomLabels) -> str:
    """The reason of a fixed parent of the first position."""
    child, parent = trace.atoms.edges()
    root = trace.atoms.find(labels.reshape(-1)[:1])
    parents = parent[child == root[0]]
    fixed = parents[trace.atoms.is_fixed(parents)] if len(parents) else parents
    return trace.atoms.reason(int(fixed[0])) if len(fixed) else ""
