"""How values are written for people."""

import math

import pytest

from starcli.cli.framework.columns import LOSS, SPREAD, Column, TextTable


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (".4f", 0.09554, "0.0955"),
        (".2%", 0.12345, "12.35%"),
        (",d", 11173962, "11,173,962"),
        ("", True, "yes"),
        ("", 0.1 + 0.2, "0.3"),
        ("", [0.75, 0.25], "0.75, 0.25"),
        ("", [], "–"),
        (".4f", math.nan, "–"),
        (".4f", None, "–"),
        ("name", "run1/model.safetensors", "run1"),
        ("name", "model.safetensors", "model"),
        ("name", ["a.safetensors", "b.pt"], "a, b.pt"),
        ("name", "a.safetensors to each", "a to each"),
        ("name", "run1/model.safetensors.index.json", "run1"),
        ("words", "best_source", "best source"),
        ("hash", "0123456789abcdef", "0123456789ab"),
        ("time", "2026-11-26T17:14:53+00:00", "2026-11-26 17:14"),
        ("range", [0.0, 1.5], "0.0000 to 1.5000"),
        ("range", [0.0, 0.00012], "0.000000 to 0.000120"),
    ],
)
def test_texts(form, value, text):
    assert Column("x", "x", form).texts([{"x": value}]) == [text]


LOSSES = (Column("mean", "train", LOSS), Column("std", SPREAD, LOSS), Column("test", "test", LOSS))


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        ([{"mean": 0.1405, "std": 0.0083, "test": 2.34561}], ["0.1405", "0.0083", "2.3456"]),
        ([{"mean": 0.000341, "std": 0.000052, "test": 0.0}], ["0.000341", "0.000052", "0.0000"]),
        ([{"mean": 0.0, "std": 0.5, "test": math.nan}], ["0.0000", "0.5000"]),
    ],
)
def test_barriers_near_zero_have_digits_and_deviations_as_many_as_their_means(rows, texts):
    assert [cell for [cell] in TextTable.of(LOSSES, rows).cells.values()] == texts


def test_a_column_of_usual_values_is_left_out():
    columns = (Column("a", "a"), Column("p", "precision", common=True, usual="fp32"))

    def shown(*found: str) -> tuple[list[str], list[str]]:
        table = TextTable.of(columns, [{"a": "x", "p": value} for value in found])
        return [column.heading for column in table.cells], list(table.below)

    assert shown("fp32", "fp32") == (["a"], [])
    assert shown("bf16", "bf16") == (["a"], ["precision: bf16"])
    assert shown("fp32", "bf16") == (["a", "precision"], [])
