"""Barriers of many pairs: one measurement an end, alignment by the caller, what is kept, and the share of stars."""

import json

import pytest
import torch
from support.barriers import Counting, Model, Watcher

from starcli.alignment.alignment import Alignment
from starcli.barriers.line_barrier import Barrier, measure_line
from starcli.barriers.pairs import barriers, matrix, pairs_of, star_share
from starcli.evaluation.evaluator import Evaluator
from starcli.symmetry.permutation import Permutation
from starcli.workspace.workspace import Workspace


def test_ends_are_measured_once_and_progress_counts_it(workspace: Workspace, models: list[Model]) -> None:
    watcher = Watcher()
    counting = Counting(workspace, progress=watcher)
    pairs = pairs_of(4)
    found = barriers(counting, models[:4], pairs, points=4)
    assert counting.measured == 4 + 6 * 2
    assert watcher.totals == [counting.measured]
    assert watcher.steps == counting.measured
    alone = measure_line(Evaluator(workspace), models[1], models[3], points=4)
    assert found[pairs.index((1, 3))] == alone  # bit for bit, whatever ran before


def test_steps_of_learning_count_too(workspace: Workspace, models: list[Model]) -> None:
    watcher = Watcher()
    how = Alignment("straight-through", steps=7, examples=32)
    barriers(Evaluator(workspace, progress=watcher), models[:3], [(0, 1), (2, 1)], points=4, alignment=how)
    assert watcher.totals == [3 + 2 * (2 + 7)]
    assert watcher.steps == watcher.totals[0]


def test_alignment_is_the_callers(workspace: Workspace, evaluator: Evaluator, models: list[Model]) -> None:
    """A permuted copy has a barrier; aligned it has none."""
    spec = workspace.spec.resolved
    permutation = Permutation.random(spec, torch.Generator().manual_seed(0))
    shuffled = permutation.apply(dict(models[0]))
    plain = barriers(evaluator, [models[0], shuffled], [(0, 1)], points=3)[0]
    undone = barriers(evaluator, [models[0], shuffled], [(0, 1)], points=3, alignment=Alignment("weight"))[0]
    assert plain.curves["train"].loss[0] == pytest.approx(plain.curves["train"].loss[2], rel=1e-4)
    assert abs(plain.curves["train"].loss[1] - plain.curves["train"].loss[0]) > 1e-3
    assert undone.curves["train"].loss[1] == pytest.approx(undone.curves["train"].loss[0], rel=1e-4)


class Kept:
    def __init__(self) -> None:
        self.found: dict[tuple[int, int], Barrier] = {}

    def get(self, pair: tuple[int, int]) -> Barrier | None:
        return self.found.get(pair)

    def put(self, pair: tuple[int, int], value: Barrier) -> None:
        self.found[pair] = Barrier.from_dict(json.loads(json.dumps(value.to_dict())))


def test_what_is_kept_is_not_measured_again(workspace: Workspace, models: list[Model]) -> None:
    store = Kept()
    pairs = pairs_of(3)
    first = barriers(Evaluator(workspace), models[:3], pairs, points=3, store=store)
    del store.found[1, 2]
    counting = Counting(workspace)
    assert barriers(counting, models[:3], pairs, points=3, store=store) == first  # also through JSON
    assert counting.measured == 3
    assert barriers(counting, models[:3], pairs, points=3, store=store) == first
    assert counting.measured == 3


def test_stars_are_below_epsilon_to_all_others() -> None:
    pairs = pairs_of(3)
    assert pairs == [(0, 1), (0, 2), (1, 2)]
    found = matrix(3, pairs, [0.1, 0.2, 0.5])
    assert found.tolist() == [[0.0, 0.1, 0.2], [0.1, 0.0, 0.5], [0.2, 0.5, 0.0]]
    assert star_share(found, 0.2) == 0
    assert star_share(found, 0.3) == pytest.approx(1 / 3)
    assert star_share(found, 1) == 1
    assert star_share(matrix(3, pairs[:2], [0.1, 0.2]), 1) == pytest.approx(1 / 3)  # not measured is no star
