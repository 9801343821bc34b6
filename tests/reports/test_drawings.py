"""Drawings: scales, the order of a heat map, layers of a lineage, by their own rules."""

import itertools
import math
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcli.reports.curve_chart import ChartCurve, Labels, curve_chart
from starcli.reports.drawing import Scale, polyline
from starcli.reports.heat_map import heat_map, join_nearest, leaf_order, level
from starcli.reports.lineage import LineageNode, layout, merged

VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20)


@given(VALUES)
def test_a_scale_holds_all_values_between_its_ticks(values):
    scale = Scale.over(values, 100, 0)
    places = [scale(value) for value in values]
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8
    assert len({said for _, said in ticks}) == len(ticks)
    for value, said in ticks:
        assert float(said) == pytest.approx(value, abs=1e-3 * (scale.high - scale.low))


def test_gaps_where_a_value_is_not_finite():
    nan = math.nan
    assert polyline([(0, nan), (1, 1), (2, 2), (3, math.inf), (4, nan), (5, 5)]) == "M1 1L2 2M5 5"
    chart = curve_chart([ChartCurve("a", 0, [0, 0.5, 1], [1.0, nan, 2.0])], Labels("x", "t", "loss"))
    assert "NaN" not in chart
    assert "nan" not in re.sub(r'data-curves="[^"]*"', "", chart)


def test_rows_of_a_heat_map_keep_groups_together():
    """Two groups, near inside and far between: whatever the order of the models, no group is cut in two."""
    draw = random.Random(0)
    for _ in range(20):
        group = [draw.randrange(2) for _ in range(9)]
        group[:2] = [0, 1]
        near = np.array([[0.1 + 0.01 * draw.random() if a == b else 1 + draw.random() for b in group] for a in group])
        order = [group[i] for i in leaf_order(join_nearest(near))]
        assert sum(a != b for a, b in itertools.pairwise(order)) == 1


def test_heights_of_the_tree_are_mean_distances():
    """UPGMA by brute force: the last link joins two sets at the mean distance between them."""
    rng = np.random.default_rng(1)
    matrix = rng.random((6, 6))
    matrix = matrix + matrix.T
    links = join_nearest(matrix)
    sets = {i: {i} for i in range(6)}
    for number, (a, b, distance, count) in enumerate(links):
        first, second = sets.pop(int(a)), sets.pop(int(b))
        assert distance == pytest.approx(np.mean([matrix[i, j] for i in first for j in second]))
        sets[6 + number] = first | second
        assert len(first | second) == count


def test_what_is_not_finite_is_a_dash_and_the_highest_colour_is_the_highest_value():
    drawn = heat_map(["a", "b", "c"], np.array([[0, 1, np.nan], [1, 0, 2], [np.nan, 2, 0]]), "x", "nats")
    assert drawn.count(">–</text>") == 2
    assert (level(0.0, 2.0), level(-1.0, 2.0), level(2.0, 2.0)) == (0, 0, 8)


def node(name, *parents, kind="model"):
    return LineageNode(name, (name,), kind, parents, True)


def random_lineage(draw, count):
    """Nodes of which each has some of the earlier ones as parents."""
    names = [str(n) for n in range(count)]
    return [node(name, *draw.sample(names[:n], draw.randint(0, min(n, 3)))) for n, name in enumerate(names)]


def test_every_line_goes_from_layer_to_layer():
    draw = random.Random(3)
    for _ in range(20):
        nodes = random_lineage(draw, 15)
        found = layout(nodes)
        assert sorted(each.sha256 for each in found.nodes.values()) == sorted(each.sha256 for each in nodes)
        lines = {(found.nodes[way[0]].sha256, found.nodes[way[-1]].sha256) for way in found.lines}
        assert lines == {(parent, each.sha256) for each in nodes for parent in each.parents}
        for way in found.lines:
            assert [layer for layer, _ in way] == list(range(way[0][0], way[-1][0] + 1))
        taken = [place for way in found.lines for place in way[1:-1]] + list(found.nodes)
        assert len(set(taken)) == len(taken) == sum(found.sizes)


def test_many_alike_are_one_and_those_that_lead_elsewhere_are_not():
    sources = [node(str(n)) for n in range(6)]
    nodes = [*sources, node("star", *"012345", kind="star"), node("aligned", "0")]
    found = {each.sha256: each for each in merged(nodes)}
    assert found["1"].also == ("2", "3", "4", "5")
    assert found["star"].parents == ("0", "1")
    assert found["aligned"].parents == ("0",)


def test_files_that_together_descend_from_themselves_are_left_out():
    found = layout([node("a", "b"), node("b", "a"), node("c"), node("d", "c")])
    assert sorted(each.sha256 for each in found.nodes.values()) == ["c", "d"]
