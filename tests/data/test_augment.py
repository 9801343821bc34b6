"""Batched augmentation against an oracle that treats each image by itself, with the same draws."""

import pytest
import torch

from starcli.data.augment import _FUNCTIONS, AUGMENTATIONS, augment, centre_crop, check_augmentations, cut_windows
from starcli.errors import StarcliError


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def images(count: int = 40, size: tuple[int, int] = (9, 11)) -> torch.Tensor:
    return torch.randint(1, 256, (count, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_pad_crop_equals_cropping_one_by_one() -> None:
    x = images()
    draws = generator()
    top = torch.randint(9, (len(x),), generator=draws)
    left = torch.randint(9, (len(x),), generator=draws)
    expected = torch.zeros_like(x)
    for n, image in enumerate(x):
        padded = torch.zeros(3, 17, 19, dtype=torch.uint8)
        padded[:, 4:13, 4:15] = image
        expected[n] = padded[:, top[n] : top[n] + 9, left[n] : left[n] + 11]
    assert torch.equal(augment(x, ["pad-crop"], size=(9, 11), generator=generator()), expected)
    assert {*top.tolist()} == {*range(9)} == {*left.tolist()}


def test_flip_mirrors_about_half_and_nothing_else() -> None:
    x = images(400)
    y = augment(x, ["flip"], size=(9, 11), generator=generator())
    mirrored = torch.tensor([torch.equal(b, a.flip(2)) for a, b in zip(x, y, strict=True)])
    kept = torch.tensor([torch.equal(b, a) for a, b in zip(x, y, strict=True)])
    assert torch.equal(mirrored, ~kept)
    assert 150 < int(mirrored.sum()) < 250


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_takes_windows_of_larger_images(dtype: torch.dtype) -> None:
    x = images().to(dtype)
    y = augment(x, ["crop"], size=(5, 6), generator=generator())
    found = set()
    for image, window in zip(x, y, strict=True):
        spots = [(i, j) for i in range(5) for j in range(6) if torch.equal(image[:, i : i + 5, j : j + 6], window)]
        assert len(spots) == 1
        found.add(spots[0])
    assert len(found) > 10


def test_without_crop_the_middle_is_taken() -> None:
    x = images(2, (8, 8))
    assert torch.equal(augment(x, [], size=(4, 4), generator=generator()), x[:, :, 2:6, 2:6])
    assert torch.equal(centre_crop(x, (8, 8)), x)


def test_windows_of_a_strided_batch() -> None:
    x = images(6, (8, 8)).permute(0, 1, 3, 2)
    top, left = torch.tensor([0, 1, 2, 3, 4, 5]), torch.tensor([5, 4, 3, 2, 1, 0])
    expected = torch.stack([x[i, :, i : i + 3, 5 - i : 8 - i] for i in range(6)])
    assert torch.equal(cut_windows(x, top, left, (3, 3)), expected)


def test_order_of_names_is_kept_and_draws_follow_the_generator() -> None:
    x = images()
    first = augment(x, ["pad-crop", "flip"], size=(9, 11), generator=generator())
    assert torch.equal(first, augment(x, ["pad-crop", "flip"], size=(9, 11), generator=generator()))
    assert not torch.equal(first, augment(x, ["flip", "pad-crop"], size=(9, 11), generator=generator()))


def test_names_and_their_errors() -> None:
    assert {*AUGMENTATIONS} == {*_FUNCTIONS, "crop"}
    with pytest.raises(StarcliError, match="pad-crop"):
        check_augmentations(["padcrop"], (3, 8, 8), (3, 8, 8))
    with pytest.raises(StarcliError, match="needs images"):
        check_augmentations(["flip"], (2,), (2,))
    with pytest.raises(StarcliError, match="stored larger"):
        check_augmentations(["crop"], (3, 8, 8), (3, 8, 8))
