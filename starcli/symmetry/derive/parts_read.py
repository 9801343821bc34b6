"""Parameters that are read in parts of their first axis, as the weights of queries, keys and values in one tensor."""

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from torch import fx

from starcli.symmetry.derive import nodes

MOST_PARTS_READ = 8


def parts_read(program: Any) -> dict[str, int]:
    """Into how many equal parts the first axis of parameters falls that are only read in parts of it, by name.

    Each part may read units of its own: the queries of attention those of one stream, keys and values those of another.
    """
    found = {}
    for node, spec in nodes.inputs(program):
        shape: tuple[int, ...] = getattr(node.meta.get("val"), "shape", ()) if spec.target is not None else ()
        if len(shape) < 2 or min(shape[:2]) < 2:
            continue
        bounds = set(_bounds(node, shape[0]))
        length = math.gcd(*bounds, shape[0])
        if 0 not in bounds or length == 0:
            continue
        if 1 < shape[0] // length <= MOST_PARTS_READ:
            found[spec.target] = shape[0] // length
    return found


def _bounds(node: fx.Node, n: int) -> Iterator[int]:
    """The positions of the first axis at which what reads a tensor begins or ends; 1 where that is all of it."""
    for user in nodes.readers(node):
        args: Any = user.args
        name = nodes.name(user.target)
        first = (args[2] if len(args) > 2 else user.kwargs.get("dim", 0)) == 0
        if name in nodes.AS_IT_IS:
            yield from _bounds(user, n)
        elif name in nodes.IN_PIECES and first:
            yield from accumulate((len(piece) for piece in user.meta["val"]), initial=0)
        elif name == "slice" and (args[1] if len(args) > 1 else 0) == 0 and len(args) < 5:
            start, end = (args[2] if len(args) > 2 else None) or 0, args[3] if len(args) > 3 else n
            yield from (start % n, min(n, end if end >= 0 else n + end))
        elif name != "_assert_tensor_metadata":
            yield 1
