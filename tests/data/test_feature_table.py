"""Tables of numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.data import refused

import starcli as sc
from starcli.data.dataset import open_data
from starcli.data.text_options import TextOptions

ROWS = np.random.RandomState(0).randn(40, 3).round(3)


@pytest.fixture
def table(tmp_path: Path) -> str:
    kinds = [("cat", "dog", "owl")[row % 3] for row in range(40)]
    lines = [
        f"{a},{b},{kind},{c},{n % 2},{int(n % 3 > 0)}"
        for n, ((a, b, c), kind) in enumerate(zip(ROWS, kinds, strict=True))
    ]
    (tmp_path / "t.csv").write_text("a,b,kind,c,one,two\n" + "\n".join(lines) + "\n")
    return f"table:{tmp_path / 't.csv'}"


def without_words(table: str, tmp_path: Path) -> str:
    lines = [",".join(line.split(",")[:2] + line.split(",")[3:]) for line in Path(table[6:]).read_text().splitlines()]
    (tmp_path / "n.csv").write_text("\n".join(lines) + "\n")
    return f"table:{tmp_path / 'n.csv'}"


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_rows_without_labels_are_predicted_as_those_with_them(table: str, tmp_path: Path) -> None:
    """Columns in any order; the labelled table's test rows are among them, with the same numbers."""
    options = {"label_column": "kind"}
    model = sc.train("mlp", table, epochs=1, arch_args={"hidden_dim": 8}, **options)
    path = sc.save(model, tmp_path / "m.safetensors")
    rows = [line.split(",") for line in Path(table[6:]).read_text().splitlines()]
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(",".join([*reversed(row[3:]), *row[:2]]) for row in rows) + "\n")
    found = sc.predict(path, data=f"table:{bare}")
    labelled = sc.predict(path, data=table, **options)
    assert (found.label, len(found.probabilities)) == (None, 40)
    np.testing.assert_allclose(found.probabilities[labelled.index], labelled.probabilities, atol=1e-6)
    hint = "kind says what is predicted, if it is that"
    refused(lambda: sc.predict(path, data=table), "the model does not read 'kind'", hint)
    refused(lambda: sc.predict(path, data=str(bare)), "texts, and the model takes numbers", "table:FILE")
    (tmp_path / "few.csv").write_text("a,b\n1,2\n")
    refused(lambda: sc.predict(path, data=f"table:{tmp_path / 'few.csv'}"), "no column 'c', 'one', 'two'")
    refused(lambda: sc.predict(path, data=table, label_column="sort"), "no column 'sort'")


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_a_model_of_images_does_not_read_tables(tmp_path: Path) -> None:
    """Its pixels were divided and normalised; numbers of as many columns were predicted on as they are."""
    path = sc.save(sc.train("mlp", "digits", epochs=1, limit=60), tmp_path / "m.safetensors")
    columns = [f"c{n}" for n in range(64)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(columns), ",".join("5" * 64)]) + "\n")
    refused(
        lambda: sc.predict(path, data=f"table:{tmp_path / 't.csv'}"), "a table of numbers, and the model takes", "1x8x8"
    )


def test_other_marks_between_columns_are_named(table: str, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(Path(table[6:]).read_text().replace(",", ";"))
    refused(lambda: open_data(f"table:{tmp_path / 's.csv'}"), "no column 'label'", "with ';' in it: a .csv has commas")


def test_words_are_classes_and_all_other_columns_features(table: str) -> None:
    data = open_data(table, texts=TextOptions(label_column="kind"))
    assert (data.task, data.class_names, data.input_shape) == ("classes", ("cat", "dog", "owl"), (5,))
    rows = data.train.index.numpy()
    np.testing.assert_allclose(data.train.raw.numpy()[:, :2], ROWS[rows][:, :2].astype("f4"))
    assert data.train.labels.tolist() == [row % 3 for row in rows]
    assert sorted([*rows, *data.test.index.tolist()]) == list(range(40))


def test_numbers_are_predicted_as_such_and_zeros_and_ones_as_labels(table: str, tmp_path: Path) -> None:
    numbers = without_words(table, tmp_path)
    data = open_data(numbers, texts=TextOptions(label_column="c,a"))
    assert (data.task, data.class_names, data.num_classes, data.input_shape) == ("regression", ("c", "a"), 2, (3,))
    np.testing.assert_allclose(data.test.labels.numpy(), ROWS[data.test.index.numpy()][:, [2, 0]].astype("f4"))
    labels = open_data(numbers, texts=TextOptions(label_column="one,two"))
    assert (labels.task, labels.class_names) == ("multi-label", ("one", "two"))
    said = open_data(numbers, texts=TextOptions(label_column="one", task="regression"))
    assert (said.task, said.num_classes) == ("regression", 1)
    assert open_data(numbers, texts=TextOptions(label_column="one")).class_names == ("0", "1")


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_a_model_reads_its_columns_by_their_names(tmp_path: Path) -> None:
    """In whatever order a table has them, and never the number of a row, which tells the class of sorted rows."""
    columns = {"a": ROWS[:, 0], "b": ROWS[:, 1], "c": ROWS[:, 2], "label": np.arange(40) // 20}

    def written(name: str, order: str, extra: str | None = None) -> str:
        names = [*order.split(), "label"]
        head = [*([] if extra is None else [extra]), *names]
        rows = [[*([] if extra is None else [n]), *(columns[each][n] for each in names)] for n in range(40)]
        (tmp_path / name).write_text("\n".join(",".join(map(str, row)) for row in [head, *rows]) + "\n")
        return f"table:{tmp_path / name}"

    model = sc.train("mlp", written("t.csv", "a b c"), epochs=2)
    assert model.metadata.data is not None
    assert model.metadata.data.features == ["a", "b", "c"]
    expected = sc.evaluate(model)[0]
    assert sc.evaluate(model, data=written("other.csv", "c a b"))[0] == expected
    refused(lambda: sc.evaluate(model, data=written("less.csv", "a b")), "no column 'c', which the model reads")
    refused(lambda: sc.evaluate(model, data=written("more.csv", "a b c", "d")), "does not read 'd'")
    for name in ("", "Unnamed: 0", "__index_level_0__"):
        refused(lambda name=name: open_data(written("i.csv", "a b c", name)), f"the column {name!r} is an index")


def test_faults(table: str, tmp_path: Path) -> None:
    refused(lambda: open_data(table), "no column 'label'", "its columns are a, b, kind")
    refused(lambda: open_data(table, texts=TextOptions(label_column="a")), "row 1: kind: 'cat' is no number")
    refused(lambda: open_data(table, texts=TextOptions(label_column="kind", task="regression")), "predicts numbers")
    refused(lambda: open_data(table, texts=TextOptions(label_column="kind,a")), "several columns of classes")
    refused(lambda: open_data("table:none.csv"), "no such file")


@pytest.mark.parametrize(
    ("head", "row", "said"),
    [
        ("a,label", "1,NA", "label: row 31: 'NA' is no number, and the others are"),
        ("a,label", '1,"1,234.5"', "label: row 31: '1,234.5' is no number"),
        ("a,label", "1,nan", "row 31: label: 'nan' is no number"),
        ("a,label", ",1.5", "row 31: a: '' is no number"),
        ("a,label", "1e300,1.5", "row 31: a: '1e300' is no number"),
        ("a,label", '"1,000",1.5', "row 31: a: '1,000' is no number"),
        ("a,a", "1,2", "two columns of one name"),
    ],
)
def test_numbers_that_are_missing_or_unreadable_are_named(tmp_path: Path, head: str, row: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(head + "\n" + "".join(f"{n},{n}.5\n" for n in range(30)) + row + "\n")
    refused(lambda: open_data(f"table:{tmp_path / 't.csv'}"), said)


def test_words_among_numbers_are_classes_where_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeffa,label\n" + "".join(f"{n},{('0.5', 'NA')[n % 2]}\n" for n in range(20)))
    data = open_data(f"table:{tmp_path / 't.csv'}", texts=TextOptions(task="classes"))
    assert (data.task, data.class_names, data.input_shape) == ("classes", ("0.5", "NA"), (1,))


@pytest.mark.filterwarnings("ignore::starcli.StarcliWarning")
def test_other_rows_are_standardised_by_the_data_that_a_model_was_trained_on(tmp_path: Path) -> None:
    """`normalise = "data"` stands in a project file for all commands: a table that has moved was moved back."""

    def written(name: str, rows: list[tuple[int, np.ndarray]], labels: bool = True) -> str:
        heads = ["a,b,c" + ",kind" * labels, *(",".join(map(str, row)) + f",{n % 2}" * labels for n, row in rows)]
        (tmp_path / name).write_text("\n".join(heads) + "\n")
        return f"table:{tmp_path / name}"

    own, moved = list(enumerate(ROWS)), list(enumerate(ROWS[::-1] * 3 + 5))
    how = {"label_column": "kind", "normalise": "data"}
    model = sc.train("mlp", written("own.csv", own), epochs=1, arch_args={"hidden_dim": 8}, **how)
    record = model.metadata.data
    assert record is not None
    inputs = (torch.tensor(moved[7][1]) - torch.tensor(record.mean)) / torch.tensor(record.std)
    with torch.no_grad():
        expected = model.module().eval()(inputs[None].float()).softmax(-1)[0]
    labelled = sc.predict(model, data=written("moved.csv", moved), split="train", **how)
    row = labelled.index.tolist().index(7)
    np.testing.assert_allclose(labelled.probabilities[row], expected, atol=1e-6)
    found = sc.predict(model, data=written("bare.csv", moved, labels=False), **how)  # the column is not there
    assert (found.label, len(found.probabilities)) == (None, 40)
    np.testing.assert_allclose(found.probabilities[7], expected, atol=1e-6)
