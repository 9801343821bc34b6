"""The lines of many pairs of models: each model is measured once, ranks share the work."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import AS_GIVEN, Alignment
from starcli.alignment.measure import POINTS
from starcli.barriers.bends import STRAIGHT, Bends
from starcli.barriers.line_barrier import Barrier, as_end, grid, walk
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.evaluation.tasks.task import Scores
from starcli.runtime.rehearsal import alike_if_rehearsed
from starcli.runtime.sharing import own_share, share_out

Pair = tuple[int, int]
"""Positions of two models in a list: the line goes from the first to the second."""


class BarrierStore(Protocol):
    """Where the barriers of pairs are kept between runs, by position."""

    def get(self, pair: Pair) -> Barrier | None:
        """The barrier of a pair that was measured before, else None."""

    def put(self, pair: Pair, value: Barrier) -> None:
        """Keep the barrier of a pair."""


def barriers(
    evaluator: Evaluator,
    models: Sequence[Model | PathEnd],
    pairs: Sequence[Pair],
    *,
    points: int = POINTS,
    alignment: Alignment = AS_GIVEN,
    store: BarrierStore | None = None,
    title: str = "barriers",
    bends: Bends = STRAIGHT,
) -> list[Barrier]:
    """Measure the lines of `pairs`, positions (a, b) in `models`; `alignment` brings b to a first.

    bends: what the paths between them go by, instead of straight on.

    Every model is measured once however many pairs it belongs to. That holds for an aligned one too: permuted units
    compute the same function, so that only the rounding of its scores (1e-7) could differ. The ranks share the work.
    """
    ts, aligner = grid(points), Aligner(alignment, evaluator.workspace)
    ends = [as_end(model) for model in models]
    known = share_out(pairs, store.get) if store else [None] * len(pairs)  # so that all ranks miss the same
    found = dict(zip(pairs, known, strict=True))
    missing = [pair for pair in pairs if found[pair] is None]
    if missing:
        evaluator.admit([*(end.model for end in ends), *(bend.tensors for bend in bends.models)])
    unmeasured = sorted({position for pair in missing for position in pair if ends[position].scores is None})
    how = f", aligned: {alignment.title}" if aligner.active else ""
    each = points - 2 + (aligner.pieces if aligner.active else 0)
    evaluator.progress.start(title, own_share(len(unmeasured)) + own_share(len(missing)) * each)

    def measure(pair: Pair) -> Barrier:
        a, b = (ends[position] for position in pair)
        if aligner.active:
            b = PathEnd(aligner.permuted(a.model, b.model, progress=evaluator.progress), b.scores)
        measured = walk(evaluator, bends.path(a, b), ts)
        if store is not None:
            store.put(pair, measured)
        return measured

    def end_scores(position: int) -> Mapping[str, Scores]:
        return evaluator.end_scores(ends[position])

    measured_ends = alike_if_rehearsed(
        "models at the ends of lines", unmeasured, lambda own: share_out(own, end_scores)
    )
    for position, scores in zip(unmeasured, measured_ends, strict=True):
        ends[position].scores = scores
    measured = alike_if_rehearsed(f"lines of {points} points{how}", missing, lambda own: share_out(own, measure))
    found.update(zip(missing, measured, strict=True))
    evaluator.progress.finish()
    return [value for pair in pairs if (value := found[pair]) is not None]


def pairs_of(count: int) -> list[Pair]:
    """Every pair of `count` models once: (0, 1), (0, 2), ..., (count - 2, count - 1)."""
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def matrix(count: int, pairs: Sequence[Pair], values: Sequence[float]) -> Tensor:
    """Values of pairs as a symmetric matrix (count, count), float64, 0 on the diagonal and NaN where not measured."""
    result = torch.full((count, count), math.nan, dtype=torch.float64)
    result.fill_diagonal_(0.0)
    for (i, j), value in zip(pairs, values, strict=True):
        result[i, j] = result[j, i] = value
    return result


def star_share(barriers: Tensor, epsilon: float) -> float:
    """The share of models whose barriers with all others are below `epsilon`, from their matrix (n, n).

    An empirical star model, as in section A.2.2 of the paper.
    """
    others = barriers.clone().fill_diagonal_(-math.inf)
    return (others < epsilon).all(dim=1).double().mean().item()
