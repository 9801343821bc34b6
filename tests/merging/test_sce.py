"""SCE against its formula in numpy: select, calculate, erase."""

import numpy as np
import pytest
import torch
from support.merging import SHAPE, arrays, close, merged

from starcli.errors import StarcliError
from starcli.merging.merge import Merge, parse_override
from starcli.merging.task_vectors import SCE


def expected(base, x, share, scale, *, divided):
    deltas = np.array(x) - base
    spread = deltas.std(0).astype(np.float32)
    deltas = np.where(spread >= np.sort(spread)[-max(1, int(share * base.size))], deltas, 0)
    squares = (deltas**2).sum(1)
    w = (squares / squares.sum())[:, None]
    agree = np.sign(deltas) == np.where(deltas.sum(0) >= 0, 1, -1)
    below = (w * agree).sum(0)
    return base + scale * (w * deltas * agree).sum(0) / (np.where(below == 0, 1, below) if divided else 1)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("divided", [True, False])
def test_sce(models, share, divided):
    models[1] = 2 * models[1] - models[0]  # one changed more than the others
    base, *x = arrays(models)
    found = merged(SCE, models, density=(share,) * 3, scale=0.7, normalise_weights=divided)
    close(found, expected(base, x, share, 0.7, divided=divided))


def test_equal_models_give_themselves_and_their_order_does_not_matter(models):
    base, *sources = models
    share = {"density": (0.3,) * 3, "normalise_weights": True}
    close(merged(SCE, [base, *[sources[0]] * 3], **share), sources[0].double().numpy().ravel())
    close(merged(SCE, [base] * 4, **share), base.double().numpy().ravel())
    close(merged(SCE, models, **share), merged(SCE, [base, *sources[::-1]], **share))


def test_a_model_without_changes_counts_nothing_where_all_places_are_taken():
    draws = torch.Generator().manual_seed(0)
    base, source = torch.randn(SHAPE, generator=draws), torch.randn(SHAPE, generator=draws)
    close(
        merged(SCE, [base, source, base], density=(1.0,) * 2, normalise_weights=True), source.double().numpy().ravel()
    )


def test_one_share_is_for_all_sources():
    with pytest.raises(StarcliError) as caught:
        Merge.of("sce", {"density": (0.1, 0.5)}).settings_for(["a", "b"], 2)
    assert list(caught.value.problems) == ["density: 0.1, 0.5: expected one for all sources, whose places are the same"]
    found = Merge.of("sce", {}, [parse_override("a:density=0.5")]).settings_for(["a", "b"], 2)
    assert (found["a"].density, found["b"].density) == ((0.5, 0.5), (0.1, 0.1))
