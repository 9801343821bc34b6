"""Tensors that a network makes piece by piece, `out[:, i] = part`, as the stack or concatenation that they are."""

from typing import Any

import torch
from torch import fx

from starcli.symmetry.derive import nodes


def join_written_pieces(graph: fx.Graph) -> None:
    """Put a stack, or concatenation, in the place of each fresh tensor all of which is written before it is read."""
    for base in list(graph.nodes):
        if _is_fresh(base):
            _join(graph, base)


def _is_fresh(node: fx.Node) -> bool:
    """Whether a node gives memory of its own: what a creating operator made, or a conversion of that."""
    made: Any = node
    while isinstance(made, fx.Node) and nodes.name(made.target) in nodes.AS_IT_IS:
        made = made.args[0]
    return isinstance(made, fx.Node) and nodes.name(made.target) in nodes.CREATION | nodes.UNWRITTEN


def _join(graph: fx.Graph, base: fx.Node) -> None:
    """Do so for one tensor, if its pieces are written in one axis, each once, and nothing else is done before."""
    writes = [write for view in nodes.readers(base) for write in view.users if _is_write(write, view)]
    views: list[Any] = [write.args[0] for write in writes]
    if len(writes) < 2 or len({(nodes.name(view.target), view.args[1]) for view in views}) > 1:
        return
    place = {node: i for i, node in enumerate(graph.nodes)}
    last = max(writes, key=lambda write: place[write])
    early = {node for node in nodes.readers(base) if place[node] < place[last]} - {*views}
    if any(nodes.name(node.target) != "_assert_tensor_metadata" for node in early):
        return
    axis, n = views[0].args[1], base.meta["val"].shape[views[0].args[1]]
    pieces = {_positions(view, n): write.args[1] for view, write in zip(views, writes, strict=True)}
    if len(pieces) < len(writes) or [k for each in sorted(pieces) for k in each] != list(range(n)):
        return
    target = torch.ops.aten.stack.default if nodes.name(views[0].target) == "select" else torch.ops.aten.cat.default
    with graph.inserting_after(last):
        whole = graph.call_function(target, ([pieces[each] for each in sorted(pieces)], axis))
    whole.meta = {**last.meta, "val": base.meta["val"]}
    for user in [user for user in base.users if place.get(user, -1) > place[last]]:
        user.replace_input_with(base, whole)
    for node in [*writes, *views]:
        graph.erase_node(node)


def _is_write(node: fx.Node, view: fx.Node) -> bool:
    """Whether a node writes a tensor of the same shape into a position, or a slice, that nothing else reads."""
    if nodes.name(node.target) != "copy" or not nodes.mutates(node.target) or node.users or len(view.users) > 1:
        return False
    part = node.args[1]
    same = isinstance(part, fx.Node) and part.meta["val"].shape == view.meta["val"].shape
    return node.args[0] is view and same and nodes.name(view.target) in ("select", "slice")


def _positions(view: fx.Node, n: int) -> tuple[int, ...]:
    """The positions of an axis of `n` that a view shows."""
    args: Any = view.args
    return (args[2] % n,) if nodes.name(view.target) == "select" else tuple(range(n)[slice(*args[2:5])])
