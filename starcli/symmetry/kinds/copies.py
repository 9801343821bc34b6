"""Units that stand on an axis several times, written out one behind the other, so that each copy is a place."""

from starcli.symmetry.archspec.expression import Concat, Fixed, Node, Product, concat, product, with_children
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.validate import make_resolved

MOST_COPIES = 8
"""Most copies that are told apart; of more (positions of an image) all are acted on alike."""


def written_out(spec: Resolved) -> Resolved:
    """The same spec with `(2 h)` as `h + h`: queries and keys, or the gates of an LSTM, need not be acted on alike.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = resolve_spec(parse("{format: 1, groups: {h: {size: 3}}, tensors: {w: [(2 h)]}}"), {"w": (6,)})
    >>> written_out(spec).expressions["w"]
    ('h + h',)
    """
    axes = {name: tuple(spelled_out(node) for node in nodes) for name, nodes in spec.axes.items()}
    if axes == spec.axes:
        return spec  # with the blocks that it has worked out
    return make_resolved(spec.groups, axes, spec.shapes, spec.buffers, spec.tied)


def spelled_out(node: Node) -> Node:
    """The tree with every small fixed factor that stands before something as that many copies of it."""
    if not isinstance(node, Product):
        return with_children(node, spelled_out)
    first, *rest = node.factors
    if not rest:
        return spelled_out(first)
    behind = spelled_out(product(tuple(rest)))
    if isinstance(first, Fixed) and first.size <= MOST_COPIES and not isinstance(behind, Fixed):
        return concat((behind,) * first.size)
    return product((spelled_out(first), behind)) if not isinstance(behind, Concat) else Product((first, behind))
