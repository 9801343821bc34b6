"""Look-ups: embeddings and indexing by tensors."""

from typing import Any

import numpy as np
import torch

from starcli.symmetry.derive.call import Call, RuleResult, Unknown, fixed, rule
from starcli.symmetry.derive.chosen import looked_up, rows_of_input
from starcli.symmetry.derive.joint import tell_by_both
from starcli.symmetry.derive.rules.shape import along_one_axis, run
from starcli.symmetry.derive.values import Value, along_axis

_ROWS = "rows of a look-up"
"""Why what is looked up is fixed along the axis of the look-up."""


@rule("embedding")
def embedding(call: Call) -> RuleResult:
    """An embedding (v, d) at indices (...) -> (..., d).

    Which row is read depends on the input, so the rows are fixed, but where indices name units (codes of a codebook).
    """
    indices, n = call.value("indices"), len(call.shape)
    rows = indices.aligned(range(n - 1), n)
    columns = looked_up(call, call.value("weight"), 0, indices, _ROWS).dropped([0])
    return call.merge([rows, columns.aligned([n - 1], n)])


@rule("embedding_bag")
def embedding_bag(call: Call) -> RuleResult:
    """Sums of rows of an embedding (v, d), a bag each -> (bags, d). Which rows, the input tells: they are fixed."""
    others = [fixed(call.atoms, shape, range(len(shape)), call.where) for shape in call.shapes[1:]]
    bags = fixed(call.atoms, call.shape, [0], call.where)
    columns = rows_of_input(call, call.value("weight"), [0], _ROWS)
    return call.result([call.merge([bags, columns]), *others])


@rule("one_hot")
def one_hot(call: Call) -> RuleResult:
    """Classes (...) as vectors (..., classes), whose positions are told apart, but where classes name units."""
    value, n = call.value("self"), len(call.shape)
    units = value.named(call.shape[-1])
    if units is not None:
        classes = Value(call.shape, (along_axis(units, n - 1, n),))
    else:
        call.pin_names(value)
        classes = fixed(call.atoms, call.shape, [n - 1], call.where)
    return call.merge([value.aligned(range(n - 1), n), classes])


@rule("index")
def index(call: Call) -> RuleResult:
    """Indexing: by constant tensors it is run on the labels; by traced ones the indexed axes are pinned."""
    value, indices = call.value("self"), call["indices"]
    axes = [axis for axis, each in enumerate(indices) if each is not None]
    if not any(isinstance(each, Value) for each in indices):
        spelled = (
            np.broadcast_to(each, [value.shape[axis] if axis in axes else n for axis, n in enumerate(each.shape)])
            for each in value.factors
        )
        return Value.of(call.shape, (call.picked(run(call, each)[0]) for each in spelled))
    if axes != list(range(axes[0], axes[-1] + 1)):
        raise Unknown
    return _read_at(call, value, axes, [indices[axis] for axis in axes])


@rule("index_select")
def index_select(call: Call) -> RuleResult:
    """Positions of one axis, that a constant tensor names, or a traced one."""
    value, axis = call.value("self"), call["dim"] % len(call.shape)
    if isinstance(call["index"], Value):
        return _read_at(call, value, [axis], [call["index"]])
    return along_one_axis(call)


def _read_at(call: Call, value: Value, axes: list[int], indices: list[Any]) -> Value:
    """`value` where its neighbouring `axes` are read at `indices`, tensors of positions in them.

    Where one counts all positions of its axis, `x[arange(n), chosen]`, these are those of the result.
    """
    places = [place for each in indices if (place := call.as_value(each)) is not None]
    width, here = max(len(place.shape) for place in places), axes[0]
    counted = [_counts(each, value.shape[axis]) for axis, each in zip(axes, indices, strict=True)]
    stays = next((k for k, each in enumerate(counted) if each), None)
    told = [k for k in range(len(axes)) if k != stays]
    value = _looked_up(call, value, [axes[k] for k in told], [places[k] for k in told])
    spread = [places[k].padded(width).aligned(range(here, here + width), len(call.shape)) for k in told]
    kept = []
    for factor in value.factors:
        if any(factor.shape[axes[k]] > 1 for k in told):
            continue
        sizes = [1] * width
        if stays is not None and factor.shape[axes[stays]] > 1:
            sizes[width - indices[stays].dim() :] = indices[stays].shape
        kept.append(factor.reshape([*factor.shape[:here], *sizes, *factor.shape[axes[-1] + 1 :]]))
    return call.merge([*spread, Value.of(call.shape, kept)])


def _counts(index: Any, n: int) -> bool:
    """Whether an index is the numbers from 0 to n - 1 in order."""
    return isinstance(index, torch.Tensor) and torch.equal(index.flatten(), torch.arange(n))


def _looked_up(call: Call, value: Value, axes: list[int], places: list[Value]) -> Value:
    """What is looked up along `axes`, which are pinned; not where integers name the units along the only one."""
    if len(axes) == 1:
        parameter = call.parameters.get("self")
        biases = axes == [0] and len(value.shape) == 2 and places[0].named(value.shape[0]) is not None
        if biases and parameter is not None and parameter.first_use == call.step:
            value = tell_by_both(call, parameter)
        return looked_up(call, value, axes[0], places[0], _ROWS)
    for place in places:
        call.pin_names(place)
    return rows_of_input(call, value, axes, _ROWS)


@rule("gather", "take_along_dim")
def gather(call: Call) -> RuleResult:
    """A gather along one axis, by indices of the same rank: that axis is pinned, the others meet the indices'."""
    if call["dim"] is None:
        raise Unknown
    value, axis = call.value("self"), call["dim"] % len(call.shape)
    indices = call.value("index" if "index" in call.arguments else "indices")
    value = looked_up(call, value, axis, indices, "positions of a look-up")
    if any(n != m for i, (n, m) in enumerate(zip(value.shape, call.shape, strict=True)) if i != axis):
        raise Unknown
    kept = [factor for factor in value.factors if factor.shape[axis] == 1]
    return call.merge([indices, Value.of(call.shape, kept)])
