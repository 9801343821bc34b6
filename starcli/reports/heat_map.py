"""All pairs of models as a map of colours, in the order of a tree that joins those of low barriers first."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starcli.plots.parts import two_digits
from starcli.reports.drawing import LETTER, Scale, cut_middle, svg, text_at
from starcli.reports.html import Markup, element
from starcli.reports.tables import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = 9
"""Number of colours, from 0 to the highest value."""

TREE, _TOP = 70, 16
"""Width of the tree, and what is above the map, in pixels."""

WIDEST_NAME = 150
"""Room for the names of models, in pixels."""


def heat_map(names: Sequence[str], matrix: "NDArray[Any]", title: str, unit: str) -> Markup:
    """Draw a symmetric matrix of barriers (models, models), with the tree of average linkage (UPGMA) beside it.

    What is not finite counts as the highest value in the tree, and is a dash in the map.
    """
    links = join_nearest(matrix)
    order = leaf_order(links)
    room = min(max(len(name) for name in names) * LETTER + 8, WIDEST_NAME)
    side = max(min(46.0, 420 / len(names)), 11.0)
    labels = [cut_middle(name, room) for name in names]
    left, extent = TREE + room, side * len(names)
    finite = [float(v) for v in matrix.flatten() if math.isfinite(v)]
    highest = max(finite, default=0.0) or 1.0
    parts = [_tree(links, order, side)]
    for row, i in enumerate(order):
        y = _TOP + row * side
        parts.append(text_at(labels[i], left - 6, y + side / 2 + 3.5, "tick end"))
        parts.append(_below(labels[i], left + row * side + side / 2, _TOP + extent + 8))
        for column, j in enumerate(order):
            if i != j:
                cell = _cell(float(matrix[i, j]), highest, side, left + column * side, y)
                parts.append(element("g", element("title", _pair(names[i], names[j], matrix[i, j], unit)), *cell))
    parts.append(_colours(left, _TOP + extent + room + 18, highest, unit))
    least = words(min(finite, default=math.nan))
    said = f"{title}: {unit} between all pairs of {len(names)} models, {least} to {words(highest)}"
    width = left + max(extent, 200) + 10
    return svg(width, _TOP + extent + room + 66, said, *parts, class_="chart map")


def join_nearest(matrix: "NDArray[Any]") -> "NDArray[Any]":
    """Links (models - 1, 4) of average linkage as of scipy's `linkage`, leaves in an order of least distances."""
    import numpy as np
    from scipy.cluster.hierarchy import linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    finite = matrix[np.isfinite(matrix)]
    distances = np.where(np.isfinite(matrix), matrix, finite.max() if finite.size else 0.0)
    distances = np.maximum((distances + distances.T) / 2, 0.0)
    np.fill_diagonal(distances, 0.0)
    condensed = squareform(distances, checks=False)
    found: NDArray[Any] = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    return found


def leaf_order(links: "NDArray[Any]") -> list[int]:
    """Numbers of the models in the order of the tree."""
    from scipy.cluster.hierarchy import leaves_list

    return [int(number) for number in leaves_list(links)]


def _tree(links: "NDArray[Any]", order: Sequence[int], side: float) -> Markup:
    """The tree at the left of the rows; a branch ends where its two parts are that far apart."""
    count = len(order)
    highest = float(links[-1, 2]) or 1.0
    places = {model: (float(TREE - 4), _TOP + (row + 0.5) * side) for row, model in enumerate(order)}
    parts = []
    for number, (first, second, distance, _) in enumerate(links):
        (x1, y1), (x2, y2) = places[int(first)], places[int(second)]
        x = TREE - 4 - (TREE - 10) * float(distance) / highest
        parts.append(element("path", d=f"M{x1:.2f} {y1:.2f}H{x:.2f}V{y2:.2f}H{x2:.2f}", class_="branch"))
        places[count + number] = (x, (y1 + y2) / 2)
    return element("g", *parts)


def level(value: float, highest: float) -> int:
    """Colour of a value: 0 for 0, up to LEVELS - 1."""
    return min(int(LEVELS * max(value, 0.0) / highest), LEVELS - 1)


def _cell(value: float, highest: float, side: float, x: float, y: float) -> list[Markup]:
    """A square, with its number where it fits."""
    known = math.isfinite(value)
    shade = level(value, highest) if known else None
    cell = [
        element(
            "rect",
            x=x + 0.5,
            y=y + 0.5,
            width=side - 1,
            height=side - 1,
            rx=2.0,
            class_=f"h{shade}" if known else "unknown",
        )
    ]
    said = two_digits(value) if known else "–"
    if len(said) * 5.4 < side - 2:
        strong = "on-light" if shade is None or shade < 5 else "on-middle" if shade == 5 else "on-dark"
        cell.append(text_at(said, x + side / 2, y + side / 2 + 3.5, f"cell middle {strong}"))
    return cell


def _pair(first: str, second: str, value: float, unit: str) -> str:
    return f"{first} and {second}: {words(float(value), 'loss')} {unit}"


def _below(name: str, x: float, y: float) -> Markup:
    """A name that is read from below."""
    return text_at(name, x + 3.5, y, "tick end", transform=f"rotate(-90 {x + 3.5:.2f} {y:.2f})")


def _colours(left: float, top: float, highest: float, unit: str) -> Markup:
    """The scale of colours below the map."""
    wide = 20.0
    parts = [element("rect", x=left + n * wide, y=top, width=wide, height=10, class_=f"h{n}") for n in range(LEVELS)]
    scale = Scale(0, highest, left, left + LEVELS * wide)
    parts += [text_at(said, scale(value), top + 24, "tick middle") for value, said in scale.ticks()]
    parts.append(text_at(unit, left, top + 40, "label"))
    return element("g", *parts)
