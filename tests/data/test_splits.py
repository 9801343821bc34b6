"""Splits in memory: batches against a plain computation, in every layout, order and cache state."""

from pathlib import Path

import numpy as np
import pytest
import torch

from starcli.data import splits as splits_module
from starcli.data.dataset import open_data
from starcli.data.names import needs_path, parse_name
from starcli.data.normalisation import Normalisation
from starcli.data.partition import held_out_fifth
from starcli.data.splits import MemorySplit
from starcli.errors import StarcliError

NORMALISATION = Normalisation(255.0, (0.5, 0.25, 0.125), (0.5, 0.3, 0.2))


def split(count: int = 23, size: int = 6, input_size: int = 6) -> MemorySplit:
    raw = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return MemorySplit(raw, torch.arange(count) % 5, NORMALISATION, input_shape=(3, input_size, input_size))


def normalised(raw: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (NORMALISATION.mean, NORMALISATION.std))
    return (raw.double() / 255 - mean) / std


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_batches_equal_a_plain_computation(
    monkeypatch: pytest.MonkeyPatch, channels_last: bool, ordered: bool, cached: bool
) -> None:
    if not cached:
        monkeypatch.setattr(splits_module, "READY_BYTES", 0)
    part = split()
    order = torch.tensor([4, 4, 20, 0, 7, 22, 1]) if ordered else None
    batches = list(part.batches(5, order=order, channels_last=channels_last))
    positions = order if ordered else torch.arange(23)
    assert [len(x) for x, _ in batches] == ([5, 2] if ordered else [5, 5, 5, 5, 3])
    inputs, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert inputs.dtype == torch.float32
    torch.testing.assert_close(inputs.double(), normalised(part.raw[positions]), atol=1e-6, rtol=0)
    assert torch.equal(labels, part.labels[positions])
    for x, _ in batches:
        assert x.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def test_batches_do_not_depend_on_size_layout_or_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    part = split()
    whole = torch.cat([x for x, _ in part.batches(23)])
    monkeypatch.setattr(splits_module, "READY_BYTES", 0)
    for size in (1, 4, 7):
        for last in (False, True):
            assert torch.equal(torch.cat([x for x, _ in part.batches(size, channels_last=last)]), whole)


def test_larger_stored_images_are_cut() -> None:
    part = split(size=8, input_size=6)
    (x, _), *_ = part.batches(23)
    torch.testing.assert_close(x.double(), normalised(part.raw[:, :, 1:7, 1:7]), atol=1e-6, rtol=0)
    (y, _), *_ = part.batches(23, augmentation=("crop", "flip"), generator=torch.Generator().manual_seed(0))
    assert y.shape == x.shape
    assert not torch.equal(x, y)


def test_parts_and_other_normalisations_keep_what_a_split_knows() -> None:
    """The window that a network sees, the names of files, places in the array: whichever is done first."""
    part = split(size=8, input_size=6)
    part = MemorySplit(
        part.raw, part.labels, NORMALISATION, input_shape=(3, 6, 6), names=tuple("abcdefghijklmnopqrstuvw"),
        index=100 + torch.arange(23),
    )  # fmt: skip
    some, other = torch.tensor([7, 2, 20]), Normalisation(255.0, (0.0,), (1.0,))
    for found in (part.subset(some).normalised(other), part.normalised(other).subset(some)):
        assert (found.names, found.index.tolist()) == (("h", "c", "u"), [107, 102, 120])
        [(inputs, labels)] = found.batches(3)
        torch.testing.assert_close(inputs, part.raw[some][:, :, 1:7, 1:7].float() / 255)
        assert torch.equal(labels, part.labels[some])


def test_padding_is_black_and_draws_repeat() -> None:
    part = MemorySplit(torch.full((64, 3, 6, 6), 255, dtype=torch.uint8), torch.zeros(64).long(), NORMALISATION)

    def once() -> torch.Tensor:
        draws = torch.Generator().manual_seed(3)
        return torch.cat([x for x, _ in part.batches(10, augmentation=["pad-crop"], generator=draws)])

    x = once()
    assert torch.equal(x, once())
    black = normalised(torch.zeros(1, 3, 1, 1)).float()
    white = normalised(torch.full((1, 3, 1, 1), 255)).float()
    assert bool((torch.isclose(x, black) | torch.isclose(x, white)).all())
    assert bool(torch.isclose(x, black).any())


def test_requests_that_are_bugs_or_errors() -> None:
    part = split()
    with pytest.raises(ValueError, match="batch_size"):
        part.batches(0)
    with pytest.raises(ValueError, match="generator"):
        part.batches(2, augmentation=["flip"])
    with pytest.raises(StarcliError, match="augmentation"):
        part.batches(2, augmentation=["mirror"], generator=torch.Generator())


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    data = open_data("digits", val_fraction=0.1)
    list(data.train.batches(100, augmentation=["flip"], generator=torch.Generator()))
    assert torch.equal(before, torch.get_rng_state())


def test_digits() -> None:
    data = open_data("digits")
    assert (data.name, data.num_classes, data.input_shape, data.augmentation) == ("digits", 10, (1, 8, 8), ())
    assert (len(data.train), len(data.test), data.validation) == (1437, 360, None)
    x = torch.cat([x for x, _ in data.train.batches(512)]).double()
    assert abs(float(x.mean())) < 1e-6
    assert abs(float(x.std(correction=0)) - 1) < 1e-6
    assert int(data.train.raw.max()) == 16
    assert data.test.labels.bincount().tolist() == [36, 36, 36, 36, 37, 36, 36, 36, 35, 36]
    # The kept division is the documented one.
    with np.load(Path(splits_module.__file__).with_name("digits.npz"), allow_pickle=False) as file:
        assert np.array_equal(np.flatnonzero(file["test"]), held_out_fifth(file["labels"])[1])
    # Part of every checkpoint trained on digits: must never change.
    assert data.fingerprint.startswith("25330607")


def test_a_limit_that_leaves_nothing_out_is_none():
    whole, asked = open_data("digits"), open_data("digits", limit=1437)
    assert (len(whole.train), whole.limit, asked.limit) == (1437, None, None)
    assert open_data("digits", limit=1436).limit == 1436


def test_limit_comes_before_validation_and_neither_changes_the_rest() -> None:
    whole, part = open_data("digits"), open_data("digits", limit=100, val_fraction=0.2, split_seed=3)
    assert part.validation is not None
    assert (len(part.train), len(part.validation), len(part.test)) == (80, 20, 360)
    assert (part.fingerprint, part.mean, part.std) == (whole.fingerprint, whole.mean, whole.std)
    both = torch.cat([part.train.labels, part.validation.labels])
    assert both.bincount().tolist() == [10] * 10
    assert (part.limit, part.val_fraction, part.split_seed) == (100, 0.2, 3)


def test_gaussians_have_the_said_moments() -> None:
    data = open_data("gaussians:train=40000,distance=3")
    assert (data.name, data.input_shape, data.num_classes) == ("gaussians:distance=3,train=40000", (2,), 2)
    (x, y), *_ = data.train.batches(40000)
    for label, centre in ((0, -1.5), (1, 1.5)):
        points = x[y == label]
        torch.testing.assert_close(points.mean(0), torch.tensor([centre, 0.0]), atol=0.03, rtol=0)
        torch.testing.assert_close(points.T.cov(), torch.tensor([[1.0, 0.5], [0.5, 1.0]]), atol=0.03, rtol=0)
    again = open_data(data.name)
    assert again.fingerprint == data.fingerprint
    assert open_data("gaussians:seed=1").fingerprint != open_data("gaussians").fingerprint


@pytest.mark.parametrize("text", ["widht=3", "distance=x", "train=1", "correlation=1", "seed=1,seed=2", "distance=nan"])
def test_gaussians_refuse(text: str) -> None:
    with pytest.raises(StarcliError):
        open_data(f"gaussians:{text}")


def test_names() -> None:
    assert parse_name("digits") == ("digits", "")
    assert parse_name("idx:a:b") == ("idx", "a:b")
    assert parse_name("some/where.npz") == ("arrays", "some/where.npz")
    assert [needs_path(n) for n in ("digits", "cifar10", "gaussians:seed=1", "idx", "folder:x", "arrays", "x.npz")] == [
        *[False] * 3,
        *[True] * 4,
    ]
    for name, words in (
        ("digit", "did you mean digits"),
        ("./photos", "no such file or directory"),
        ("photos", "no file or folder of that name"),
        ("idx:", "--data idx:DIR"),
        ("arrays", "FILE.npz"),
        ("digits:8", "takes nothing"),
    ):
        with pytest.raises(StarcliError, match=words):
            parse_name(name)
    with pytest.raises(StarcliError, match="is for folders and shards of images"):
        open_data("digits", image_size=32)
