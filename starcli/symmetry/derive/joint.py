"""Parameters of several axes whose units are told by two axes together: those of each head, of each expert.

A stack of matrices (E, n, k) in a batched product has n units in each of E sets, which need not move alike. Units told
by two axes are given to what only such products read, and to what meets such units at once (a bias (E, n)).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import fx

from starcli.symmetry.derive import nodes
from starcli.symmetry.derive.atoms import AtomLabels, Atoms
from starcli.symmetry.derive.call import Call, Parameter
from starcli.symmetry.derive.letters import letters_of
from starcli.symmetry.derive.values import Value, along_axis, varies

JointAxes = frozenset[tuple[int, int]]
"""Pairs of axes (outer, inner): an inner position is told by both."""

Axes = tuple[int | None, ...]
"""Of each axis of a tensor that shows a parameter, the parameter's axis; None where it has one position."""

_BATCHED = {"matmul", "bmm", "baddbmm", "_grouped_mm", "grouped_mm_fallback", "scaled_dot_product_attention"}
_CHOOSING = {"topk", "argmax", "argmin", "argsort", "sort", "max", "min"}


def joint_axes(program: Any) -> dict[str, JointAxes]:
    """The pairs of axes of each parameter of two or three axes that only batched products read, and of biases there.

    Axes of size 1 do not count: a learned query may be (heads, d) or (1, heads, 1, d).
    """
    found = {}
    specs = nodes.inputs(program)
    of_weights = _of_weights(program.graph, [node for node, spec in specs if spec.target is not None])
    for node, spec in specs:
        shape = getattr(node.meta.get("val"), "shape", ()) if spec.target is not None else ()
        axes = tuple(k if n > 1 or len(shape) == 3 else None for k, n in enumerate(shape))
        ways = {_as_bias(node)} - {frozenset()} if len(shape) == 2 else set()
        if not ways and len(axes) - axes.count(None) in (2, 3):
            ways = set(_readings(node, axes, of_weights))
        if len(ways) == 1 and (pairs := ways.pop()):
            found[spec.target] = pairs
    return found


def _as_bias(node: fx.Node) -> JointAxes:
    """Both axes of a tensor (E, n) that is only read as (E, 1, n), as biases of a batched product are."""
    users = [user for user in node.users if nodes.name(user.target) != "_assert_tensor_metadata"]
    return frozenset({(0, 1)}) if users and all(_is_spread(node, user) for user in users) else frozenset()


def _is_spread(node: fx.Node, user: fx.Node) -> bool:
    """Whether a reader of (E, n) gives (E, 1, n), or a multiple of all of it (of `vmap`) that is only read so."""
    if nodes.is_whole(user) or (nodes.is_pointwise(user.target) and user.all_input_nodes == [node]):
        return bool(_as_bias(user))
    first, last = node.meta["val"].shape
    return nodes.name(user.target) in nodes.RESHAPED and user.meta["val"].shape == (first, 1, last)


def _of_weights(graph: fx.Graph, weights: Sequence[fx.Node]) -> set[fx.Node]:
    """The weights, constants and functions of them, on which no input bears."""
    found = set(weights)
    found.update(node for node in graph.nodes if node.op != "placeholder" and found.issuperset(node.all_input_nodes))
    return found


def _readings(node: fx.Node, axes: Axes, of_weights: set[fx.Node]) -> Iterator[JointAxes]:
    """The pairs of each operator that reads `node`, whose axes are these of the parameter; none where it tells none."""
    for user in nodes.readers(node):
        name = nodes.name(user.target)
        if name in nodes.AS_IT_IS:
            yield from _readings(user, axes, of_weights)
        elif name in nodes.TURNED:
            yield from _readings(user, _turned(user, name, axes), of_weights)
        elif name in ("unsqueeze", "expand"):
            yield from _readings(user, _widened(user, name, axes), of_weights)
        elif name == "view_as_complex":
            yield from _readings(user, axes[:-1], of_weights)
        elif user in of_weights and nodes.is_pointwise(user.target):
            yield from _readings(user, (*[None] * (user.meta["val"].dim() - len(axes)), *axes), of_weights)
        elif _is_factor(node, user) or (len(axes) == 3 and _is_chosen(user)):
            yield _of_product(axes)
        elif name == "einsum":
            operands: Any = user.args[1]
            yield from (_of_equation(user, k, axes) for k, each in enumerate(operands) if each is node)
        elif name != "_assert_tensor_metadata":
            yield frozenset()


def _is_factor(node: fx.Node, user: fx.Node) -> bool:
    """Whether a batched product reads it, other than as a mask of attention."""
    return nodes.name(user.target) in _BATCHED and node in user.args[:3]


def _of_product(axes: Axes) -> JointAxes:
    """The pairs of an operand of a batched product: its only batch axis with both others."""
    batch = [axis for axis in axes[:-2] if axis is not None]
    return frozenset((batch[0], axis) for axis in axes[-2:] if axis is not None) if len(batch) == 1 else frozenset()


def _widened(node: fx.Node, name: str, axes: Axes) -> Axes:
    """The axes behind `unsqueeze` or `expand`: those of size 1 that come in are none of the parameter."""
    args: Any = node.args
    rank = node.meta["val"].dim()
    if name == "expand":
        return (*[None] * (rank - len(axes)), *axes)
    place = args[1] % rank
    return (*axes[:place], None, *axes[place:])


def _turned(node: fx.Node, name: str, axes: Axes) -> Axes:
    """The axes behind a permutation of them."""
    order = list(range(len(axes)))
    args: Any = node.args
    if name == "permute":
        order = [axis % len(axes) for axis in args[1]]
    elif name == "numpy_T":
        order.reverse()
    else:
        i, j = (-2, -1) if name in ("t", "mT") else args[1:3]
        order[i], order[j] = order[j], order[i]
    return tuple(axes[axis] for axis in order)


def _is_chosen(node: fx.Node) -> bool:
    """Whether a tensor is indexed along its first axis alone, by what an operator that chooses gave."""
    if nodes.name(node.target) not in ("index", "index_select"):
        return False
    args: Any = node.args
    index = [args[2]] if nodes.name(node.target) == "index_select" and args[1] == 0 else args[1]
    if not isinstance(index, list | tuple) or len(index) != 1 or not isinstance(index[0], fx.Node):
        return False
    reached: list[fx.Node] = [index[0]]
    seen: set[fx.Node] = set()
    while reached:
        each = reached.pop()
        if nodes.name(each.target) in _CHOOSING:
            return True
        if each not in seen and each.op == "call_function" and len(seen) < 40:
            seen.add(each)
            reached += each.all_input_nodes
    return False


def _of_equation(node: fx.Node, operand: int, axes: Axes) -> JointAxes:
    """The pairs of one operand of an einsum: its batch axis with both others, else the first of two that stay or go.

    Which of those is first, the result says, or the operand that has most of those that go; what it lacks goes alone.
    """
    args: Any = node.args
    terms, result = letters_of(args[0], [each.meta["val"].dim() for each in args[1]])
    term = terms.pop(operand)
    place = {letter: axis for letter, axis in zip(term, axes, strict=True) if axis is not None}
    if len({*term}) < len(term):
        return frozenset()
    term = [*place]
    batch = [letter for letter in term if letter in result and any(letter in each for each in terms)]
    if len(batch) > 1 or (len(term) == 2 and not batch):
        return frozenset()
    gone = {*term} - {*result}
    read = max(terms, key=lambda each: len(gone & {*each}), default=[])
    together = ([c for c in dict.fromkeys(each) if c in among] for each, among in ((result, term), (read, gone)))
    pairs = [(batch[0], c) for c in term if c != batch[0]] if batch else [(x[0], c) for x in together for c in x[1:]]
    return frozenset((place[outer], place[inner]) for outer, inner in pairs)


def jointly_told(atoms: Atoms, shape: tuple[int, ...], pairs: JointAxes) -> tuple[AtomLabels, ...]:
    """Factors of fresh atoms for a tensor: of each axis, but for inner ones, whose atoms stand below the outer's."""
    pairs = frozenset((outer, axis) for outer, axis in pairs if shape[outer] > 1 and shape[axis] > 1)
    inner = {axis for _, axis in pairs}
    alone = {i: along_axis(atoms.new(n), i, len(shape)) for i, n in enumerate(shape) if n > 1 and i not in inner}
    together = []
    for outer, axis in sorted(pairs):
        sizes = [n if i in (outer, axis) else 1 for i, n in enumerate(shape)]
        labels = atoms.new(shape[outer] * shape[axis]).reshape(sizes)
        atoms.place(labels, alone[outer])
        together.append(labels)
    return (*alone.values(), *together)


def told_as_met(call: Call) -> list[Value]:
    """All tensor arguments; parameters of two axes, first read here, whose other side is told by both are told so."""
    values, n = call.values(), len(call.shape)
    for parameter in call.parameters.values():
        old = parameter.value
        if parameter.first_use != call.step or sum(size > 1 for size in old.shape) != 2:
            continue
        axes = [n - len(old.shape) + axis for axis, size in enumerate(old.shape) if size > 1]
        met = [factor for value in values if value is not old for factor in value.padded(n).factors]
        if any({*axes} <= {*varies(factor)} and not call.atoms.is_fixed(factor).all() for factor in met):
            new = tell_by_both(call, parameter)
            values = [new if value is old else value for value in values]
    return values


def tell_by_both(call: Call, parameter: Parameter) -> Value:
    """The value of a parameter of two axes, first read here, whose second axis is told by both from now on."""
    outer, inner = (axis for axis, size in enumerate(parameter.value.shape) if size > 1)
    shape = parameter.value.shape
    parameter.value = Value(shape, jointly_told(call.atoms, shape, frozenset({(outer, inner)})))
    return parameter.value
