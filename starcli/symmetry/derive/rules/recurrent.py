"""Recurrent layers, stacked and in one direction or two, and single steps: LSTM, GRU and plain ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from starcli.symmetry.derive.call import Call, RuleResult, Unknown, rule
from starcli.symmetry.derive.rules.contraction import matrix_product
from starcli.symmetry.derive.rules.shape import joined, position, reshaped
from starcli.symmetry.derive.values import Value

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@rule(*GATES)
def recurrent(call: Call) -> RuleResult:
    """A recurrent network: x (B, T, in) or (T, B, in) -> outputs and last states.

    Outputs are (B, T, directions * h), last states (layers * directions, B, h).

    A unit is one place of each gate, of the state and of the recurrent weight's second axis. Positions in time are
    fixed.
    """
    if "input" not in call.arguments or len(call.shape) != 3:
        raise Unknown  # packed sequences, single examples
    time = 1 if call["batch_first"] else 0
    directions = 2 if call["bidirectional"] else 1
    x, params = call.value("input"), [call.as_value(tensor) for tensor in call["params"]]
    first = [call.as_value(state) for state in (call["hx"] if call.name == "lstm" else [call["hx"]])]
    each = len(params) // (call["num_layers"] * directions)
    ends: list[tuple[Value, Value]] = []
    for layer in range(call["num_layers"]):
        below = call.positions(x, [time], x.shape)
        starts = [_state(call, state) for state in first]
        for k in range(layer * directions, (layer + 1) * directions):
            ends.append(_cell(call, below, params[k * each : (k + 1) * each], starts, call["has_biases"]))
        outputs = [hidden for hidden, _ in ends[-directions:]]
        x = joined(call, outputs, 2) if directions > 1 else outputs[0]
    kept = zip(zip(*ends, strict=True), call.shapes[1:], strict=False)  # a GRU has no states beside what it gives out
    return x, *(_last(call, values, time, shape) for values, shape in kept)


@rule(*(f"{name}_cell" for name in GATES))
def recurrent_step(call: Call) -> RuleResult:
    """One step of a recurrent network: x (B, in), states (B, h) -> states (B, h), of an LSTM hidden and inner ones."""
    states = call["hx"] if call.name == "lstm_cell" else [call["hx"]]
    starts = [value for state in states if (value := call.as_value(state)) is not None]
    weights = [call.optional(name) for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    if len(starts) < len(states):
        raise Unknown
    hidden, state = _cell(call, call.value("input"), weights, starts, weights[2] is not None)
    return call.result([hidden, state])


def _state(call: Call, state: Value | None) -> Value:
    """A layer's first state, of states (layers * directions, B, h) the same for all: (B, 1, h) or (1, B, h)."""
    if state is None or any(factor.shape[0] > 1 for factor in state.factors):
        raise Unknown
    axes = [1, 0, 2] if call["batch_first"] else [0, 1, 2]
    return Value((1, *state.shape[1:]), state.factors).aligned(axes, 3)


def _cell(
    call: Call, x: Value, weights: Sequence[Value | None], starts: Sequence[Value], biased: bool
) -> tuple[Value, Value]:
    """What one layer gives out in one direction, and its states, at all times, or at a single one.

    What comes in from the state before stands on the same units as what comes in from below, so one step is enough.
    """
    given = [weight for weight in weights if weight is not None]
    inside, around = given[:2]
    biases, projection = (given[2:4], given[4:]) if biased else ([], given[2:])
    gates = GATES[call.name.removesuffix("_cell")]
    below = _linear(call, x, inside, biases[:1])
    state = _units(call, below, gates)
    hidden = _linear(call, state, projection[0], []) if projection else state
    hidden = call.merge([hidden, starts[0]], hidden.shape)
    both = call.merge([below, _linear(call, hidden, around, biases[1:])], below.shape)
    state = call.merge([state, _units(call, both, gates), *starts[1:]], state.shape)
    return hidden, state


def _linear(call: Call, x: Value, weight: Value, biases: Sequence[Value]) -> Value:
    product = matrix_product(call, x, weight.aligned([1, 0], 2), whole=False)
    return call.merge([product, *biases], product.shape)


def _units(call: Call, value: Value, gates: int) -> Value:
    """(..., gates h) -> (..., h), an elementwise function of all gates."""
    *lead, n = value.shape
    split = reshaped(value, (*lead, gates, n // gates))
    parts = [position(call, split, len(lead), k) for k in range(gates)]
    return call.merge(parts, parts[0].shape)


def _last(call: Call, ends: Sequence[Value], time: int, shape: Sequence[int]) -> Value:
    """Values (B, T, n) at the last time, one behind the other: (layers * directions, B, n)."""
    parts = [_at_end(end, time, shape) for end in ends]
    if len(parts) == 1:
        return parts[0]
    inner = replace(call, shapes=(tuple(shape),))
    units = [[factor for factor in part.factors if factor.shape[2] > 1] for part in parts]
    if any(len(factors) != 1 or max(factors[0].shape[:2]) > 1 for factors in units):
        return joined(inner, parts, 0)
    laid = np.concatenate([factors[0] for factors in units])  # (layers * directions, 1, n): each has its own units
    rest = [Value((1, *shape[1:]), tuple(f for f in part.factors if f.shape[2] == 1)) for part in parts]
    return inner.merge([Value.of(shape, [laid]), *rest])


def _at_end(value: Value, time: int, shape: Sequence[int]) -> Value:
    """(B, T, n) or (T, B, n) -> (1, B, n)."""
    factors = (factor.take([-1], time) for factor in value.factors)
    return Value.of((1, *shape[1:]), (factor.transpose(1, 0, 2) if time else factor for factor in factors))
