"""Comma-separated values, held to Python's own reader and to pandas."""

import csv
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starcli.cli.framework.csv_text import csv_text
from starcli.cli.framework.results import jsonable

ROWS = [
    {"type": "barrier", "a": "x, y.safetensors", "t": [0.0, 0.1], "train": {"loss_barrier": 0.1 + 0.2, "loss": [1.5]}},
    {
        "type": "summary",
        "count": 3,
        "train": {"mean": 1 / 3, "interval": [None, None]},
        "proved": True,
        "note": 'a "b"',
    },
]


def test_every_key_is_a_column_and_numbers_are_whole():
    first, second = csv.DictReader(io.StringIO(csv_text(ROWS)))
    assert list(first) == [
        "type", "a", "t", "train.loss_barrier", "train.loss", "count", "train.mean", "train.interval", "proved", "note",
    ]  # fmt: skip
    assert first["a"] == "x, y.safetensors"
    assert float(first["train.loss_barrier"]) == 0.1 + 0.2
    assert json.loads(first["t"]) == [0.0, 0.1]
    assert first["count"] == first["proved"] == ""
    assert float(second["train.mean"]) == 1 / 3
    assert (second["proved"], second["note"], second["a"]) == ("true", 'a "b"', "")


def test_an_object_that_one_row_lacks_adds_no_column():
    text = csv_text([{"validation": None, "seed": 0}, {"validation": {"loss": 0.5}, "seed": 1}])
    assert text == "seed,validation.loss\n0,\n1,0.5\n"


def test_pandas_reads_it_in_one_line():
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(io.StringIO(csv_text(ROWS)))
    lines = frame[frame.type == "barrier"]
    assert lines["train.loss_barrier"].tolist() == [pytest.approx(0.3, abs=1e-15)]
    assert lines["train.loss"].map(json.loads).tolist() == [[1.5]]
    assert math.isnan(frame["count"][0])
    assert bool(frame["proved"][1]) is True


words = st.text(min_size=1, alphabet=st.characters(exclude_characters=".\r"))
values = st.none() | st.booleans() | st.integers() | st.floats() | words | st.lists(st.floats(), max_size=3)
rows = st.lists(st.dictionaries(words, values, min_size=1), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(rows)
def test_every_value_comes_back(given_rows):
    plain = [jsonable(row) for row in given_rows]
    header, *lines = csv.reader(io.StringIO(csv_text(plain)))
    lines = [line or [""] for line in lines]
    assert len(lines) == len(plain)
    for row, line in zip(plain, lines, strict=True):
        for key, cell in zip(header, line, strict=True):
            value = row.get(key)
            assert (cell if isinstance(value, str) else json.loads(cell) if cell else None) == value
