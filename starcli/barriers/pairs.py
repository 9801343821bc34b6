"""The lines of many pairs of models: each model is measured once, ranks share the work."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from starcli.barriers.line import POINTS, Barrier, as_end, grid, walk
from starcli.evaluation.evaluator import Evaluator, Model, PathEnd
from starcli.runtime.distributed import own_share, share_out

Align = Callable[[Model, Model], Model]
"""align(reference, model) -> the model with its units permuted to match the reference."""


class Store(Protocol):
    """Where measured pairs are kept between runs, by position; a plain `PairStore` forgets them."""

    def get(self, pair: tuple[int, int]) -> Barrier | None: ...

    def put(self, pair: tuple[int, int], value: Barrier) -> None: ...


class PairStore:
    """Keeps nothing."""

    def get(self, pair: tuple[int, int]) -> Barrier | None:
        return None

    def put(self, pair: tuple[int, int], value: Barrier) -> None:
        return None


def barriers(
    evaluator: Evaluator,
    models: Sequence[Model | PathEnd],
    pairs: Sequence[tuple[int, int]],
    *,
    points: int = POINTS,
    align: Align | None = None,
    store: Store | None = None,
    title: str = "barriers",
) -> list[Barrier]:
    """The paths of `pairs`, positions (a, b) in `models`; with `align`, b is first aligned to a.

    Every model is measured once however many pairs it belongs to. That holds for an aligned one too: permuted units
    compute the same function, so that only the rounding of its scores (1e-7) could differ. The ranks share the work.
    """
    ts, keep = grid(points), store or PairStore()
    ends = [as_end(model) for model in models]
    found = dict(zip(pairs, share_out(pairs, keep.get), strict=True))  # so that all ranks miss the same
    missing = [pair for pair in pairs if found[pair] is None]
    unmeasured = sorted({position for pair in missing for position in pair if ends[position].scores is None})
    evaluator.progress.start(title, own_share(len(unmeasured)) + own_share(len(missing)) * (points - 2))

    def measure(pair: tuple[int, int]) -> Barrier:
        a, b = (ends[position] for position in pair)
        if align is not None:
            b = PathEnd(align(a.model, b.model), b.scores)
        measured = walk(evaluator, a, b, ts)
        keep.put(pair, measured)
        return measured

    measured_ends = share_out(unmeasured, lambda position: evaluator.end_scores(ends[position]))
    for position, scores in zip(unmeasured, measured_ends, strict=True):
        ends[position].scores = scores
    found.update(zip(missing, share_out(missing, measure), strict=True))
    evaluator.progress.finish()
    return [value for pair in pairs if (value := found[pair]) is not None]


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Every pair of `count` models once: (0, 1), (0, 2), ..., (count - 2, count - 1)."""
    return [(i, j) for i in range(count) for j in range(i + 1, count)]


def matrix(count: int, pairs: Sequence[tuple[int, int]], values: Sequence[float]) -> Tensor:
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
