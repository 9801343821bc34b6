"""Tables of numbers."""

import json
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


def test_true_and_false_are_the_same_labels_in_every_table(tmp_path: Path) -> None:
    """As words of a .csv, which pandas writes so, and as values of the other forms; of several columns 1 and 0."""
    rows = [(n / 7, n % 2 == 0, n % 3 > 0) for n in range(10)]
    (tmp_path / "t.csv").write_text("a,one,two\n" + "".join(f"{a},{one},{two}\n" for a, one, two in rows))
    lines = [json.dumps(dict(zip(("a", "one", "two"), row, strict=True))) for row in rows]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").table(dict(zip(("a", "one", "two"), zip(*rows, strict=True), strict=True)))
    parquet.write_table(table, tmp_path / "t.parquet")
    parquet.write_table(table.drop(["two"]), tmp_path / "one.parquet")
    for suffix in ("csv", "jsonl", "parquet"):
        data = open_data(f"table:{tmp_path / f't.{suffix}'}", texts=TextOptions(label_column="one,two"))
        assert (data.task, data.class_names) == ("multi-label", ("one", "two"))
        assert data.train.labels.tolist() == [[*map(float, rows[n][1:])] for n in data.train.index.tolist()]
    data = open_data(f"table:{tmp_path / 'one.parquet'}", texts=TextOptions(label_column="one"))
    assert (data.task, data.class_names) == ("classes", ("False", "True"))
    assert data.train.labels.tolist() == [int(rows[n][1]) for n in data.train.index.tolist()]


def write_parts(folder: Path, **parts: str) -> str:
    """A folder of tables of `a`, `b` and `label`, `train="1,2,x..."` as train.csv."""
    folder.mkdir()
    for name, rows in parts.items():
        (folder / f"{name}.csv").write_text(f"a,b,label\n{rows}")
    return f"table:{folder}"


def test_a_folder_of_tables_has_its_own_parts(tmp_path: Path) -> None:
    """Columns are found by their names, classes are those of all parts, and as in one table of the same rows."""
    folder = write_parts(tmp_path / "all", train="1,2,cat\n3,4,owl\n", val="5,6,cat\n")
    (tmp_path / "all" / "test.tsv").write_text("label\tb\ta\ndog\t8\t7\n")
    data = open_data(folder)
    assert (data.class_names, data.features, data.notes) == (("cat", "dog", "owl"), ("a", "b"), ())
    splits = (data.train, data.split("validation"), data.test)
    assert [split.labels.tolist() for split in splits] == [[0, 2], [0], [1]]
    assert [split.raw.tolist() for split in splits] == [[[1, 2], [3, 4]], [[5, 6]], [[7, 8]]]  # type: ignore[attr-defined]
    whole = open_data(write_parts(tmp_path / "one", train="".join(f"{n},0,{n % 2}\n" for n in range(10))))
    assert (len(whole.train), len(whole.test)) == (8, 2)
    assert any("a fifth is held out" in note for note in whole.notes)


def test_what_is_predicted_is_told_by_all_parts(tmp_path: Path) -> None:
    data = open_data(write_parts(tmp_path / "all", train="1,2,1\n3,4,2\n", test="5,6,2.5\n"))
    assert (data.task, data.test.labels.tolist()) == ("regression", [[2.5]])
    mixed = write_parts(tmp_path / "mixed", train="1,2,1.5\n3,4,2\n", test="5,6,1\n7,8,NA\n")
    refused(lambda: open_data(mixed), "test.csv: label: row 2: 'NA' is no number, and the others are")


def test_a_test_table_alone_is_measured_as_a_whole(tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "new", test="1,2,owl\n3,4,cat\n")
    data = open_data(folder, texts=TextOptions(classes=("cat", "dog", "owl")), val_fraction=0.5)
    assert (data.num_classes, data.test.labels.tolist(), len(data.train)) == (3, [2, 0], 2)
    assert any("no training part in it: test.csv stands for it too" in note for note in data.notes)
    refused(lambda: data.split("validation"), "of a test part that is alone nothing is held back")


def test_folders_of_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "other", train="1,2,x\n3,4,y\n")
    (tmp_path / "other" / "test.csv").write_text("a,c,label\n1,2,x\n")
    refused(
        lambda: open_data(folder), "test.csv: its columns are not those of train.csv", "a, c here, a, b in train.csv"
    )
    refused(lambda: open_data(write_parts(tmp_path / "none", rows="1,2,x\n")), "without tables of numbers")
    bad = write_parts(tmp_path / "bad", train="1,2,x\n3,4,y\n", test="1,,x\n")
    refused(lambda: open_data(bad), "test.csv: row 1: b: '' is no number")
