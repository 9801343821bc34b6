"""Tables of texts: what their values, rows and columns are taken for, and what is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.data import refused

from starcli.data.dataset import Dataset, open_data
from starcli.data.text_options import TextOptions
from starcli.data.unlabelled import is_unlabelled


def written(place: Path, suffix: str, contents: str) -> str:
    path = place / f"t.{suffix}"
    path.write_text(contents, encoding="utf-8")
    return f"text:{path}"


def texts_and_labels(data: Dataset) -> set[tuple[str, str]]:
    return {
        (bytes(token for token in row if 0 <= token < 256).decode(), data.class_names[label])
        for part in (data.train, data.test)
        for row, label in zip(part.raw.tolist(), part.labels.tolist(), strict=True)  # type: ignore[attr-defined]
    }


def test_quotes_between_tabs_are_characters(tmp_path: Path) -> None:
    name = written(tmp_path, "tsv", 'text\tlabel\n"say hi\ta\nok\tb\nthe end"\ta\n5" disk\tb\n')
    expected = {('"say hi', "a"), ("ok", "b"), ('the end"', "a"), ('5" disk', "b")}
    assert texts_and_labels(open_data(name)) == expected


def test_quotes_between_commas_hold_commas_lines_and_quotes(tmp_path: Path) -> None:
    name = written(tmp_path, "csv", '\n\ntext,label\n"a, ""b""\nc",x\nd,y\n\ne,x\n')  # begins with empty lines
    assert texts_and_labels(open_data(name)) == {('a, "b"\nc', "x"), ("d", "y"), ("e", "x")}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_a_mark_of_byte_order_is_not_read(tmp_path: Path, suffix: str) -> None:
    rows = {"csv": "text,label\na,x\nb,y\n", "tsv": "text\tlabel\na\tx\nb\ty\n"}
    rows["jsonl"] = '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'
    data = open_data(written(tmp_path, suffix, "\ufeff" + rows[suffix]))
    assert texts_and_labels(data) == {("a", "x"), ("b", "y")}


def test_a_long_document_is_one_field(tmp_path: Path) -> None:
    data = open_data(written(tmp_path, "csv", f"text,label\n{'word ' * 60_000},x\nb,y\n"), texts=TextOptions(length=5))
    assert texts_and_labels(data) == {("word", "x"), ("b", "y")}


def test_numbers_of_one_value_are_one_class(tmp_path: Path) -> None:
    labels = [1, 1.0, "1", 0, 0.0, "0"]
    lines = (json.dumps({"text": f"t{row}", "label": label}) for row, label in enumerate(labels))
    data = open_data(written(tmp_path, "jsonl", "\n".join(lines)))
    assert data.class_names == ("0", "1")
    assert texts_and_labels(data) == {(f"t{row}", str(int(label))) for row, label in enumerate(labels)}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["-1", "0", "2", "10"], ("-1", "0", "2", "10")),
        (["0.5", "-2", "1e2", "7"], ("-2", "0.5", "7", "1e2")),
        (["9" * 5000, "10", "9"], ("9", "10", "9" * 5000)),
        (["10", "9", "nine"], ("10", "9", "nine")),  # not all are numbers
        (["nan", "b", "inf"], ("b", "inf", "nan")),  # words
    ],
)
def test_numbers_are_ordered_by_value(tmp_path: Path, labels: list[str], expected: tuple[str, ...]) -> None:
    rows = "".join(f"t,{label}\n" for label in labels * 2)
    assert open_data(written(tmp_path, "csv", "text,label\n" + rows)).class_names == expected


LABELLED = ['{"text": "a", "label": "x"}', '{"text": "b", "label": "y"}', '{"text": "c", "label": "x"}']
LONE = '{"text": "c"}'


@pytest.mark.parametrize("row", [1, 3])
def test_a_missing_label_does_not_make_a_file_one_of_next_tokens(tmp_path: Path, row: int) -> None:
    lines = LABELLED.copy()
    lines[row - 1] = LONE
    name = written(tmp_path, "jsonl", "\n".join(lines))
    refused(lambda: open_data(name), f"row {row}: label: nothing")
    assert not is_unlabelled(name)
    assert open_data(name, texts=TextOptions(task="next-token")).per_token


@pytest.mark.parametrize(
    ("suffix", "contents", "words"),
    [
        ("csv", "text,label\na,x\nb,\nc,y\n", "column 'label': nothing in row 2"),
        ("tsv", "text\tlabel\na\tx\nb\t\nc\ty\n", "column 'label': nothing in row 2"),
        ("jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n', "row 2: label: nan, expected a text"),
        (
            "jsonl",
            '{"text": "a", "label": 1}\n{"text": "b", "label": true}\n',
            "row 2: label: bool, expected a text or a number as in the rows before\n  write 0 and 1, or words",
        ),
        ("jsonl", '{"text": "a", "label": true}\n{"text": "b", "label": 1}\n', "row 2: label: int, expected true or"),
        ("jsonl", '{"text": "a", "label": 1}\n{"text": "\\ud83d", "label": 1}\n', "row 2: text: half of a surrogate"),
        ("jsonl", '{"text": "a", "label": ' + "1" * 5000 + "}\n", "cannot be read as .jsonl"),
        ("jsonl", '{"text": ' + "[" * 200_000 + "]" * 200_000 + "}\n", "cannot be read as .jsonl"),
        ("jsonl", '{"text": "a", "label": 1}\n{"text": b}\n', "row 2: Expecting value, at character 10"),
        ("csv", 'text,label\na,x\n\n"b"c,y\n', "row 2: ',' expected after"),
        ("csv", 'te"xt,"la"bel\na,x\n', "the heading: ',' expected after"),
        ("csv", "text,label\na,x\n\nb,y,z\n", "row 2 has more columns than the heading"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path: Path, suffix: str, contents: str, words: str) -> None:
    name = written(tmp_path, suffix, contents)
    refused(lambda: open_data(name), words)


def test_a_label_column_that_is_named_and_missing_is_no_table_without_labels(tmp_path: Path) -> None:
    name = written(tmp_path, "csv", "text,label\na,x\nb,y\n")
    refused(lambda: is_unlabelled(name, TextOptions(label_column="labell")), "no column 'labell'", "text, label")
    bare = written(tmp_path, "csv", "text\na\nb\n")
    assert is_unlabelled(bare)
    assert is_unlabelled(bare, TextOptions(label_column="topic"))  # as a project file says of the models' own data


def test_damaged_parquet(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    where = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"text": ["a b", "c d"] * 10, "label": [0.0, 1.0] * 10}), where)
    assert open_data(f"text:{where}").class_names == ("0", "1")
    contents = np.frombuffer(where.read_bytes(), np.uint8).copy()
    contents[4:60] ^= 0x5A
    where.write_bytes(contents.tobytes())
    refused(lambda: open_data(f"text:{where}"), "cannot be read as .parquet")


def test_texts_with_numbers_and_labels(tmp_path: Path) -> None:
    rows = [f"a{n},{n / 4 - 2},{n % 2},{n // 5}" for n in range(10)]
    table = written(tmp_path, "csv", "\n".join(["text,stars,good,long", *rows]) + "\n")
    stars = open_data(table, texts=TextOptions(label_column="stars", task="regression"))
    assert (stars.task, stars.num_classes, stars.class_names) == ("regression", 1, ("stars",))
    for part in (stars.train, stars.test):
        assert part.targets.squeeze(1).tolist() == [n / 4 - 2 for n in part.index.tolist()]
    labels = open_data(table, texts=TextOptions(label_column="good,long", task="multi-label"))
    assert (labels.task, labels.class_names) == ("multi-label", ("good", "long"))
    assert labels.train.targets.tolist() == [[n % 2, n // 5] for n in labels.train.index.tolist()]
    refused(lambda: open_data(table, texts=TextOptions(label_column="good,long")), "several columns of classes")
    refused(lambda: open_data(table, texts=TextOptions(label_column="good,bad")), "no column 'bad'")
    refused(lambda: open_data(table, texts=TextOptions(label_column="stars", task="multi-label")), "labels of --task")


def test_a_space_after_each_comma_of_the_heading_and_the_rows_is_not_read(tmp_path: Path) -> None:
    spaced = 'text, label\n"a, b", "x"\nc d, y\n'
    expected = {("a, b", "x"), ("c d", "y")}
    assert texts_and_labels(open_data(written(tmp_path, "csv", spaced))) == expected
    kept = open_data(written(tmp_path, "csv", "text,label\na, x\nb, y\n"))  # the heading does not say so
    assert kept.class_names == (" x", " y")


def test_a_table_of_numbers_with_spaces_after_commas(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("a, b, label\n" + "".join(f"{n}, {n / 2}, {n % 2}\n" for n in range(10)))
    assert open_data(f"table:{path}").features == ("a", "b")
