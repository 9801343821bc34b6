"""A spec with some groups held where they are, for a search over the others."""

from collections.abc import Collection

from starcli.symmetry.archspec.expression import Hole, Node, canonical, with_references
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.validate import make_resolved


def held(spec: Resolved, groups: Collection[str]) -> Resolved:
    """The spec without `groups` and those within them, whose units stand at fixed positions.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = resolve_spec(parse("{format: 1, tensors: {w: [h, stream], v: [stream]}}"), {"w": (3, 2), "v": (2,)})
    >>> held(spec, {"stream"}).expressions
    {'v': ('2',), 'w': ('h', '2')}
    """
    gone = {name for name in spec.groups if name in groups or not set(spec.ancestors(name)).isdisjoint(groups)}
    if not gone:
        return spec  # with the blocks that it has worked out

    def fixed(node: Node) -> Node:
        return canonical(with_references(node, lambda ref: Hole(ref.name) if ref.name in gone else ref), spec.sizes)

    axes = {name: tuple(map(fixed, nodes)) for name, nodes in spec.axes.items()}
    kept = {name: group for name, group in spec.groups.items() if name not in gone}
    return make_resolved(kept, axes, spec.shapes, spec.buffers, spec.tied)
