"""Each method against its formula, written once more in numpy, whole and in chunks."""

import numpy as np
import pytest
import torch
from support.merging import SEED, SHAPE, agreed, arrays, close, merged

from starcli.merging.linear import LINEAR, SLERP
from starcli.merging.method import TensorSettings
from starcli.merging.stack import Stack
from starcli.merging.task_matrices import ISO_C, TSV
from starcli.merging.task_vectors import BREADCRUMBS, DARE_LINEAR, DARE_TIES, MODEL_STOCK, TASK_ARITHMETIC, TIES


def test_linear(models):
    _, *x = arrays(models)
    close(merged(LINEAR, models, weights=(0.2, 0.5, 0.7)), 0.2 * x[0] + 0.5 * x[1] + 0.7 * x[2])
    close(merged(LINEAR, models, weights=(1, 1, -4), normalise_weights=True), (x[0] + x[1] - 4 * x[2]) / -2)


def test_slerp(models):
    tensors = [*models[:2], models[2].flip(0)]
    _, a, b = arrays(tensors)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    expected = (np.sin(0.7 * angle) * a + np.sin(0.3 * angle) * b) / np.sin(angle)
    close(merged(SLERP, tensors, t=0.3), expected)


def test_slerp_of_parallel_or_empty_tensors_is_their_line(models):
    _, a, _, _ = arrays(models)
    close(merged(SLERP, [models[0], models[1], 2 * models[1]], t=0.25), 1.25 * a)
    close(merged(SLERP, [models[0], models[1], -models[1]], t=0.25), 0.5 * a)
    close(merged(SLERP, [models[0], models[1], 0 * models[1]], t=0.25), 0.75 * a)


def test_task_arithmetic(models):
    base, *x = arrays(models)
    w, s = (0.5, 2.0, -1.0), 0.3
    change = sum(weight * (each - base) for weight, each in zip(w, x, strict=True))
    close(merged(TASK_ARITHMETIC, models, weights=w, scale=s), base + s * change)
    close(merged(TASK_ARITHMETIC, models, weights=w, scale=s, normalise_weights=True), base + s * change / 1.5)


def trimmed(delta, density):
    """The changes of largest magnitude, and all that are as large as the last of these."""
    sizes = np.abs(delta).astype(np.float32)
    return np.where(sizes >= np.sort(sizes)[-max(1, int(density * delta.size))], delta, 0)


@pytest.mark.parametrize("density", [(0.2, 0.2, 0.2), (1.0, 0.5, 0.001)], ids=str)
@pytest.mark.parametrize("divided", [True, False])
def test_ties(models, density, divided):
    base, *x = arrays(models)
    deltas = np.array([trimmed(each - base, share) for each, share in zip(x, density, strict=True)])
    found = merged(TIES, models, weights=(1, 2, 0.5), density=density, scale=0.7, normalise_weights=divided)
    close(found, base + 0.7 * agreed(deltas, (1, 2, 0.5), divided=divided))


def drawn(deltas, density):
    """DARE's changes, of the draws that each source's generator makes."""
    draws = [torch.rand(deltas.shape[1], generator=torch.Generator().manual_seed(SEED + n)) for n in range(len(deltas))]
    return np.array([d * (r.numpy() < density) / density for d, r in zip(deltas, draws, strict=True)])


def test_dare(models):
    base, *x = arrays(models)
    deltas = drawn(np.array([each - base for each in x]), 0.3)
    how = {"density": (0.3,) * 3, "weights": (1, 2, 0.5)}
    close(merged(DARE_LINEAR, models, **how), base + np.array([1, 2, 0.5]) @ deltas)
    close(merged(DARE_TIES, models, **how), base + agreed(deltas, (1, 2, 0.5), divided=False))
    everything = {"density": (1.0,) * 3}
    close(merged(DARE_LINEAR, models, **everything), merged(TASK_ARITHMETIC, models))


def test_dare_is_the_change_on_average():
    base, source = torch.zeros(40_000), torch.ones(40_000)
    found = merged(DARE_LINEAR, [base, source], density=(0.2,))
    assert abs(found.mean() - 1) < 0.04
    assert set(found) == {0.0, 5.0}


def masked(delta, density, outliers):
    """Changes between two ranks: places of the others by sorting, ties as one place."""
    sizes = np.abs(delta).astype(np.float32)
    falling = np.sort(sizes)[::-1]
    first = int(outliers * delta.size)
    last = min(delta.size, first + int(density * delta.size)) - 1
    return np.where((sizes <= falling[first]) & (sizes >= falling[last]), delta, 0)


@pytest.mark.parametrize("density", [(0.15,) * 3, (1.0, 0.5, 0.1)], ids=str)
@pytest.mark.parametrize("outliers", [(0.01,) * 3, (0.0, 0.3, 0.6)], ids=str)
def test_breadcrumbs(models, density, outliers):
    base, *x = arrays(models)
    w, s = (1, -2, 0.5), 0.7
    masks = zip(x, density, outliers, strict=True)
    change = np.array(w) @ [masked(each - base, share, some) for each, share, some in masks]
    close(merged(BREADCRUMBS, models, weights=w, scale=s, density=density, outliers=outliers), base + s * change)


def test_breadcrumbs_of_all_changes_are_task_arithmetic_and_one_outlier_is_left_out(models):
    everything = {"density": (1.0,) * 3, "outliers": (0.0,) * 3}
    close(merged(BREADCRUMBS, models, **everything), merged(TASK_ARITHMETIC, models))
    base, change = torch.zeros(SHAPE), torch.ones(SHAPE)
    change[3, 4] = 1e3
    change[5] = 0.5
    found = merged(BREADCRUMBS, [base, change], density=(0.9,), outliers=(0.0025,)).reshape(SHAPE)
    expected = np.ones(SHAPE)
    expected[3, 4] = expected[5] = 0
    close(found, expected)


def test_breadcrumbs_reads_a_tensor_three_times():
    """Two passes find both bounds of what is kept, the third merges."""
    read = []

    def part(begin, end):
        read.extend(range(begin, end))
        return torch.arange(begin, end).float()

    stack = Stack("w", (100,), [part], lambda begin, end: torch.zeros(end - begin))
    list(BREADCRUMBS.merge(stack, TensorSettings((1.0,), density=(0.3,), outliers=(0.1,))))
    assert sorted(read) == sorted([*range(100)] * 3)


def test_model_stock(models):
    base, *x = arrays(models)
    deltas = [each - base for each in x]
    pairs = [(0, 1), (0, 2), (1, 2)]
    cosine = np.mean([deltas[i] @ deltas[j] / np.linalg.norm(deltas[i]) / np.linalg.norm(deltas[j]) for i, j in pairs])
    t = 3 * cosine / (1 + 2 * cosine)
    close(merged(MODEL_STOCK, models), (1 - t) * base + t * np.mean(x, 0))


def test_model_stock_without_finite_ratio_is_the_base():
    base, change = torch.randn(9, generator=torch.Generator().manual_seed(0)), torch.ones(9)
    close(merged(MODEL_STOCK, [base, base + change, base - change]), base.double().numpy())
    close(merged(MODEL_STOCK, [base, base, base]), base.double().numpy())


def inverse_root(gram):
    """gram^(-1/2) by its eigenvalues, of those that are not 0."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-6 * values.max()
    return vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T


def leading(delta, count):
    """Of a matrix the `count` largest singular values and their vectors, by the eigenvalues of its products."""
    squares, right = np.linalg.eigh(delta.T @ delta)
    values, right = np.sqrt(squares[::-1][:count]), right[:, ::-1][:, :count]
    return delta @ right / values, values, right


def test_tsv(models):
    base, *x = (each.reshape(SHAPE) for each in arrays(models))
    w = (1.0, -0.5, 2.0)
    parts = [leading(weight * (each - base), 13 // 3) for weight, each in zip(w, x, strict=True)]
    left, values, right = (np.concatenate(each, -1) for each in zip(*parts, strict=True))
    change = (left @ inverse_root(left.T @ left)) * values @ (right @ inverse_root(right.T @ right)).T
    close(merged(TSV, models, weights=w, scale=0.7), (base + 0.7 * change).ravel())


def test_tsv_keeps_changes_of_low_rank_that_do_not_meet():
    draws = torch.Generator().manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(12, 12, generator=draws))
    base = torch.randn(12, 12, generator=draws)
    changes = [directions[:, n : n + 3] @ directions[n : n + 3] for n in (0, 3, 6)]
    found = merged(TSV, [base, *(base + each for each in changes)])
    close(found, (base + sum(changes)).double().numpy().ravel())
    close(merged(TSV, [base, base + changes[0]]), (base + changes[0]).double().numpy().ravel())


def test_tsv_of_equal_changes_is_the_change_and_what_did_not_change_counts_nothing():
    draws = torch.Generator().manual_seed(0)
    base = torch.randn(SHAPE, generator=draws)
    same = base + torch.randn(13, 4, generator=draws) @ torch.randn(4, 31, generator=draws)
    close(merged(TSV, [base, same, same, same]), same.double().numpy().ravel())
    close(merged(TSV, [base, same, base, base]), same.double().numpy().ravel())
    close(merged(TSV, [base, base, base]), base.double().numpy().ravel())


def test_iso_c(models):
    base, *x = (each.reshape(SHAPE) for each in arrays(models))
    w = (1.0, -0.5, 2.0)
    total = sum(weight * (each - base) for weight, each in zip(w, x, strict=True))
    size = np.linalg.svd(total, compute_uv=False).mean()
    change = size * inverse_root(total @ total.T) @ total
    close(merged(ISO_C, models, weights=w, scale=0.7), (base + 0.7 * change).ravel())


def test_iso_c_of_a_change_of_low_rank_stays_of_that_rank():
    draws = torch.Generator().manual_seed(0)
    base = torch.zeros(SHAPE)
    change = torch.randn(13, 2, generator=draws) @ torch.randn(2, 31, generator=draws)
    found = merged(ISO_C, [base, 0.5 * change, 0.5 * change]).reshape(SHAPE)
    values = np.linalg.svd(found, compute_uv=False)
    np.testing.assert_allclose(values[:2], np.linalg.svd(change.numpy(), compute_uv=False)[:2].mean(), rtol=1e-5)
    assert values[2:].max() < 1e-5
    close(merged(ISO_C, [base, base]), np.zeros(base.numel()))


@pytest.mark.parametrize("method", [TSV, ISO_C])
def test_vectors_take_the_mean_and_convolutions_are_matrices(method):
    draws = torch.Generator().manual_seed(0)
    models = [torch.randn(4, 3, 2, 2, generator=draws) for _ in range(3)]
    flat = merged(method, [each.reshape(1, 4, 12) for each in models], weights=(1, 2), scale=0.5)
    close(merged(method, models, weights=(1, 2), scale=0.5), flat)
    base, *x = arrays(models)
    vectors = [each.reshape(1, 48, 1) for each in models]
    close(merged(method, vectors, weights=(1, 2), scale=0.5), base + 0.25 * ((x[0] - base) + 2 * (x[1] - base)))
