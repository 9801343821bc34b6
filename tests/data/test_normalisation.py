"""The map from raw values to inputs, and the statistics that it is made of, against numpy in float64."""

import numpy as np
import pytest
import torch

from starcli.data import normalisation
from starcli.data.augment import augment
from starcli.data.normalisation import Normalisation, mean_and_std, normalising_constants, prepare_batch

BY_CHANNEL = Normalisation(255.0, (0.5, 0.25, 0.125), (0.5, 0.3, 0.2))


def images(dtype: torch.dtype) -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 5, 4), generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("chunk", [1, 50, 1 << 20])
def test_statistics_are_those_of_float64_however_many_values_are_taken_together(monkeypatch, chunk):
    monkeypatch.setattr(normalisation, "_CHUNK", chunk)
    draws = np.random.RandomState(0)
    far = (1e4 + draws.randn(30, 3, 5, 4)).astype(np.float32)  # whose sum float32 does not hold
    pixels = draws.randint(0, 256, (30, 3, 5, 4)).astype(np.uint8)
    for values, span, axes in ((far, 2.0, (0, 2, 3)), (far[..., 0, 0], 1.0, (0,)), (pixels, 255.0, (0, 2, 3))):
        mean, std = mean_and_std(values, span)
        exact = values.astype(np.float64) / span
        assert mean == pytest.approx(exact.mean(axes), rel=1e-10)
        assert std == pytest.approx(exact.std(axes), rel=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_does_not_vary_is_only_moved(dtype):
    mean, std = mean_and_std(np.full((4, 1, 2, 2), 3, dtype=dtype), 2.0)
    assert (mean, std) == ((1.5,), (1.0,))


def test_constants_are_rounded_once():
    mean, std = np.random.RandomState(0).rand(2, 40) + 0.1
    many = Normalisation(255.0, tuple(mean.tolist()), tuple(std.tolist()))
    factor, summand = normalising_constants(many, 4, torch.device("cpu"))
    assert np.array_equal(factor.numpy().ravel(), (1 / (255 * std)).astype(np.float32))
    assert np.array_equal(summand.numpy().ravel(), (-mean / std).astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_raw_values_stay(dtype):
    for raw, how in ((images(dtype), BY_CHANNEL), (images(dtype)[:, :, 0, 0], Normalisation(1.0, (2.0,), (3.0,)))):
        before = raw.clone()
        found = prepare_batch(raw, raw.shape[1:], how)
        assert torch.equal(raw, before)
        found.zero_()
        assert torch.equal(raw, before)


def test_augmentations_draw_from_the_generator_that_is_given():
    raw = images(torch.uint8)
    moved = augment(raw, ["pad-crop", "flip"], size=(5, 4), generator=torch.Generator().manual_seed(3))
    found = prepare_batch(raw, (3, 5, 4), BY_CHANNEL, ["pad-crop", "flip"], torch.Generator().manual_seed(3))
    assert torch.equal(found, prepare_batch(moved, (3, 5, 4), BY_CHANNEL))
