"""Models that record no names of classes, of arrays or tensors, on data whose classes have names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import refused

import starcli as sc

DRAWS = np.random.RandomState(0)
LABELS = DRAWS.randint(0, 4, 120)
ROWS = (3 * np.eye(4)[LABELS] + DRAWS.randn(120, 4)).astype("f4")


def table(path: Path, labels: list[str], rows: np.ndarray) -> str:
    lines = [",".join([*map(str, row), label]) for row, label in zip(rows.tolist(), labels, strict=True)]
    path.write_text("\n".join(["a,b,c,d,label", *lines]) + "\n")
    return f"table:{path}"


@pytest.fixture
def of_arrays(tmp_path: Path) -> Path:
    np.savez(tmp_path / "n.npz", x_train=ROWS, y_train=LABELS, x_test=ROWS[:20], y_test=LABELS[:20])
    with pytest.warns(sc.StarcliWarning):
        model = sc.train("mlp", str(tmp_path / "n.npz"), epochs=3, arch_args={"hidden_dim": 8})
    return sc.save(model, tmp_path / "m.safetensors")


def test_numbers_in_a_table_of_some_classes_are_the_models_own(of_arrays: Path, tmp_path: Path) -> None:
    """Labels 1 and 3 alone were called 0 and 1, and the accuracy was that of other classes."""
    some = np.flatnonzero(LABELS % 2)
    named = table(tmp_path / "t.csv", [str(n) for n in LABELS[some]], ROWS[some])
    with pytest.warns(sc.StarcliWarning) as notes:
        found = sc.predict(of_arrays, data=named, split="train")
    with pytest.warns(sc.StarcliWarning):
        [row] = sc.evaluate(of_arrays, data=named, split="train")
    assert found.label.tolist() == LABELS[some][found.index].tolist()
    right = found.probabilities.argmax(-1) == LABELS[some][found.index]
    assert row["accuracy"] == right.mean()
    assert not [note for note in notes if "names of classes" in str(note.message)]
    ones = table(tmp_path / "ones.csv", [str(n + 1) for n in LABELS], ROWS)
    what_to_do = "labels are its class numbers, 0 to 3: write the number of each row's class"
    refused(lambda: sc.evaluate(of_arrays, data=ones), "'4' in row", "the model's classes are 0, 1, 2, 3", what_to_do)


@pytest.mark.parametrize("form", ["{}.0", "0{}", " {}", "{}e0"])
def test_whole_numbers_are_classes_however_they_are_written(of_arrays: Path, tmp_path: Path, form: str) -> None:
    """A column of labels that had empty places is one of floats, as other programs write it."""
    named = table(tmp_path / "t.csv", [form.format(n) for n in LABELS], ROWS)
    with pytest.warns(sc.StarcliWarning):
        found = sc.predict(of_arrays, data=named, split="train")
    assert found.label.tolist() == LABELS[found.index].tolist()


def test_words_are_taken_in_their_order_which_is_said(of_arrays: Path, tmp_path: Path) -> None:
    words = table(tmp_path / "w.csv", [("owl", "ant", "cat", "bee")[n] for n in LABELS], ROWS)
    with pytest.warns(sc.StarcliWarning) as notes:
        found = sc.predict(of_arrays, data=words, split="train")
    order = "m.safetensors records no names of classes; taken in this order: 0 ant, 1 bee, 2 cat, 3 owl"
    assert [note for note in notes if order in str(note.message)]
    assert found.label.tolist() == [(3, 0, 2, 1)[n] for n in LABELS[found.index]]


def test_folders_that_are_called_by_numbers_are_the_classes_of_these(tmp_path: Path) -> None:
    """As words, 10 stands before 2; the folders of a model of folders stay in that order."""
    draws = np.random.RandomState(1)
    images, labels = draws.randint(0, 256, (44, 3, 8, 8), dtype=np.uint8), np.arange(44) % 11
    np.savez(tmp_path / "n.npz", x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    with pytest.warns(sc.StarcliWarning):
        model = sc.train("mlp", str(tmp_path / "n.npz"), epochs=1, arch_args={"hidden_dim": 8})
    path = sc.save(model, tmp_path / "m.safetensors")
    for part in ("some/test/2", "some/test/10"):
        (tmp_path / part).mkdir(parents=True)
        Image.fromarray(images[0].transpose(1, 2, 0)).save(tmp_path / part / "a.png")
    with pytest.warns(sc.StarcliWarning):
        found = sc.predict(path, data=f"folder:{tmp_path / 'some'}", image_size=8)
    assert dict(zip(found.file, found.label.tolist(), strict=True)) == {"2/a.png": 2, "10/a.png": 10}
