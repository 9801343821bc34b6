"""How values are written for people."""

import math

import pytest

from starcli.cli.framework.columns import Column


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
        ("name", "run1/model.safetensors", "run1/model"),
        ("name", ["a.safetensors", "b.pt"], "a, b.pt"),
        ("name", "a.safetensors to each", "a to each"),
        ("name", "a.safetensors.index.json", "a.safetensors.index.json"),
        ("words", "best_source", "best source"),
        ("hash", "0123456789abcdef", "0123456789ab"),
        ("time", "2026-11-26T17:14:53+00:00", "2026-11-26 17:14"),
        ("range", [0.0, 1.5], "0.0000 to 1.5000"),
    ],
)
def test_texts(form, value, text):
    assert Column("x", "x", form).texts([{"x": value}]) == [text]
