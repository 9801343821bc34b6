"""Operators that write values into a part of a tensor: by index, by slice, by a mask."""

from typing import Any

import numpy as np

from starcli.symmetry.derive import nodes
from starcli.symmetry.derive.algebra import reduce
from starcli.symmetry.derive.atoms import AtomLabels
from starcli.symmetry.derive.call import Call, RuleResult, Unknown, fixed, rule
from starcli.symmetry.derive.rules.shape import joined, reshaped
from starcli.symmetry.derive.values import Value, along_axis


@rule("index_add", "index_reduce")
def added_along_one_axis(call: Call) -> RuleResult:
    """Rows added to positions that an index (n,) names: a sum over the rows, for each position."""
    axis, n = call["dim"] % len(call.shape), len(call.shape)
    source = call.value("source")
    rows = call.merge([source, call.value("index").aligned([axis], n)], source.shape)
    return call.merge([call.positions(part, [axis]) for part in (call.value("self"), reduce(call.atoms, rows, [axis]))])


@rule("scatter", "scatter_add", "scatter_reduce", "index_copy", "index_fill")
def put_along_one_axis(call: Call) -> RuleResult:
    """Values put at indices of one axis: positions of that axis are told apart, along the others all of them meet."""
    axis = call["dim"] % len(call.shape)
    index = call.optional("index")
    if index is not None and index.names is not None and call.name in ("scatter", "scatter_add"):
        return _put_at_units(call, axis, index.named(call.shape[axis]))
    parts = [call.value("self")]
    for name in ("index", "src", "source", "value"):
        part = call.optional(name)
        if part is not None and part.shape:
            parts.append(part.aligned([axis], len(call.shape)) if name == "index" and len(part.shape) == 1 else part)
    if any(part.shape[i] not in (1, n) for part in parts for i, n in enumerate(call.shape) if i != axis):
        raise Unknown  # a corner of the tensor
    return call.merge([call.positions(part, [axis]) for part in parts])


def _put_at_units(call: Call, axis: int, units: AtomLabels | None) -> Value:
    """Values put at `units` of one axis that integers name, a value for each. Raises Unknown where they name others."""
    if units is None:
        raise Unknown
    for name in ("self", "src"):
        if (written := call.optional(name)) is not None:
            call.pin_names(written)
    parts = [call.value(name) for name in ("index", "src") if call.optional(name) is not None]
    if any(n != m for part in parts for i, (n, m) in enumerate(zip(part.shape, call.shape, strict=True)) if i != axis):
        raise Unknown
    told = Value.of(call.shape, [along_axis(units, axis, len(call.shape))])
    return call.merge([call.value("self"), *(reduce(call.atoms, part, [axis]) for part in parts), told])


@rule("index_put", "_unsafe_index_put")
def index_put(call: Call) -> RuleResult:
    """Values put at places that tensors of indices name; one value at all places of a mask is a function of both."""
    value, indices, values = call.value("self"), call["indices"], call.value("values")
    axes = [axis for axis, each in enumerate(indices) if each is not None]
    places = [place for axis in axes if (place := call.as_value(indices[axis])) is not None]
    if axes != list(range(axes[0], axes[-1] + 1)) or (call.has_mask and len(axes) > 1):
        raise Unknown
    if call.has_mask:
        return _masked(call, value, places[0], axes[0], values)
    width = max(len(place.shape) for place in places)
    before, after = axes[0], len(call.shape) - axes[-1] - 1
    written = values.padded(before + width + after)
    indexed = range(before, before + width)
    call.pin(written, indexed, "positions of a write")
    kept = [
        factor.reshape([*factor.shape[:before], *[1] * len(axes), *factor.shape[before + width :]])
        for factor in written.factors
        if all(factor.shape[axis] == 1 for axis in indexed)
    ]
    for place in places:
        call.pin(place, reason="positions of a write")
    return call.merge([call.positions(value, axes), Value.of(call.shape, kept)])


def _masked(call: Call, value: Value, mask: Value, axis: int, written: Value) -> Value:
    """One value, or one for each position behind the mask, written wherever a mask on some axes is true."""
    rank, behind = len(call.shape), len(call.shape) - axis - len(mask.shape)
    if len(written.shape) > behind:
        if written.shape and written.shape[0] != 1:
            raise Unknown  # as many values as the mask has places: how many, only the input tells
        written = reshaped(written, written.shape[1:])
    return call.merge([value, mask.aligned(range(axis, axis + len(mask.shape)), rank), written])


@rule("masked_scatter")
def masked_scatter(call: Call) -> RuleResult:
    """Values in the order of a mask's places: all positions of them are told apart."""
    value, mask, source = (call.value(name) for name in ("self", "mask", "source"))
    for each in (value, mask, source):
        call.pin(each)
    return fixed(call.atoms, call.shape, range(len(call.shape)), call.where)


@rule("slice_scatter", "select_scatter")
def part_replaced(call: Call) -> RuleResult:
    """A slice of an axis, or one position of it, replaced."""
    return put_back(call, call.name.partition("_")[0], call.value("self"), call.value("src"))


def put_back(call: Call, view: str, value: Value, part: Value) -> Value:
    """`value` where what the operator `view`, called with the arguments of `call`, shows of it is `part` now."""
    if view in nodes.AS_IT_IS:
        return part
    axis = call.arguments.get("dim", 0) % len(value.shape)
    places = np.arange(value.shape[axis])[_shown(call, view)]
    if places.ndim == 0:
        part = reshaped(part, [*part.shape[:axis], 1, *part.shape[axis:]])
    else:
        part = part.padded(len(value.shape))
    places = places.reshape(-1)
    part = Value(tuple(len(places) if i == axis else n for i, n in enumerate(value.shape)), part.factors)
    rest = np.setdiff1d(np.arange(value.shape[axis]), places)
    if not len(rest):
        return part
    kept = value.changed(axis, len(rest), lambda factor: call.picked(factor.take(rest, axis)))
    order = np.argsort(np.concatenate([rest, places]))
    return joined(call, [kept, part], axis).changed(axis, len(order), lambda factor: factor.take(order, axis))


def _shown(call: Call, view: str) -> Any:
    """Index of the positions of an axis that a view shows. Raises Unknown for other views than of one axis."""
    if view == "select":
        return call["index"]
    if view == "slice":
        return slice(call.arguments.get("start"), call.arguments.get("end"), call.arguments.get("step", 1))
    if view == "narrow":
        return slice(call["start"], call["start"] + call["length"])
    raise Unknown
