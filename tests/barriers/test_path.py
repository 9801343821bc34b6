"""Paths by way of bends: closed formulas of curves, and what `barrier` measures on them."""

import pytest
import torch
from support.barriers import Model

from starcli.barriers.bends import STRAIGHT, Bends
from starcli.barriers.line_barrier import grid, measure_line, walk
from starcli.barriers.path import Path, bezier_weights, node_weights, polygon_weights
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator, PathEnd


def casteljau(nodes: torch.Tensor, t: float) -> torch.Tensor:
    """A point of a Bezier curve by repeated lines, which is what defines it."""
    while len(nodes) > 1:
        nodes = torch.lerp(nodes[:-1], nodes[1:], t)
    return nodes[0]


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_bezier_curves_are_repeated_lines(count: int) -> None:
    nodes = torch.randn(count, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t in grid(7):
        found = torch.tensor(bezier_weights(count, t), dtype=torch.float64)
        assert found.sum().item() == pytest.approx(1)
        torch.testing.assert_close(found @ nodes, casteljau(nodes, t))


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_a_polygon_is_at_each_node_in_its_turn_and_half_way_between(count: int) -> None:
    for node in range(count):
        expected = [float(each == node) for each in range(count)]
        assert polygon_weights(count, node / (count - 1)) == pytest.approx(expected)
    for node in range(count - 1):
        expected = [0.5 if each in (node, node + 1) else 0.0 for each in range(count)]
        assert polygon_weights(count, (node + 0.5) / (count - 1)) == pytest.approx(expected)


def test_without_bends_every_form_is_the_line() -> None:
    assert node_weights("line", 2, 0.3) == node_weights("bezier", 2, 0.3) == (0.7, 0.3)


def test_a_path_of_equal_ends_and_bends_in_the_middle_is_the_line(evaluator: Evaluator, models: list[Model]) -> None:
    """A Bezier curve whose bend lies half way goes along the line at the same t, and so does a polygon."""
    middle = {n: torch.lerp(a, models[1][n], 0.5) if a.is_floating_point() else a for n, a in models[0].items()}
    line = measure_line(evaluator, models[0], models[1], points=5)
    for form in ("bezier", "polygon"):
        path = Path([PathEnd(each) for each in (models[0], middle, models[1])], form)
        found = walk(evaluator, path, line.t)
        for split, curve in found.curves.items():
            assert curve.loss == pytest.approx(line.curves[split].loss, abs=1e-5)
            assert (curve.loss[0], curve.loss[-1]) == (line.curves[split].loss[0], line.curves[split].loss[-1])


def test_a_polygon_goes_through_its_bends(evaluator: Evaluator, models: list[Model]) -> None:
    ends = [PathEnd(each) for each in models[:4]]
    found = walk(evaluator, Path(ends, "polygon"), grid(7)).curves["train"].loss
    assert [found[0], found[2], found[4], found[6]] == [evaluator.end_scores(each)["train"].loss for each in ends]


def bend(models: list[Model], number: int, **changes: object) -> Checkpoint:
    curve = {"form": "bezier", "bends": 2, "bend": number, **changes}
    metadata = Metadata(kind="bend", recipe={"curve": curve}, metrics={"curve": {"ends": ["a", "b"]}})
    return Checkpoint(models[number], metadata, f"bend {number}")


def test_bends_are_put_in_order_and_have_to_be_those_of_one_curve(models: list[Model]) -> None:
    first, second = bend(models, 1), bend(models, 2)
    found = Bends.of([second, first])
    assert (found.models, found.form, found.ends) == ([first, second], "bezier", ("a", "b"))
    star = Checkpoint(models[3], Metadata(kind="star"), "star")
    assert (Bends.of([star]).form, Bends.of([star]).ends, Bends.of([])) == ("polygon", None, STRAIGHT)
    for wrong, words in (
        ([first], "a curve of 2 bends needs each of them once"),
        ([first, first], "a curve of 2 bends needs each of them once"),
        ([first, bend(models, 2, form="polygon")], "not the bends of one curve"),
        ([first, second, star], "not the bends of one curve"),
    ):
        with pytest.raises(StarcliError, match=words):
            Bends.of(wrong)
