"""Forms of a curve between two models by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

CURVE_FORMS: Mapping[str, Entry] = {
    "bezier": Entry("starcli.barriers.path:bezier_weights", "a Bezier curve, drawn towards its bends"),
    "polygon": Entry("starcli.barriers.path:polygon_weights", "straight lines from bend to bend"),
}
"""`--form`: functions of a number of nodes and of t that give each node's weight."""
