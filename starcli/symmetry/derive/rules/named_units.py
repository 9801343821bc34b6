"""What becomes of integers that name units, operator by operator."""

from dataclasses import replace

from torch.utils._pytree import tree_leaves

from starcli.symmetry.derive import nodes
from starcli.symmetry.derive.call import Call, OperatorRule, RuleResult
from starcli.symmetry.derive.values import Value

_READ = {
    *("index", "index_select", "embedding", "gather", "take_along_dim", "one_hot", "eq", "ne", "histc", "bincount"),
    *("argsort", "scatter", "scatter_add", "cumsum", "_grouped_mm", "grouped_mm_fallback"),
}
"""Operators whose rules look at names themselves."""
_CONVERTED = {*nodes.AS_IT_IS, "type_as", "_assert_tensor_metadata"}
_MOVED = {
    *(*nodes.RESHAPED, *nodes.TURNED, "movedim", "expand", "expand_as", "repeat", "broadcast_to", "tile", "slice"),
    *("narrow", "select", "chunk", "split", "unbind", "repeat_interleave", "sort", "index", "index_select", "gather"),
}
"""Operators that give back the integers that they take, elsewhere or in another order."""


def with_names(call: Call, function: OperatorRule) -> RuleResult:
    """The results by the rule `function`, with what they name; units are fixed where more is made of their numbers."""
    operand = call.arguments.get("self")
    names = operand.names if isinstance(operand, Value) else None
    numbers = names is not None and names.meaning == "numbers"
    carried = call.name in _CONVERTED or (numbers and call.name in _MOVED)
    for value in _values(call):
        kept = call.name in _READ or (carried and value is operand)
        if value.names is not None and value.names.meaning != "counts" and not kept:
            call.pin_names(value)
    result = function(call)
    if not carried or names is None:
        return result
    if isinstance(result, Value):
        return replace(result, names=names)
    return tuple(each if call.name == "sort" and k else replace(each, names=names) for k, each in enumerate(result))


def _values(call: Call) -> list[Value]:
    return [each for each in tree_leaves(dict(call.arguments)) if isinstance(each, Value)]
