"""Facts about a node of an exported graph: its operator, the shapes of its results, the source line it comes from."""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

import torch
from torch import fx

from starcli.runtime.blame import is_torchs
from starcli.symmetry.derive.export import cannot_be_traced

AS_IT_IS = ("to", "_to_copy", "clone", "contiguous", "detach", "alias")
"""Operators, by name, that give back what they are given."""
RESHAPED = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as")
TURNED = ("permute", "transpose", "t", "swapaxes", "swapdims", "numpy_T", "mT")
CONCATENATED = ("cat", "concat", "concatenate", "stack")
IN_PIECES = ("chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split")
"""Operators that show it in another shape, with its axes in another order, beside others, cut along an axis."""
CREATION = {
    *("new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like"),
    *("zeros", "ones", "full", "arange", "linspace", "eye", "scalar_tensor"),
}
"""Operators whose results have values of their own: of a tensor they take shape and type at most."""
UNWRITTEN = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}
"""Operators that take memory as it is, to be written to."""

_FRAME = re.compile(r'File "(?P<file>.+)", line (?P<line>\d+), in .*\n\s*(?P<code>.*)')


def name(target: Any) -> str:
    """Name of the operator, without its overload and a trailing underscore: `aten.add_.Tensor` is `add`."""
    name = str(getattr(getattr(target, "overloadpacket", target), "__name__", target))
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def mutates(target: Any) -> bool:
    """Whether the operator writes to one of its arguments."""
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def is_pointwise(target: object) -> bool:
    """Whether ATen tags the operator as pointwise."""
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags


def is_view(target: Callable[..., Any] | str) -> bool:
    """Whether the result shares memory with the first argument without being it."""
    if not isinstance(target, torch._ops.OpOverload) or target._schema.is_mutable or not target._schema.arguments:
        return target is operator.getitem
    alias = target._schema.arguments[0].alias_info
    return alias is not None or name(target) in ("reshape", "flatten", "contiguous", "chunk", "to")


def shows(node: fx.Node) -> fx.Node | None:
    """The node that this one is a view of; None where it is none."""
    seen = node.args[0] if node.op == "call_function" and is_view(node.target) and node.args else None
    if node.target is operator.getitem and not (isinstance(seen, fx.Node) and is_view(seen.target)):
        return None  # one of several results that are tensors of their own
    return seen if isinstance(seen, fx.Node) else None


def is_shown_later(written: fx.Node, by: fx.Node, but: Sequence[fx.Node]) -> bool:
    """Whether a view of `written` from before the node `by`, other than those of `but`, is read after it."""
    later, following = set(), by.next
    while following.op != "root":
        later.add(following)
        following = following.next

    def is_read(view: fx.Node) -> bool:
        return any(user in later or (shows(user) is view and is_read(user)) for user in view.users)

    views = [user for user in written.users if shows(user) is written and user not in later and user not in but]
    return any(map(is_read, views))


def is_whole(node: fx.Node) -> bool:
    """Whether it is a slice that leaves nothing out, as torch 2.6 writes one for every `:`."""
    args: Any = node.args
    return name(node.target) == "slice" and bool(node.meta["val"].shape == args[0].meta["val"].shape)


def inputs(program: Any) -> list[tuple[fx.Node, Any]]:
    """The placeholders of an exported program, each with what it stands for."""
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    return list(zip(placeholders, program.graph_signature.input_specs, strict=True))


def readers(node: fx.Node) -> Iterator[fx.Node]:
    """The nodes that read a node, those that read all of it through a slice too."""
    for user in node.users:
        if is_whole(user):
            yield from readers(user)
        else:
            yield user


def alive(graph: fx.Graph) -> set[fx.Node]:
    """The nodes from whose values something follows: not those of which only a shape is taken, as by `zeros_like`."""
    found: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        read = any(user in found and name(user.target) not in CREATION | UNWRITTEN for user in node.users)
        if node.op == "output" or mutates(node.target) or read:
            found.add(node)
    return found


def cut_and_laid(node: fx.Node) -> tuple[fx.Node, int, int, bool] | None:
    """What an operator lays side by side, where that is all pieces of one tensor in order; else None.

    That tensor, the axis of the pieces, how many there are, and whether they were cut, not taken out one by one.
    """
    listed: Any = node.args[0] if node.args and name(node.target) in CONCATENATED else []
    taken = [(each.args[0], each.args[1]) for each in listed if each.target is operator.getitem]
    source: Any = taken[0][0] if taken and len(taken) == len(listed) else None
    cut = source is not None and name(source.target) in IN_PIECES
    if not cut and (source is None or name(source.target) != "unbind"):
        return None
    count, place = len(source.meta["val"]), 2 if cut else 1
    if taken != [(source, k) for k in range(count)] or len({each.shape for each in source.meta["val"]}) > 1:
        return None
    axis = source.args[place] if len(source.args) > place else source.kwargs.get("dim", 0)
    return source.args[0], axis % source.args[0].meta["val"].dim(), count, cut


def shapes(node: fx.Node) -> tuple[tuple[tuple[int, ...], ...], bool]:
    """The shapes of the results, and whether they come as a tuple. StarcliError for sizes that only the input tells."""
    found = node.meta["val"]
    many = isinstance(found, list | tuple)
    values = found if many else (found,)
    sizes = [tuple(getattr(value, "shape", ())) for value in values]
    if any(isinstance(n, torch.SymInt) for shape in sizes for n in shape):
        raise cannot_be_traced(f"a size depends on the values of the input: {where(node)}")
    return tuple(sizes), many


def plain_arguments(node: fx.Node) -> str:
    """The arguments of a node that are no results of others, in their order, as text."""
    return str(fx.node.map_arg((node.args, node.kwargs), lambda _: None))


def used(node: fx.Node) -> frozenset[int]:
    """Of an operator that gives a tuple, the results that something follows from."""
    taken = [user for user in node.users if user.target is operator.getitem]
    return frozenset(int(user.args[1]) for user in taken if user.users)  # type: ignore[arg-type]


def has_mask(node: fx.Node) -> bool:
    """Whether a list among the arguments, as of indices, has a tensor of booleans."""
    lists = [each for each in node.args if isinstance(each, list | tuple)]
    found = [each.meta.get("val") for inner in lists for each in inner if isinstance(each, fx.Node)]
    return any(isinstance(value, torch.Tensor) and value.dtype == torch.bool for value in found)


def where(node: fx.Node) -> str:
    """The operator and the source line of a node, as `conv2d at resnet.py:93: out = self.conv1(x)`.

    It is the innermost line that is not torch's own. Where all lines are (a network put together from torch's modules),
    the module: `linear in 0.up (Linear)`.
    """
    operator_name = name(node.target)
    own = [match for match in _FRAME.finditer(node.meta.get("stack_trace") or "") if not is_torchs(match["file"])]
    if own:
        return f"{operator_name} at {PurePath(own[-1]['file']).name}:{own[-1]['line']}: {own[-1]['code'].strip()}"
    modules = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = modules[-1] if modules else ("", "")
    kind = kind if isinstance(kind, str) else kind.__name__
    return f"{operator_name} in {path} ({kind.rpartition('.')[2]})" if path else operator_name
