"""Reports on a star: every group of pairs, measured once and aligned where it must be."""

import json
from collections import Counter

import numpy as np
import pytest
from support.barriers import Counting, Model

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.barriers.intervals import interval
from starcli.barriers.line_barrier import Barrier, Curve
from starcli.barriers.pairs import Pair
from starcli.barriers.star_report import STAR, TRAINED, UNALIGNED, measure_star
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.tasks.task import Scores
from starcli.workspace.workspace import Workspace


def test_a_star_report_measures_every_group(
    workspace: Workspace, models: list[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    star, sources, held_out = models[0], models[1:3], models[3:5]
    counting = Counting(workspace)
    aligned: Counter[int] = Counter()

    def counted(aligner: Aligner, reference: Model, model: Model, **_: object) -> Model:
        if aligner.active:
            aligned[id(reference)] += 1
        return model

    monkeypatch.setattr(Aligner, "permuted", counted)
    found = measure_star(
        counting,
        star,
        sources,
        held_out,
        points=3,
        alignment=Alignment(),
        aligned_sources=sources,
    )
    assert list(found.groups) == [UNALIGNED, "regular-regular", "star-source", TRAINED, "star-held-out"]
    assert found.groups[UNALIGNED].pairs == found.groups["regular-regular"].pairs
    assert found.groups["regular-regular"].pairs == ((0, 2), (0, 3), (1, 2), (1, 3))
    assert counting.measured == 5 + 2 + (4 + 4 + 2 + 2 + 2)  # ends, training's ends, points between
    assert aligned[id(star)] == 4
    assert sum(aligned.values()) == 8  # training's permutations are left alone
    assert found.groups[TRAINED].summaries["train"].mean == pytest.approx(
        found.groups["star-source"].summaries["train"].mean
    )

    regular, to_star = found.groups["regular-regular"].barriers, found.groups["star-held-out"].barriers
    by_hand = [
        (regular[h].curves["test"].loss_barrier + regular[2 + h].curves["test"].loss_barrier) / 2
        - to_star[h].curves["test"].loss_barrier
        for h in (0, 1)
    ]
    assert found.differences["test"].mean == pytest.approx(sum(by_hand) / 2)
    assert found.differences["test"].count == 2
    assert found.star["train"].loss == to_star[0].curves["train"].loss[0]
    assert found.regular["train"].max == max(b.curves["train"].loss[-1] for b in found.groups["star-source"].barriers)
    json.dumps(found.to_dict())


class Known:
    """Barriers that were measured before: of each pair, by its numbers, on both splits."""

    def __init__(self, values: dict[Pair, float]) -> None:
        self.values = values

    def get(self, pair: Pair) -> Barrier:
        t, height = (0.0, 0.5, 1.0), self.values[pair]
        scores = [Scores(loss, {"accuracy": 0.5}, 10) for loss in (1.0, 1.0 + height, 1.0)]
        return Barrier(t, {split: Curve.of(t, scores) for split in ("train", "test")})

    def put(self, pair: Pair, value: Barrier) -> None:
        raise AssertionError(pair)


def test_what_the_star_gains_is_counted_by_held_out_models(evaluator: Evaluator, models: list[Model]) -> None:
    """Five sources and three held-out models, whose barriers are known: means, spread and interval by hand."""
    rng = np.random.RandomState(0)
    sources, held_out = range(5), range(5, 8)
    regular = {(s, h): 1 + rng.rand() for s in sources for h in held_out}
    star = {(STAR, n): rng.rand() for n in range(8)}
    found = measure_star(
        evaluator,
        models[0],
        [models[1]] * 5,
        [models[2]] * 3,
        points=3,
        stores=dict.fromkeys(("regular-regular", "star-source", "star-held-out"), Known(regular | star)),
    )
    pairs = found.groups["regular-regular"].pairs
    assert Counter(h for _, h in pairs) == dict.fromkeys(held_out, 3)
    gains = [np.mean([regular[s, h] - star[STAR, h] for s, other in pairs if other == h]) for h in held_out]
    summary = found.differences["test"]
    assert (summary.count, summary.mean, summary.std) == (
        3,
        pytest.approx(np.mean(gains)),
        pytest.approx(np.std(gains, ddof=1)),
    )
    assert (summary.min, summary.max) == (pytest.approx(min(gains)), pytest.approx(max(gains)))
    both = interval([regular[pair] - star[STAR, pair[1]] for pair in pairs], pairs, [sources, held_out])
    assert summary.interval == pytest.approx(both)
    to_sources = found.groups["star-source"].summaries["train"]
    assert (to_sources.count, to_sources.mean) == (5, pytest.approx(np.mean([star[STAR, n] for n in sources])))
    assert found.groups["star-held-out"].summaries["test"].max == pytest.approx(max(star[STAR, n] for n in held_out))


def test_a_star_report_needs_both_kinds(evaluator: Evaluator, models: list[Model]) -> None:
    with pytest.raises(StarcliError, match="at least one source"):
        measure_star(evaluator, models[0], models[1:3], [])
