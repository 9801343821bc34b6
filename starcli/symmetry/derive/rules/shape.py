"""Operators that only move positions about: they are run on the label arrays themselves."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from starcli.symmetry.derive import nodes
from starcli.symmetry.derive.atoms import AtomLabels, unique
from starcli.symmetry.derive.call import Call, RuleResult, Unknown, fixed, rule
from starcli.symmetry.derive.values import Value, along_axis, varies


def reshaped(value: Value, shape: Sequence[int]) -> Value:
    """The value viewed in another shape; only the axes that a factor needs are spelled out."""
    pieces = _chunks(value.shape, tuple(shape))
    return Value.of(shape, (_reshape(factor, value.shape, pieces) for factor in value.factors))


def _chunks(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[range, tuple[int, ...]]]:
    """The finest runs of old axes that become runs of new axes: [(old axes, sizes of the new ones)]."""
    found: list[tuple[range, tuple[int, ...]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        start, first = i, j
        a = b = 1
        while True:
            if i < len(old) and (a <= b or j >= len(new)):
                a, i = a * old[i], i + 1
            elif j < len(new):
                b, j = b * new[j], j + 1
            if a == b and (i > start or j > first):
                break
            if i >= len(old) and j >= len(new):
                raise Unknown
        found.append((range(start, i), new[first:j]))
    return found


def _reshape(factor: AtomLabels, old: tuple[int, ...], pieces: list[tuple[range, tuple[int, ...]]]) -> AtomLabels:
    """One factor viewed in the new shape; runs of axes along which it does not vary keep size 1."""
    spelled: list[int] = []
    target: list[int] = []
    for axes, sizes in pieces:
        needed = any(factor.shape[axis] > 1 for axis in axes)
        spelled += [old[axis] if needed else 1 for axis in axes]
        target += sizes if needed else [1] * len(sizes)
    return np.broadcast_to(factor, spelled).reshape(target)


def run(call: Call, labels: AtomLabels) -> list[AtomLabels]:
    """Run the operator itself on one label array."""
    result = call.target(torch.from_numpy(np.array(labels)), *call.args[1:], **call.kwargs)
    return [each.numpy() for each in result] if isinstance(result, list | tuple) else [result.numpy()]


@rule(*nodes.RESHAPED)
def reshape(call: Call) -> RuleResult:
    """Views in another shape."""
    return reshaped(call.value("self"), call.shape)


@rule("expand", "expand_as", "broadcast_to")
def expand_rule(call: Call) -> RuleResult:
    """Broadcasting to a shape."""
    return Value.of(call.shape, call.value("self").padded(len(call.shape)).factors)


@rule(*nodes.IN_PIECES, "slice", "narrow", "repeat_interleave")
def along_one_axis(call: Call) -> RuleResult:
    """Slices, chunks and repetitions along `dim`; a factor that does not depend on that axis stays."""
    value, axis = call.value("self"), call.arguments.get("dim", 0)
    if axis is None or any(isinstance(each, Value) for each in (*call.args[1:], *call.kwargs.values())):
        raise Unknown
    kept: list[list[AtomLabels]] = [[] for _ in call.shapes]
    for factor in value.factors:
        varies_here = factor.shape[axis] > 1
        moved = [call.picked(each) for each in run(call, factor)] if varies_here else [factor] * len(call.shapes)
        for factors, each in zip(kept, moved, strict=True):
            factors.append(each)
    return call.result([Value.of(shape, factors) for shape, factors in zip(call.shapes, kept, strict=True)])


@rule("select")
def select(call: Call) -> RuleResult:
    """One position of an axis."""
    return position(call, call.value("self"), call["dim"], call["index"])


@rule("unbind")
def unbind(call: Call) -> RuleResult:
    """Each position of an axis as a tensor of its own."""
    return tuple(position(call, call.value("self"), call["dim"], k) for k in range(len(call.shapes)))


def position(call: Call, value: Value, axis: int, k: int) -> Value:
    """The k-th position of an axis, which is gone."""
    axis %= len(value.shape)
    return value.changed(axis, 1, lambda factor: call.picked(factor.take([k], axis))).dropped([axis])


@rule(*nodes.TURNED, "movedim", "mH", "matrix_H", "adjoint", "roll", "flip", "repeat", "tile")
def moved_about(call: Call) -> RuleResult:
    """Axes in another order; shifts, flips and repetitions along them."""
    if call.arguments.get("dims") in ([], ()) and call.name == "roll":
        raise Unknown
    return Value.of(call.shape, (run(call, factor)[0] for factor in call.value("self").factors))


@rule(
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "rot90", "diagonal", "tril", "triu"
)
def everywhere(call: Call) -> RuleResult:
    """Operators that are run on the whole array.

    A triangle keeps labels and adds that its two axes are distinguished.
    """
    value = call.value("self")
    if call.target in (torch.ops.aten.tril.default, torch.ops.aten.triu.default):
        n = len(call.shape)
        return call.merge([value, fixed(call.atoms, call.shape, (n - 2, n - 1), call.where)])
    return Value.of(call.shape, (run(call, np.broadcast_to(factor, value.shape))[0] for factor in value.factors))


@rule(*nodes.CONCATENATED)
def cat(call: Call) -> RuleResult:
    """Concatenation along an axis, or along a new one."""
    axis = call.arguments.get("dim", 0) % len(call.shape)
    return joined(call, laid_along(call, axis), axis)


def laid_along(call: Call, axis: int) -> list[Value]:
    """What is laid side by side along an axis; where that is a new one, each part has one position there."""
    parts = [part for part in call.listed() if part.shape != (0,)]
    shape = [1 if i == axis else n for i, n in enumerate(call.shape)]
    return [reshaped(part, shape) for part in parts] if call.name == "stack" else parts


@rule("hstack", "vstack", "row_stack", "dstack", "column_stack")
def side_by_side(call: Call) -> RuleResult:
    """Concatenation along the axis that the name tells, of tensors that have it."""
    parts = call.listed()
    axis = {"vstack": 0, "row_stack": 0, "dstack": 2}.get(call.name, 1)
    if axis >= min(len(part.shape) for part in parts):
        raise Unknown
    return joined(call, parts, axis)


@rule("view_as_complex", "complex")
def as_complex(call: Call) -> RuleResult:
    """Complex numbers of real and imaginary parts: a function of both, (..., n, 2) -> (..., n) or of two tensors."""
    if call.name == "complex":
        return call.merge(call.values())
    value = call.value("self")
    return call.merge([position(call, value, -1, k) for k in (0, 1)])


@rule("view_as_real")
def as_real(call: Call) -> RuleResult:
    """Real and imaginary parts of complex numbers, (..., n) -> (..., n, 2): two functions of each."""
    part = reshaped(call.value("self"), (*call.shape[:-1], 1))
    return joined(call, [part, part], len(call.shape) - 1)


def joined(call: Call, parts: Sequence[Value], axis: int, told_by: AtomLabels | None = None) -> Value:
    """The concatenation of `parts` along `axis`; `told_by` are atoms (parts,) that tell them apart, if they may move.

    Factors along the axis are laid end to end; the others meet as in an elementwise operator.
    """
    shape = [sum(part.shape[axis] for part in parts) if i == axis else n for i, n in enumerate(parts[0].shape)]
    # a factor that another one determines would be laid beside one that tells more
    parts = [call.merge([part], part.shape) if len(part.along(axis)) > 1 else part for part in parts]
    along = [part.along(axis) for part in parts]
    depth = max(told_by is None, max(len(factors) for factors in along))
    factors = [_laid(call, parts, [each[k] if k < len(each) else None for each in along], axis) for k in range(depth)]
    if told_by is not None or _repeats(call, factors, parts, axis) or _are_shifted(call, parts, axis):
        numbers = told_by
        if numbers is None:
            numbers = call.atoms.new(len(parts), fixed=f"parts told apart, {call.where}")
        labels = np.repeat(numbers, [part.shape[axis] for part in parts])
        factors.append(along_axis(labels, axis, len(shape)))
    rest = [
        Value.of(
            [1 if i == axis else n for i, n in enumerate(part.shape)],
            (factor for factor in part.factors if factor.shape[axis] == 1),
        )
        for part in parts
    ]
    return call.merge([Value.of(shape, factors), *rest], shape)


def _laid(call: Call, parts: Sequence[Value], factors: Sequence[AtomLabels | None], axis: int) -> AtomLabels:
    """One factor a part, end to end; a part without one is constant, hence one fixed atom."""
    needed = {axis}.union(*(varies(factor) for factor in factors if factor is not None))
    pieces = []
    for part, factor in zip(parts, factors, strict=True):
        shape = [n if i in needed else 1 for i, n in enumerate(part.shape)]
        if factor is None:
            factor = call.atoms.new(1, fixed=f"a part that is constant along the axis, {call.where}").reshape(
                [1] * len(shape)
            )
        pieces.append(np.broadcast_to(factor, shape))
    return np.concatenate(pieces, axis)


def _repeats(call: Call, factors: Sequence[AtomLabels], parts: Sequence[Value], axis: int) -> bool:
    """Whether two parts share labels in every factor, so that only their place distinguishes them."""
    cuts = np.cumsum([part.shape[axis] for part in parts])[:-1]
    for factor in factors:
        pieces = [unique(call.atoms.find(piece)) for piece in np.split(factor, cuts, axis)]
        everything = np.concatenate(pieces)
        if len(unique(everything)) == len(everything):
            return False
    return len(parts) > 1


def _are_shifted(call: Call, parts: Sequence[Value], axis: int) -> bool:
    """Whether two parts show the same positions along other axes, but at different places."""
    seen: dict[tuple[int, ...], AtomLabels] = {}
    for part in parts:
        for factor in part.factors:
            if factor.shape[axis] == 1 and call.atoms.is_fixed(factor).all():
                first = seen.setdefault(varies(factor), factor)
                if not np.array_equal(first, factor) and np.isin(first, factor).any():
                    return True
    return False


def laid_anew(call: Call, value: Value, axis: int, count: int, *, cut: bool) -> Value:
    """All `count` pieces of `value` along `axis` in order, laid along another axis, or stacked: a transposition.

    Pieces that were not `cut` but taken out one by one have no such axis.
    """
    inner = [value.shape[axis] // count] if cut else []
    split = reshaped(value, [*value.shape[:axis], count, *inner, *value.shape[axis + 1 :]])
    order = [k for k in range(len(split.shape)) if k != axis]
    order.insert(call.arguments.get("dim", 0) % len(call.shape), axis)
    turned = [factor.transpose(order) for factor in split.factors]
    return reshaped(Value.of([split.shape[k] for k in order], turned), call.shape)


@rule("constant_pad_nd", "pad")
def pad(call: Call) -> RuleResult:
    """Padding with zeros: where an axis grows, its new positions are one fixed atom. Other modes mix positions.

    Where several sets of units are padded alike, it is one fixed atom for each set.
    """
    value, amounts = call.value("self"), call["pad"]
    grown = {len(value.shape) - 1 - i // 2 for i, amount in enumerate(amounts) if amount}
    if call.arguments.get("mode", "constant") != "constant":
        return call.positions(value, grown)
    factors = [factor for factor in value.factors if not grown & set(varies(factor))]
    for axis in sorted(grown):
        inner = value.along(axis) or (fixed(call.atoms, value.shape, (axis,), call.where).factors)
        factors += [_padded(call, factor, value, amounts, grown) for factor in inner]
    return Value.of(call.shape, factors)


def _padded(call: Call, factor: AtomLabels, value: Value, amounts: Sequence[int], grown: set[int]) -> AtomLabels:
    """A factor with the padded positions as atoms of their own."""
    lengths = [n if axis in varies(factor) else 1 for axis, n in enumerate(value.shape)]
    around = [
        amount if len(value.shape) - 1 - i // 2 in set(varies(factor)) & grown else 0
        for i, amount in enumerate(amounts)
    ]
    reason = f"padding, {call.where}"
    labels = torch.from_numpy(np.array(np.broadcast_to(factor, lengths)))
    outside = torch.constant_pad_nd(torch.zeros_like(labels), around, 1).numpy() > 0
    padded = torch.constant_pad_nd(labels, around, int(call.atoms.new(1, fixed=reason)[0])).numpy()
    if set(varies(factor)) <= grown or call.atoms.is_fixed(factor).all():
        return padded
    # units beside which zeros stand in every set of them (a one beside the values of each head): those go with the set
    rest = [1 if axis in grown else n for axis, n in enumerate(padded.shape)]
    return np.where(outside, call.atoms.new(math.prod(rest)).reshape(rest), padded)
