"""Arrays as people store them elsewhere: each read as NumPy says it should be, or refused, or its oddity noted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from support.data import idx, refused
from support.program import run_here
from torch import Tensor

from starcli.data.dataset import Dataset, open_data
from starcli.data.in_memory import dataset_in_memory
from starcli.data.layout import channels_are_last, class_numbers, empty_classes

RNG = np.random.RandomState(5)
LABELS = np.arange(40) % 4


def random_bytes(*shape: int) -> np.ndarray:
    return RNG.randint(0, 256, shape).astype(np.uint8)


def all_inputs(data: Dataset) -> Tensor:
    """Raw inputs, training part first, in the order of the file where both are whole."""
    return torch.cat([data.train.raw, data.test.raw])


def four(images, labels, names=("train_images", "train_labels", "test_images", "test_labels")) -> dict:
    return dict(zip(names, (images[:30], labels[:30], images[30:], labels[30:]), strict=True))


KERAS = ("x_train", "y_train", "x_test", "y_test")
GREY, BANDS, PATCHES = random_bytes(40, 9, 7), random_bytes(40, 18, 20, 13), RNG.rand(40, 11, 11, 200)
SIGNALS, FLAT, TABLE = RNG.rand(40, 9, 1, 128), random_bytes(40, 48), RNG.normal(3, 9, (40, 6))
RGB, TWO = random_bytes(40, 32, 32, 3), random_bytes(40, 2, 12, 10)
SETS = {
    "Keras' mnist.npz": (four(GREY, LABELS, KERAS), GREY[:, None], LABELS),
    "MedMNIST, labels in a column": (four(RGB, LABELS[:, None].astype(np.uint8)), RGB.transpose(0, 3, 1, 2), LABELS),
    "Sentinel-2, 13 bands last": (four(BANDS, LABELS), BANDS.transpose(0, 3, 1, 2), LABELS),
    "hyperspectral patches, 200 bands last": (four(PATCHES, LABELS), PATCHES.transpose(0, 3, 1, 2), LABELS),
    "signals of sensors, 9 x 1 x 128": (four(SIGNALS, LABELS), SIGNALS, LABELS),
    "two channels first": (four(TWO, LABELS), TWO, LABELS),
    "flat bytes": (four(FLAT, LABELS), FLAT, LABELS),
    "a table of float64": (four(TABLE, LABELS), TABLE, LABELS),
    "one-hot labels": (four(TABLE, np.eye(4)[LABELS], KERAS), TABLE, LABELS),
    "labels of float, big-endian": (four(GREY, LABELS.astype(">f8")), GREY[:, None], LABELS),
    "columns first in memory": (four(np.asfortranarray(RGB), LABELS), RGB.transpose(0, 3, 1, 2), LABELS),
    "half precision, big-endian": (four(TABLE.astype(">f2"), LABELS), TABLE.astype(np.float16), LABELS),
    "true and false": (four(TABLE, LABELS % 2 == 1), TABLE, LABELS % 2),
    "cubes whose order is said": (four(random_bytes(40, 4, 4, 4) * 0 + RGB[:, :4, :4, :1], LABELS) | {"layout": "NHWC"},
                                  np.repeat(RGB[:, :4, :4, :1].transpose(0, 3, 1, 2), 4, 1), LABELS),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_sets_of_others(tmp_path, name):
    arrays, expected, labels = SETS[name]
    np.savez(tmp_path / "d.npz", **arrays)
    data = open_data(str(tmp_path / "d.npz"))
    assert np.array_equal(all_inputs(data).numpy(), expected.astype(data.train.raw.numpy().dtype))
    assert data.train.labels.tolist() + data.test.labels.tolist() == labels.tolist()
    said = [note for note in data.notes if "last axis is taken for the channels" in note]
    assert len(said) == (name in ("Sentinel-2, 13 bands last", "hyperspectral patches, 200 bands last"))


@settings(max_examples=60, deadline=None)
@given(channels=st.integers(1, 16), height=st.integers(17, 40), width=st.integers(17, 40), floats=st.booleans())
def test_channels_first_or_last_are_the_same_data(tmp_path_factory, channels, height, width, floats):
    path = tmp_path_factory.getbasetemp() / "same.npz"
    images = random_bytes(8, channels, height, width)
    images = images.astype(np.float32) if floats else images
    prints = []
    for array in (images, images.transpose(0, 2, 3, 1)):
        np.savez(path, x=array, y=LABELS[:8])
        data = open_data(str(path))
        assert data.input_shape == (channels, height, width)
        prints.append(data.fingerprint)
    assert prints[0] == prints[1]


@settings(max_examples=300, deadline=None)
@given(st.tuples(*[st.integers(1, 40)] * 3))
def test_no_shape_is_read_both_ways(sizes):
    """Turned round, a shape that is recognised is recognised as the other; a small channel axis always is."""
    first, second, third = sizes
    last = channels_are_last((5, second, third, first))
    if first <= 16 and first < min(second, third):
        assert channels_are_last((5, *sizes)) is False
        assert last is True
    if channels_are_last((5, *sizes)) is False and last is False:
        assert 1 in sizes or second != third  # told by torch's order alone


@pytest.mark.parametrize("shape", [(4, 4, 4), (3, 20, 3), (20, 30, 40), (512, 1, 1), (12, 8, 10)])
def test_cubes_need_their_order_said(tmp_path, shape):
    images = random_bytes(40, *shape)
    path = tmp_path / "d.npz"
    np.savez(path, x=images, y=LABELS)
    refused(lambda: open_data(str(path)), "does not tell which axis holds the channels", "layout='NCHW'")
    np.savez(path, x=images, y=LABELS, layout="NCHW")
    assert open_data(str(path)).input_shape == shape
    save_file({"x": images, "y": LABELS}, tmp_path / "d.safetensors", {"layout": "NHWC"})
    assert open_data(str(tmp_path / "d.safetensors")).input_shape == (shape[2], *shape[:2])
    np.savez(path, x=images, y=LABELS, layout="HWC")
    refused(lambda: open_data(str(path)), "layout is 'HWC', expected NCHW or NHWC")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array(["cat", "dog"] * 20), "labels: words"),
        (np.where(LABELS == 1, np.nan, LABELS), "no whole numbers"),
        (np.eye(4)[LABELS] + np.eye(4)[0], "not one-hot"),
        (np.zeros((40, 3)), "not one-hot"),
        (np.zeros((40, 2, 2)), "expected integers (N,)"),
        (LABELS.astype(complex), "expected integers (N,)"),
        (LABELS - 1.0, "label -1"),
    ],
    ids=map(str, range(7)),
)
def test_labels_that_are_none(tmp_path, labels, words):
    np.savez(tmp_path / "d.npz", images=GREY, labels=labels)
    refused(lambda: open_data(str(tmp_path / "d.npz")), "d.npz: ", words)
    if labels.dtype.kind != "U":
        refused(lambda: dataset_in_memory((torch.from_numpy(TABLE), torch.from_numpy(labels))), words.split(":")[0])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.sampled_from(["i1", "u2", ">i4", "f4", "f8", "u8"]))
def test_labels_in_any_form_are_the_same_numbers(numbers, dtype):
    expected = np.array(numbers)
    one_hot = np.eye(10)[expected]
    for form in (expected.astype(dtype), expected.astype(dtype)[:, None], one_hot.astype(dtype), one_hot.astype(bool)):
        found = class_numbers(form, "labels")
        assert found.dtype == np.int64
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("wrong", [0.5, -1.5, np.nan, np.inf])
def test_classes_are_whole_numbers_and_never_rounded(wrong):
    for form in (np.array([0.0, wrong]), np.array([[0.0], [wrong]]), np.array([0.0, wrong], dtype="f4")):
        refused(lambda form=form: class_numbers(form, "labels"), "that are no whole numbers, expected integers (N,)")


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (1 + LABELS, "labels are 1 to 4: class 0 has no example (store labels - 1 if they count from 1)"),
        (np.array([0, 10, 30])[np.arange(40) % 3], "28 of 31 classes have no example: 1 to 9, 11 to 29"),
        (LABELS * 2, "3 of 7 classes have no example: 1, 3, 5"),
    ],
)
def test_classes_without_examples_are_named_wherever_labels_come_from(tmp_path, labels, note):
    np.savez(tmp_path / "d.npz", images=GREY, labels=labels)
    (tmp_path / "mnist").mkdir()
    for part in ("train", "t10k"):
        (tmp_path / f"mnist/{part}-images-idx3-ubyte").write_bytes(idx(GREY))
        (tmp_path / f"mnist/{part}-labels-idx1-ubyte").write_bytes(idx(labels.astype(np.uint8)))
    memory = dataset_in_memory((torch.from_numpy(TABLE), torch.from_numpy(labels)))
    for data in (open_data(str(tmp_path / "d.npz")), open_data(f"idx:{tmp_path / 'mnist'}"), memory):
        assert [each.rpartition("idx3-ubyte: ")[2].partition("images: ")[2] or each for each in data.notes]
        assert data.notes[-1].endswith(note)
    line = ("train", "--arch", "mlp", "--data", tmp_path / "d.npz", "--epochs", 1, "-o", tmp_path / "m.safetensors")
    assert note in run_here(*line).err


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(0, 5))
def test_the_empty_classes_are_those_that_bincount_tells(numbers, more):
    classes = max(numbers) + 1 + more
    absent = int((np.bincount(numbers, minlength=classes) == 0).sum())
    note = empty_classes(np.array(numbers), classes)
    assert (note == "") == (absent == 0)
    if absent and not note.startswith("labels are 1 to"):
        assert note.startswith(f"{absent} of {classes} classes")


def test_a_wild_label_takes_no_memory():
    data = dataset_in_memory((torch.from_numpy(TABLE), torch.from_numpy(np.where(LABELS == 3, 2**60, LABELS))))
    assert data.notes[0].endswith(f"classes have no example: 3 to {2**60 - 1}")


def test_tensors_in_memory_with_channels_last_are_noted():
    data = dataset_in_memory((torch.rand(40, 32, 32, 3), torch.from_numpy(LABELS)))
    assert data.input_shape == (32, 32, 3)
    assert "permute(0, 3, 1, 2)" in data.notes[0]
    assert dataset_in_memory((torch.rand(40, 3, 32, 32), torch.from_numpy(LABELS))).notes == ()


def test_a_validation_part_is_one(tmp_path):
    path = tmp_path / "d.npz"
    arrays = four(GREY, LABELS)
    np.savez(path, **arrays, val_images=GREY[5:15], val_labels=LABELS[5:15], other=GREY)
    data = open_data(str(path))
    assert np.array_equal(data.validation.raw[:, 0], GREY[5:15])
    assert data.notes == (f"{path}: left unread: other",)
    assert len(data.train) == 30
    drawn = open_data(str(path), val_fraction=0.2)
    assert (len(drawn.train), len(drawn.validation)) == (24, 6)
    assert "its own validation part unused" in drawn.notes[-1]
    np.savez(path, **arrays)
    assert open_data(str(path)).fingerprint != data.fingerprint
    np.savez(path, **arrays, val_images=GREY[5:15], val_labels=LABELS[5:14])
    refused(lambda: open_data(str(path)), "val_images: 9 labels for 10 images")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_what_is_held_out_of_arrays_is_said(tmp_path, suffix):
    """Of one pair, and of training arrays alone: as of class folders."""
    path = tmp_path / f"d.{suffix}"
    for images, labels in (("images", "labels"), ("x_train", "y_train")):
        arrays = {images: PATCHES.astype(np.float32), labels: LABELS}
        np.savez(path, **arrays) if suffix == "npz" else save_file(arrays, path)
        data = open_data(str(path))
        assert (len(data.train), len(data.test), data.validation) == (32, 8, None)
        held = "no test part: a fifth is held out as the test split, 8 of 40"
        assert data.notes[0].startswith(f"{path}: {held}; to measure on all of it, call it x_test and y_test")
    arrays = {"x_test": PATCHES.astype(np.float32), "y_test": LABELS}
    np.savez(path, **arrays) if suffix == "npz" else save_file(arrays, path)
    assert len(open_data(str(path)).test) == 40
    both = {"x_train": TABLE[:30], "y_train": LABELS[:30], "x_test": TABLE[30:], "y_test": LABELS[30:]}
    np.savez(tmp_path / "whole.npz", **both)
    assert open_data(str(tmp_path / "whole.npz")).notes == ()


def test_a_validation_part_is_measured_where_there_is_no_test_part(tmp_path):
    """As of folders with train/ and val/."""
    path = tmp_path / "d.npz"
    np.savez(path, train_images=TABLE[:30], train_labels=LABELS[:30], val_images=TABLE[30:], val_labels=LABELS[30:])
    data = open_data(str(path))
    assert data.validation is data.test
    other = data.normalised_by("data")
    assert other.validation is other.test
    assert torch.equal(data.test.raw, torch.from_numpy(TABLE[30:]).float())
    assert data.notes == (f"{path}: no test part: the validation part is measured as test split too",)


def test_a_test_part_alone_is_measured_as_a_whole(tmp_path):
    """As of folders of images and of tables; the classes are those of the model, of which some may be missing."""
    whole, alone, one = (tmp_path / f"{name}.npz" for name in ("whole", "alone", "one"))
    floats = TABLE.astype(np.float32)
    np.savez(whole, x_train=floats, y_train=LABELS, x_test=floats[:9], y_test=LABELS[:9])
    np.savez(alone, x_test=floats[:9], y_test=LABELS[:9])
    np.savez(one, X_test=floats[2:3], y_test=LABELS[2:3])
    data = open_data(str(alone), val_fraction=0.5)
    assert (data.train is data.test, data.validation, len(data.test)) == (True, None, 9)
    assert data.notes == (f"{alone}: no training part in it: x_test stands for it too",)
    words = (
        "--arch",
        "mlp",
        "--arch-arg",
        "hidden_dim=4",
        "--data",
        whole,
        "--epochs",
        1,
        "-o",
        tmp_path / "m.safetensors",
    )
    assert run_here("train", *words).status == 0
    for option, value in (("--limit", 3), ("--val-fraction", 0.2)):
        wrong = run_here("eval", words[-1], "--data", alone, option, value)
        assert wrong.status == 1
        assert f"{option}: {alone} has a test part alone" in wrong.err
    expected, found, of_one = (run_here("eval", words[-1], "--data", path) for path in (whole, alone, one))
    for key in ("accuracy", "nll", "brier", "ece", "reliability"):
        assert found.rows[0][key] == expected.rows[0][key]
    assert of_one.rows[0]["errors"] in (0, 1)
    np.savez(one, x_test=floats[:9], y_test=LABELS[:9], x_train=floats)
    refused(lambda: open_data(str(one)), "no images with labels in it", "found x_test, x_train, y_test")
    np.savez(one, x=floats[:1], y=LABELS[:1])
    refused(
        lambda: open_data(str(one)), "x: a single example, and no test part; expected at least 2, to hold a fifth out"
    )


@pytest.mark.parametrize("names", [("X_train", "y_train", "X_test", "y_test"), tuple(map(str.upper, KERAS))])
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_keys_in_capitals_are_as_in_small_letters(tmp_path, names, suffix):
    said, plain = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    for path, keys in ((said, names), (plain, KERAS)):
        arrays = {key: np.ascontiguousarray(array) for key, array in four(GREY, LABELS, keys).items()}
        np.savez(path, **arrays) if suffix == "npz" else save_file(arrays, path)
    found, expected = open_data(str(said)), open_data(str(plain))
    assert found.fingerprint == expected.fingerprint
    assert found.notes == expected.notes


def test_keys_that_differ_in_capitals_alone(tmp_path):
    """The one in small letters is meant; of two others neither."""
    small = {"x": TABLE, "X": TABLE + 1, "y": LABELS}
    np.savez(tmp_path / "small.npz", **small)
    data = open_data(str(tmp_path / "small.npz"))
    assert any("left unread: X" in note for note in data.notes)
    assert data.train.raw.max() <= torch.from_numpy(TABLE).float().max()
    np.savez(tmp_path / "two.npz", X_Train=TABLE, X_TRAIN=TABLE, y_train=LABELS)
    refused(lambda: open_data(str(tmp_path / "two.npz")), "no images with labels", "found X_TRAIN, X_Train, y_train")
