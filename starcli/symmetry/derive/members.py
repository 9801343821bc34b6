"""Labels of lists whose members may change places: each member is an atom, above the units that are its own.

Tensors of members are followed one by one, as tensors of their own. In the end those of one stack are laid on each
other: units that stand in one member alone are put below it, those that all share stay what they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import fx

from starcli.symmetry.derive.atoms import AtomLabels, Atoms
from starcli.symmetry.derive.call import Call, OperatorRule, Parameter, RuleResult, Unknown
from starcli.symmetry.derive.joint import jointly_told
from starcli.symmetry.derive.lists import MemberList
from starcli.symmetry.derive.rules.shape import joined, laid_along, run
from starcli.symmetry.derive.trace import Trace
from starcli.symmetry.derive.values import Value, along_axis


@dataclass(frozen=True, eq=False)
class ListMembers:
    """A list, the atoms of its members (n,), and the rows of parameters that have one for each, by name and number."""

    of: MemberList
    labels: AtomLabels
    rows: dict[str, list[Parameter]]

    def row_of(self, node: fx.Node) -> Parameter | None:
        """The row of a parameter that a node reads."""
        return next((self.rows[name][nodes[node]] for name, nodes in self.of.rows.items() if node in nodes), None)

    def rule_of(self, node: fx.Node) -> OperatorRule | None:
        """The rule of a node that tells members apart, and treats them alike."""
        if node in self.of.joins:
            return partial(self._side_by_side, first=self.of.joins[node])
        if node in self.of.picks:
            return self._picked(self.of.picks[node])
        in_pieces = isinstance(node.meta.get("val"), list | tuple)
        return self._pieces if in_pieces and any(user in self.of.picks for user in node.users) else None

    def _picked(self, number: int) -> OperatorRule:
        """What one member reads of an axis with a position, or a piece, for each."""

        def function(call: Call) -> RuleResult:
            value = call.value("self")
            if call.name == "eq":
                units = value.named(len(self.labels))
                if units is None:
                    raise Unknown
                call.atoms.union(units[number : number + 1], self.labels[number : number + 1])
                return replace(value, names=None)
            return self._piece(call, value, number, lambda factor: run(call, factor)[0], call.shape)

        return function

    def _pieces(self, call: Call) -> RuleResult:
        """The pieces of an axis, one for each member."""
        value = call.value("self")

        def piece(number: int) -> Callable[[AtomLabels], AtomLabels]:
            return lambda factor: run(call, factor)[number]

        return call.result([self._piece(call, value, k, piece(k), shape) for k, shape in enumerate(call.shapes)])

    def _piece(
        self, call: Call, value: Value, number: int, take: Callable[[AtomLabels], AtomLabels], shape: Sequence[int]
    ) -> Value:
        """What `take` leaves of each factor; a single position is told by the member."""
        axis, kept = call.arguments.get("dim", 0) % len(value.shape), []
        single = value.shape[axis] == len(self.labels)
        gone = len(shape) < len(value.shape)
        for factor in value.factors:
            if factor.shape[axis] == 1:
                kept.append(factor.squeeze(axis) if gone else factor)
                continue
            part = take(factor)
            if single and part.size == 1:
                call.atoms.union(part.reshape(-1), self.labels[number : number + 1])
            elif single:
                call.atoms.place(part, self.labels[number : number + 1])
            kept.append(part)
        return Value.of(shape, kept)

    def _side_by_side(self, call: Call, first: int) -> RuleResult:
        """What all members give, in order, along one axis, whose positions or pieces are told by the member.

        Before it, and behind it, there may be more.
        """
        axis, end = call.arguments.get("dim", 0) % len(call.shape), first + len(self.labels)
        parts = laid_along(call, axis)
        if len(parts) < end:
            raise Unknown
        members = joined(call, parts[first:end], axis, self.labels)
        others = [*parts[:first], *parts[end:]]
        return joined(call, [*parts[:first], members, *parts[end:]], axis) if others else members


def members_of(trace: Trace, found: MemberList) -> ListMembers:
    """The members of a list, with fresh atoms."""
    rows = {}
    for name in found.rows:
        shape = trace.parameters[name].value.shape[1:]
        values = (Value(shape, jointly_told(trace.atoms, shape, frozenset())) for _ in range(found.count))
        rows[name] = [Parameter(f"{name}[{i}]", value) for i, value in enumerate(values)]
    labels = trace.atoms.new(found.count)
    return ListMembers(found, labels, rows)


def laid_in_stacks(trace: Trace, found: ListMembers) -> bool:
    """Put a stack in the place of the parameters that it holds; whether they are labelled alike."""
    moving = {stack: names for stack, names in found.of.stacks.items() if stack not in found.of.still}
    stacks = {stack: [trace.parameters[name] for name in names] for stack, names in moving.items()}
    made = {}
    for name, own in {**stacks, **found.rows}.items():
        still = name in found.of.still
        labels = trace.atoms.new(found.of.count, fixed="summands, in any order") if still else found.labels
        value = _laid_on_each_other(trace.atoms, own, labels)
        if value is None:
            return False
        used = [each.first_use for each in own if each.first_use is not None]
        made[name] = Parameter(name, value, min(used, default=None))
        if all(each.name in trace.whole for each in own):
            trace.whole.add(name)
        trace.pieces[name] = [piece for each in own for piece in trace.pieces.get(each.name, [])] + [labels]
    for name in (each for names in moving.values() for each in names):
        del trace.parameters[name], trace.same[name]
    trace.parameters |= made
    trace.same |= {name: name for name in made}
    trace.stacks |= dict.fromkeys(moving, found.of.count)
    if moving:
        trace.lists[found.of.name or "members"] = found.labels
    return True


def _laid_on_each_other(atoms: Atoms, own: Sequence[Parameter], labels: AtomLabels) -> Value | None:
    """The value of a stack of tensors, members on its first axis; None where these are labelled unlike."""
    layout = [factor.shape for factor in own[0].value.factors]
    if any([factor.shape for factor in each.value.factors] != layout for each in own):
        return None
    rank = len(own[0].value.shape) + 1
    factors = [along_axis(labels, 0, rank)]
    for k in range(len(layout)):
        stacked = np.stack([each.value.factors[k] for each in own])
        roots = atoms.find(stacked).reshape(len(own), -1)
        if (roots == roots[0]).all():
            factors.append(stacked[:1])
            continue
        once = _in_one_row(roots) & ~atoms.is_fixed(roots)
        above = np.broadcast_to(labels[:, None], roots.shape)
        atoms.place(roots[once], above[once])
        factors.append(stacked)
    return Value((len(own), *own[0].value.shape), tuple(factors))


def _in_one_row(roots: AtomLabels) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """For each label whether it stands in no other row."""
    rows = np.broadcast_to(np.arange(len(roots))[:, None], roots.shape)
    names, index = np.unique(roots, return_inverse=True)
    index = index.reshape(-1)
    low = np.full(len(names), len(roots))
    high = np.full(len(names), -1)
    np.minimum.at(low, index, rows.reshape(-1))
    np.maximum.at(high, index, rows.reshape(-1))
    found: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = (low == high)[index].reshape(roots.shape)
    return found
