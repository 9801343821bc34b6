"""The lineage of files as a drawing."""

from collections.abc import Sequence

from starcli.plots.parts import model_name
from starcli.reports.drawing import cut_middle, svg, text_at
from starcli.reports.html import Markup, element
from starcli.reports.lineage import Layout, LineageNode, layout

BOX, TALL = 148, 38
"""Width and height of a node, in pixels."""

GAP, _ROW = 64, 50
"""Space between layers, and from one node to the next below."""

MARGIN = 6
"""Space around the drawing."""


def lineage_graph(nodes: Sequence[LineageNode]) -> Markup | None:
    """Draw what was made from what, from left to right; None where nothing was made from anything."""
    found = layout(nodes)
    if not found.lines:
        return None
    highest = max(found.sizes)
    parts = [_line(way, found, highest) for way in found.lines]
    parts += [_node(node, *_corner(place, found, highest)) for place, node in sorted(found.nodes.items())]
    width = len(found.sizes) * (BOX + GAP) - GAP + 2 * MARGIN
    said = f"lineage of {len(nodes)} nodes in {len(found.sizes)} generations"
    return svg(width, highest * _ROW - (_ROW - TALL) + 2 * MARGIN, said, *parts, class_="lineage")


def _corner(place: tuple[int, int], found: Layout, highest: int) -> tuple[float, float]:
    """Upper left corner of a place; layers are centred."""
    layer, row = place
    return MARGIN + layer * (BOX + GAP), MARGIN + (row + (highest - found.sizes[layer]) / 2) * _ROW


def _line(way: Sequence[tuple[int, int]], found: Layout, highest: int) -> Markup:
    """A line from parent to child, through the places between."""
    d, before = "", 0.0
    for number, place in enumerate(way):
        x, y = _corner(place, found, highest)
        y += TALL / 2
        if number == 0:
            d, before = f"M{x + BOX:.1f} {y:.1f}", y
            continue
        d += f"C{x - GAP / 2:.1f} {before:.1f} {x - GAP / 2:.1f} {y:.1f} {x:.1f} {y:.1f}"
        if number < len(way) - 1:
            d += f"H{x + BOX:.1f}"
        before = y
    return element("path", d=d, class_="descent")


def _node(node: LineageNode, x: float, y: float) -> Markup:
    """A box with name, kind and hash; a dashed one where the file is not here."""
    name, what = node.names[0], f"{node.kind} · {node.sha256[:8]}"
    if node.also:
        name, what = f"{len(node.names)} {node.kind}s", f"{model_name(node.names[0])} … {model_name(node.names[-1])}"
    elif not node.here:
        what = f"{node.kind}, not here"
    tip = element("title", f"{', '.join(node.names)}: {node.kind}, weights {', '.join([node.sha256, *node.also])}")
    box = element(
        "rect", x=x, y=y, width=BOX, height=TALL, rx=5.0, class_=f"node {node.kind}{'' if node.here else ' gone'}"
    )
    edge = element("rect", x=x, y=y + 6, width=3, height=TALL - 12, class_=f"edge {node.kind}")
    first = text_at(cut_middle(model_name(name), BOX - 20), x + 11, y + 16, "label strong")
    return element("g", tip, box, edge, first, text_at(cut_middle(what, BOX - 16), x + 11, y + 30, "tick"))
