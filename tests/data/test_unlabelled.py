"""Which data have no labels, and how their inputs are read: as labelled ones are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from starcli.data.dataset import open_data
from starcli.data.unlabelled import is_unlabelled, open_unlabelled
from starcli.errors import StarcliError

PLAIN = ((0.0,), (1.0,))
SPANS = {"bytes": 255.0, "floats": 1.0}


def image(path: Path, side: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def saved(place: Path, **arrays: object) -> str:
    np.savez(place / "a.npz", **arrays)
    return str(place / "a.npz")


def inputs(split) -> torch.Tensor:
    return torch.cat([batch for batch, _ in split.batches(3)])


def test_images_right_in_a_folder_have_no_labels(tmp_path: Path) -> None:
    image(tmp_path / "flat" / "b.png")
    image(tmp_path / "flat" / "a.PNG")
    (tmp_path / "flat" / "empty").mkdir()
    (tmp_path / "flat" / "notes.txt").touch()
    assert is_unlabelled(f"folder:{tmp_path / 'flat'}")
    assert is_unlabelled(str(tmp_path / "flat"))
    split = open_unlabelled(str(tmp_path / "flat"), (3, 8, 8), PLAIN, SPANS)
    assert split.names == ("a.PNG", "b.png")
    expected = np.asarray(Image.open(tmp_path / "flat" / "b.png")).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(inputs(split)[1], expected, atol=1e-6)


@pytest.mark.parametrize("folders", [("train/x", "train/y", "test/x", "test/y"), ("x", "y")])
def test_a_folder_with_classes_has_labels_whatever_lies_beside_them(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        image(tmp_path / "own" / folder / "a.png")
    image(tmp_path / "own" / "cover.png")
    assert not is_unlabelled(f"folder:{tmp_path / 'own'}")


@pytest.mark.parametrize("key", ["images", "x", "test_images", "x_test"])
def test_an_array_of_images_alone_has_no_labels(tmp_path: Path, key: str) -> None:
    array = np.random.default_rng(0).random((5, 6))
    name = saved(tmp_path, **{key: array}, ids=np.arange(5))
    assert is_unlabelled(name)
    np.testing.assert_allclose(inputs(open_unlabelled(name, (6,), PLAIN, SPANS)), array, atol=1e-7)
    labels = {"images": "labels", "x": "y", "test_images": "test_labels", "x_test": "y_test"}[key]
    assert not is_unlabelled(saved(tmp_path, **{key: array, labels: np.arange(5)}))


def test_names_of_data_that_have_labels(tmp_path: Path) -> None:
    assert not is_unlabelled("digits")
    assert not is_unlabelled(saved(tmp_path, ids=np.arange(5)))


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5)])
def test_channels_may_come_last_as_in_labelled_arrays(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    first = np.random.default_rng(0).integers(0, 256, (10, *shape), dtype=np.uint8)
    last = first.transpose(0, 2, 3, 1)
    expected = torch.from_numpy(first).float() / 255
    for array in (first, last, *([first[:, 0]] if shape[0] == 1 else [])):
        found = inputs(open_unlabelled(saved(tmp_path, images=array), shape, PLAIN, SPANS))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        data = open_data(saved(tmp_path, images=array, labels=np.arange(10) % 2))
        assert data.input_shape == shape


def test_a_cube_has_to_say_where_its_channels_are(tmp_path: Path) -> None:
    cubes = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), dtype=np.uint8)
    with pytest.raises(StarcliError, match="does not tell which axis"):
        open_unlabelled(saved(tmp_path, images=cubes), (3, 3, 3), PLAIN, SPANS)
    for layout, expected in (("NCHW", cubes), ("NHWC", cubes.transpose(0, 3, 1, 2))):
        split = open_unlabelled(saved(tmp_path, images=cubes, layout=layout), (3, 3, 3), PLAIN, SPANS)
        np.testing.assert_array_equal(split.raw, expected)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((0, 6)), "the model takes"),
        (np.zeros((2, 7)), "the model takes"),
        (np.full((2, 6), np.nan), "NaN or infinite"),
        (np.full((2, 6), 1e300), "NaN or infinite"),
        (np.zeros((2, 6), dtype=np.int64), "expected uint8 or float"),
    ],
)
def test_inputs_that_cannot_be_read(tmp_path: Path, array: np.ndarray, said: str) -> None:
    with pytest.raises(StarcliError, match=said):
        open_unlabelled(saved(tmp_path, images=array), (6,), PLAIN, SPANS)


def test_a_type_that_the_model_never_saw_is_refused(tmp_path: Path) -> None:
    floats, name = np.full((2, 6), 17.0), saved(tmp_path, images=np.full((2, 6), 17.0))
    with pytest.raises(StarcliError, match="floats, which the models' own data are not"):
        open_unlabelled(name, (6,), PLAIN, {"bytes": 255.0})
    with pytest.raises(StarcliError, match="values up to 17"):
        open_unlabelled(name, (6,), PLAIN, {"floats": 16.0})
    np.testing.assert_array_equal(inputs(open_unlabelled(name, (6,), PLAIN, SPANS)), floats)
