"""What is said of data to those who train on them."""

from pathlib import Path

import pytest

from starcli.data.dataset import open_data
from starcli.data.text_options import TextOptions
from starcli.workspace.training_notes import class_notes, training_notes


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Texts of the classes `a` and `b` to train on; `c` is in both other parts alone, `d` in none."""
    for part, labels in {"train": "abab", "val": "abc", "test": "accca"}.items():
        rows = [f"{part} {n},{label}" for n, label in enumerate(labels)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return tmp_path


def test_classes_that_are_measured_and_never_trained_on_are_named(reviews: Path) -> None:
    """They were part of every figure on the test split without a word."""
    [note] = class_notes(open_data(f"text:{reviews}"))
    assert note.startswith("text: 1 of 3 classes have no training example: c; ")
    assert "1 of 3 validation examples are of these; 3 of 5 test examples are of these" in note
    (reviews / "val.csv").unlink()
    (reviews / "test.csv").write_text("text,label\nnew,b\n")
    assert class_notes(open_data(f"text:{reviews}")) == ()


def test_labels_that_differ_in_spaces_or_case_alone_are_named(reviews: Path) -> None:
    """A space behind a label made one more class, without a word where it had examples in all parts."""
    for part in ("train", "val", "test"):
        rows = [f"{part} {n},{label}" for n, label in enumerate(["good", "good ", "bad", "Bad", "so  so", "so so"])]
        (reviews / f"{part}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    [note] = training_notes(open_data(f"text:{reviews}"))
    assert note.startswith("text: classes that differ in spaces or case alone: ")
    assert all(each in note for each in ("'good' and 'good '", "'Bad' and 'bad'", "'so  so' and 'so so'"))


def test_numbers_that_are_taken_for_classes_are_told(tmp_path: Path) -> None:
    """Prices without fractions are as many classes as there are prices; a fifth of these is held out."""
    (tmp_path / "t.csv").write_text("\n".join(["a,price", *(f"{n},{1000 + 37 * n}" for n in range(40))]) + "\n")
    data = open_data(f"table:{tmp_path / 't.csv'}", texts=TextOptions(label_column="price"))
    [note] = class_notes(data)
    assert f"{len(data.test)} of 40 classes have no training example" in note
    assert note.endswith("--task regression predicts numbers as such")
    whole = TextOptions(label_column="price", task="regression")
    assert class_notes(open_data(f"table:{tmp_path / 't.csv'}", texts=whole)) == ()
