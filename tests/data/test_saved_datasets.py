"""Data sets of Hugging Face, saved to disk and read again."""

import json
import shutil

import numpy as np
import pytest
from support.data import refused

import starcli as sc
from starcli.data.dataset import open_data
from starcli.data.names import needs_path
from starcli.data.text_options import TextOptions
from starcli.errors import StarcliError

IMAGES = np.random.RandomState(0).randint(0, 256, (20, 6, 6, 3), dtype="u1")
NUMBERS = np.random.RandomState(1).randn(20, 4).astype("f4")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    place = tmp_path_factory.mktemp("hf")
    kinds = datasets.ClassLabel(names=["cat", "dog", "owl"])
    labels = [n % 3 for n in range(20)]
    pictures = {"image": [Image.fromarray(image) for image in IMAGES], "label": labels}
    images = datasets.Dataset.from_dict(
        pictures, features=datasets.Features({"image": datasets.Image(), "label": kinds})
    )
    datasets.DatasetDict({"train": images, "test": images.select(range(6)), "extra": images}).save_to_disk(place / "im")
    texts = {"text": [f"text {n}" for n in range(20)], "kind": labels}
    datasets.Dataset.from_dict(texts).save_to_disk(place / "texts")
    rows = {"x": NUMBERS.tolist(), "target": NUMBERS[:, :2].tolist()}
    datasets.Dataset.from_dict(rows).remove_columns("target").add_column("y", NUMBERS[:, 0].tolist()).save_to_disk(
        place / "numbers"
    )
    return place


def test_a_second_split_of_one_part_is_named(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"x": NUMBERS.tolist(), "label": [n % 2 for n in range(20)]})
    parts = {"train": rows, "validation": rows.select(range(9)), "valid": rows.select(range(5)), "test": rows}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "two")
    data = open_data(f"hf:{tmp_path / 'two'}")
    assert data.validation is not None
    assert len(data.validation) == 5
    assert "left unread: validation" in data.notes[0]


def test_a_test_split_alone_is_measured_as_a_whole(tmp_path):
    """Its classes are the model's, where it names none: here two of five."""
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"x": NUMBERS.tolist(), "label": [n % 2 for n in range(20)]})
    datasets.DatasetDict({"test": rows}).save_to_disk(tmp_path / "new")
    data = open_data(f"hf:{tmp_path / 'new'}", texts=TextOptions(unnamed=tuple("01234")), val_fraction=0.5)
    assert (data.num_classes, data.test.labels.tolist()) == (5, [n % 2 for n in range(20)])
    np.testing.assert_array_equal(data.test.raw.numpy(), NUMBERS)
    assert data.notes[0].endswith("no training part in it: the test split stands for it too")
    refused(lambda: data.split("validation"), "of a test part that is alone nothing is held back")
    datasets.DatasetDict({"validation": rows, "test": rows}).save_to_disk(tmp_path / "both")
    refused(lambda: open_data(f"hf:{tmp_path / 'both'}"), "no split train, but validation, test", "may be alone")


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_a_model_of_floats_is_measured_on_other_floats_as_they_are(tmp_path):
    """Such a record said nothing of its numbers, which were taken for bytes: --normalise was asked for."""
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"x": NUMBERS.tolist(), "label": [n % 2 for n in range(20)]})
    rows.save_to_disk(tmp_path / "own")
    datasets.DatasetDict({"test": rows.select(range(7))}).save_to_disk(tmp_path / "new")
    model = sc.train("mlp", f"hf:{tmp_path / 'own'}", epochs=1, arch_args={"hidden_dim": 4})
    assert model.metadata.data.span == 1
    np.savez(tmp_path / "same.npz", x_test=NUMBERS[:7], y_test=np.arange(7) % 2)
    path = sc.save(model, tmp_path / "m.safetensors")
    found, expected = (sc.predict(path, data=name) for name in (f"hf:{tmp_path / 'new'}", str(tmp_path / "same.npz")))
    assert found.probabilities.tolist() == expected.probabilities.tolist()


def test_images_have_their_classes_and_splits(saved):
    data = open_data(f"hf:{saved / 'im'}")
    assert (data.class_names, data.input_shape, len(data.train), len(data.test)) == (
        ("cat", "dog", "owl"),
        (3, 6, 6),
        20,
        6,
    )
    np.testing.assert_array_equal(data.train.raw.numpy(), IMAGES.transpose(0, 3, 1, 2))
    assert data.train.labels.tolist() == [n % 3 for n in range(20)]
    assert "left unread: extra" in data.notes[0]


def test_texts_and_numbers(saved):
    data = open_data(f"hf:{saved / 'texts'}", texts=TextOptions(label_column="kind"))
    assert (data.vocab_size, data.num_classes, len(data.train)) == (257, 3, 16)
    numbers = open_data(f"hf:{saved / 'numbers'}", texts=TextOptions(label_column="y"))
    assert numbers.task == "regression"
    np.testing.assert_allclose(numbers.train.raw.numpy()[:, 0], numbers.train.labels.numpy()[:, 0])


def test_faults(saved, tmp_path):
    refused(lambda: open_data(f"hf:{tmp_path}"), "is no data set of Hugging Face")
    refused(lambda: open_data(f"hf:{saved / 'numbers'}"), "no column of labels", "its columns are x, y")
    assert needs_path("hf:somewhere")


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ({"x": [[1.0], [2.0]], "label": [0, 1]}, {"x": [[1.0]]}, "test: no column 'label', which train has"),
        ({"x": [[1.0], [2.0]], "label": [0, 1]}, {"y": [[1.0]], "label": [0]}, "test: no column 'x'"),
        ({"x": [[1.0], [2.0]], "labels": [[0], [0, 1]]}, None, "labels: lists of several lengths"),
        ({"x": [[1.0], [2.0]], "label": [0.5, None]}, None, "label: nothing in 1 of 2 rows"),
        ({"text": ["a", None], "label": [0, 1]}, None, "text: nothing in 1 of 2 rows"),
        ({"image": "16 bits", "label": [0, 1]}, None, "image: row 1: pixels of mode I;16, expected 8 bits"),
    ],
)
def test_what_is_missing_or_of_another_form_is_named(tmp_path, train, test, said):
    datasets = pytest.importorskip("datasets")
    if "image" in train:
        from PIL import Image

        pictures = [Image.fromarray(np.full((4, 4), 40000 + n, dtype="u2")) for n in range(2)]
        kind = {"image": datasets.Image(), "label": datasets.Value("int64")}
        found = datasets.Dataset.from_dict({**train, "image": pictures}, features=datasets.Features(kind))
    else:
        found = datasets.Dataset.from_dict(train)
    parts = {"train": found} | ({} if test is None else {"test": datasets.Dataset.from_dict(test)})
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "hf")
    refused(lambda: open_data(f"hf:{tmp_path / 'hf'}"), said)


@pytest.mark.parametrize("cell", [None, b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_an_image_is_read_where_it_lies_in_the_data_set_alone(tmp_path, cell):
    """Its package would open the file, or fetch the address, that a row names; and hand PostScript to a program."""
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    Image.fromarray(IMAGES[0]).save(tmp_path / "outside.png")
    rows = [{"bytes": cell, "path": str(tmp_path / "outside.png")}, {"bytes": cell, "path": "http://localhost:9/x.png"}]
    kind = {"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    features = datasets.Features({**kind, "label": datasets.Value("int64")})
    datasets.Dataset.from_dict({"image": rows, "label": [0, 1]}, features=features).save_to_disk(tmp_path / "hf")
    info = json.loads((tmp_path / "hf" / "dataset_info.json").read_text())
    info["features"]["image"] = {"_type": "Image"}
    (tmp_path / "hf" / "dataset_info.json").write_text(json.dumps(info))
    said = "cannot be read as an image" if cell else "the image lies outside the data set"
    refused(lambda: open_data(f"hf:{tmp_path / 'hf'}"), "image: row 1: ", said)


def test_a_damaged_table_is_refused(saved, tmp_path):
    """Each word of the file as an offset far beyond its end: pyarrow reads there unless it is told to look first."""
    place = tmp_path / "hf"
    shutil.copytree(saved / "numbers", place)
    [table] = place.glob("*.arrow")
    content = table.read_bytes()
    refusals = 0
    for at in range(0, len(content), 8):
        table.unlink()  # a file that is mapped must not change
        table.write_bytes(content[:at] + (2**30).to_bytes(8, "little") + content[at + 8 :])
        try:
            open_data(f"hf:{place}", texts=TextOptions(label_column="y"))
        except StarcliError:
            refusals += 1
    assert refusals > 5


def test_splits_that_number_their_classes_otherwise_are_refused(tmp_path):
    """Each was encoded alone, and one lacks a class."""
    datasets = pytest.importorskip("datasets")
    parts = {}
    for role, words in (("train", ["b", "a", "c"]), ("test", ["b", "c"])):
        rows = datasets.Dataset.from_dict({"x": [[1.0]] * len(words), "label": words})
        parts[role] = rows.cast_column("label", datasets.ClassLabel(names=sorted(words)))
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "hf")
    refused(lambda: open_data(f"hf:{tmp_path / 'hf'}"), "label: the classes are numbered otherwise", "b, c in test")


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2)], ids=["last", "first"])
def test_arrays_have_their_channels_first_wherever_they_lie(tmp_path, axes):
    datasets = pytest.importorskip("datasets")
    images = np.random.RandomState(0).randn(10, 6, 7, 3).astype("f4")
    stored = images.transpose(axes)
    kind = {"x": datasets.Array3D(stored.shape[1:], "float32"), "label": datasets.Value("int64")}
    rows = {"x": list(stored), "label": [n % 2 for n in range(10)]}
    found = datasets.Dataset.from_dict(rows, features=datasets.Features(kind))
    datasets.DatasetDict({"train": found, "test": found}).save_to_disk(tmp_path / "hf")
    np.testing.assert_array_equal(open_data(f"hf:{tmp_path / 'hf'}").train.raw.numpy(), images.transpose(0, 3, 1, 2))
