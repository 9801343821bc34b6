"""Reports on a star: every group of pairs, measured once and aligned where it must be."""

import json
from collections import Counter

import pytest
from support.barriers import Counting, Model

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.barriers.star_report import TRAINED, UNALIGNED, measure_star
from starcli.errors import StarcliError
from starcli.evaluation.evaluator import Evaluator
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


def test_a_star_report_needs_both_kinds(evaluator: Evaluator, models: list[Model]) -> None:
    with pytest.raises(StarcliError, match="at least one source"):
        measure_star(evaluator, models[0], models[1:3], [])
