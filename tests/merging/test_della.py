"""DELLA against its formula in numpy: shares by rank, draws, election of signs."""

import numpy as np
import pytest
import torch
from support.merging import SEED, SHAPE, agreed, arrays, close, merged

from starcli.errors import StarcliError
from starcli.merging.merge import Merge, parse_override
from starcli.merging.task_vectors import DARE_LINEAR, DELLA, DELLA_LINEAR, TASK_ARITHMETIC, TIES


def drawn(delta, density, epsilon, number):
    """Each row's changes with the probabilities of their ranks, of the draws of the source of this number."""
    rows = delta.reshape(SHAPE)
    ranks = np.argsort(np.argsort(np.abs(rows), axis=1, kind="stable"), axis=1, kind="stable")
    shares = density - epsilon + 2 * epsilon * ranks / (SHAPE[1] - 1)
    draws = torch.rand(delta.size, generator=torch.Generator().manual_seed(SEED + number)).numpy().reshape(SHAPE)
    return np.where(draws < shares, rows / shares, 0).ravel()


@pytest.mark.parametrize(("density", "epsilon"), [((0.7,) * 3, (0.07,) * 3), ((0.5, 0.3, 0.8), (0.4, 0.0, 0.2))])
def test_della(models, density, epsilon):
    base, *x = arrays(models)
    parts = zip(x, density, epsilon, range(3), strict=True)
    deltas = np.array([drawn(each - base, d, e, n) for each, d, e, n in parts])
    w, how = (1, 2, -0.5), {"density": density, "epsilon": epsilon, "scale": 0.7}
    np.testing.assert_allclose(
        merged(DELLA_LINEAR, models, weights=w, **how), base + 0.7 * np.array(w) @ deltas, atol=1e-5
    )
    for divided in (True, False):
        found = merged(DELLA, models, weights=w, normalise_weights=divided, **how)
        np.testing.assert_allclose(found, base + 0.7 * agreed(deltas, w, divided=divided), atol=1e-5)


def test_all_changes_are_task_arithmetic_and_ties_and_equal_shares_are_dare(models):
    everything = {"density": (1.0,) * 3, "epsilon": (0.07,) * 3, "weights": (1, 2, 0.5)}
    close(merged(DELLA_LINEAR, models, **everything), merged(TASK_ARITHMETIC, models, **everything))
    close(merged(DELLA, models, **everything), merged(TIES, models, **everything))
    alike = {"density": (0.4,) * 3, "epsilon": (0.0,) * 3}
    assert (merged(DELLA_LINEAR, models, **alike) == merged(DARE_LINEAR, models, **alike)).all()


def test_it_is_the_change_on_average_and_keeps_large_changes_more_often():
    change = torch.arange(1, 6).float().repeat(20_000, 1)
    found = merged(DELLA_LINEAR, [0 * change, change], density=(0.5,), epsilon=(0.3,)).reshape(change.shape)
    np.testing.assert_allclose(found.mean(0), change[0], rtol=0.05)
    np.testing.assert_allclose((found != 0).mean(0), [0.2, 0.35, 0.5, 0.65, 0.8], atol=0.02)


def test_a_vector_is_one_row_and_a_convolution_has_one_for_each_output():
    draws = torch.Generator().manual_seed(0)
    models = [torch.randn(4, 3, 2, 2, generator=draws) for _ in range(3)]
    how = {"density": (0.5,) * 2, "epsilon": (0.3,) * 2}
    flat = merged(DELLA, [each.reshape(4, 12) for each in models], **how)
    assert (merged(DELLA, models, **how) == flat).all()
    vector = merged(DELLA, [each.reshape(48) for each in models], **how)
    assert (vector == merged(DELLA, [each.reshape(1, 48) for each in models], **how)).all()
    narrow = [each[:, :1, :1, :1] for each in models]  # rows of one number
    halves = {"density": (0.5,) * 2, "epsilon": (0.0,) * 2}
    assert (merged(DELLA, narrow, **how) == merged(DELLA, narrow, **halves)).all()


def test_shares_beyond_0_and_1_are_refused_where_they_are_used():
    merge = Merge.of("della", {"density": 0.05}, [parse_override("b:density=0.5"), parse_override("c:density=1")])
    with pytest.raises(StarcliError) as caught:
        merge.settings_for(["a", "b", "c"], 2)
    assert list(caught.value.problems) == [
        "a: density 0.05 and epsilon 0.07: shares from -0.02 to 0.12, expected above 0, at most 1"
    ]
    with pytest.raises(StarcliError, match=r"shares from 0\.7 to 1\.1"):
        Merge.of("della-linear", {"density": 0.9, "epsilon": (0.1, 0.2)}).settings_for(["a"], 2)
    Merge.of("della", {"density": 0.9, "epsilon": 0.1}).settings_for(["a"], 2)
