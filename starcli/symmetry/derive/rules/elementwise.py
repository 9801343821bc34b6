"""Operators that act on every position separately, where broadcast operands meet (ATen tags them pointwise)."""

from typing import Any

import torch

from starcli.symmetry.derive.call import Call, RuleResult, Unknown, rule
from starcli.symmetry.derive.joint import told_as_met
from starcli.symmetry.derive.values import Value, along_axis


@rule(
    *("alias", "clone", "contiguous", "detach", "copy", "expand_copy", "lift_fresh", "lift_fresh_copy"),
    *("conj", "_conj", "resolve_conj", "conj_physical", "resolve_neg", "real", "imag", "polar"),
    *("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "bernoulli"),
    *("relu6", "mish", "hardswish", "hardsigmoid", "hardtanh", "gelu", "silu", "log_sigmoid", "selu", "celu", "elu"),
    *("leaky_relu", "rrelu", "softplus", "softshrink", "hardshrink", "threshold", "clamp"),
    *("positive", "square", "one_minus", "rsub", "subtract", "multiply", "divide", "true_divide", "floor_divide"),
    *("float_power", "fix", "zero", "where", "masked_fill", "nan_to_num", "isnan", "_assert_tensor_metadata"),
    *("logical_and", "logical_or", "logical_not", "__and__", "__or__", "__xor__"),
)
def elementwise(call: Call) -> RuleResult:
    """An elementwise function of all tensor arguments; units to which different ones of them alone apply differ."""
    values = told_as_met(call)
    varying = [value for value in values if value.factors]
    if len(varying) == 1:
        call.atoms.note_applied(_described(call), varying[0].factors)
    return call.result([call.merge(values)] * len(call.shapes))


def _described(call: Call) -> str:
    """The function of its one argument that varies: the operator, and what its other arguments are."""

    def plain(argument: Any) -> Any:
        number = isinstance(argument, torch.Tensor) and argument.numel() > 0
        return argument.flatten()[0].item() if number else "x" if isinstance(argument, Value) else argument

    return f"{call.name} {[(name, plain(argument)) for name, argument in call.arguments.items()]}"


@rule("eq", "ne")
def equal_or_not(call: Call) -> RuleResult:
    """A comparison. Integers that name units, beside all numbers in order, tell of each unit whether it is named."""
    for value, other in (("self", "other"), ("other", "self")):
        first, second = call.arguments.get(value), call.arguments.get(other)
        if isinstance(first, Value) and first.names is not None:
            units, shape = first.names.units, getattr(second, "shape", ())
            axis = next((i for i, n in enumerate(shape) if n > 1), 0)
            if isinstance(second, torch.Tensor) and torch.equal(second.flatten(), torch.arange(len(units))):
                named = along_axis(units, axis, len(shape)) if len(shape) and shape[axis] == len(units) else None
                if named is not None:
                    return call.merge([first, Value(tuple(shape), (named,))])
            call.pin_names(first)
    return elementwise(call)


@rule("bucketize", "searchsorted")
def bucket(call: Call) -> RuleResult:
    """Between which of some boundaries (m,), in order, each number lies: a function of that number."""
    value, name = call.value("self"), "boundaries" if call.name == "bucketize" else "sorted_sequence"
    boundaries = call.value(name)
    if len(boundaries.shape) != 1:
        raise Unknown
    call.pin(boundaries)
    call.atoms.note_applied(f"{call.name} {call[name]}", value.factors)
    return value


@rule("fill")
def written_over(call: Call) -> RuleResult:
    """One value everywhere: of what was there nothing stays."""
    value = call.optional("value")
    return call.merge([] if value is None else [value])


@rule("to", "_to_copy", "type_as")
def converted(call: Call) -> RuleResult:
    """A conversion; another tensor among the arguments gives the type and nothing else."""
    return call.value("self")


@rule("prelu")
def prelu(call: Call) -> RuleResult:
    """A PReLU: one slope for each channel, on axis 1."""
    x, weight = call.value("self"), call.value("weight")
    return call.merge([x, weight.aligned([1 if len(x.shape) > 1 else 0], len(x.shape)) if weight.shape else weight])


@rule("glu")
def glu(call: Call) -> RuleResult:
    """A gated linear unit: the first half of the axis times a gate made of the second."""
    value = call.value("self")
    axis = call.arguments.get("dim", -1) % len(value.shape)
    n = call.shape[axis]
    first = value.changed(axis, n, lambda factor: factor.take(range(n), axis))
    return call.merge([first, value.changed(axis, n, lambda factor: factor.take(range(n, 2 * n), axis))])
