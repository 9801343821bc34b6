"""What results rest on: the precision tells figures apart that were measured otherwise."""

import pytest
from support.program import run_here


@pytest.mark.parametrize("words", [("eval",), ("barrier", "--points", 3), ("predict", "-o")])
def test_results_say_their_precision(solutions, tmp_path, words):
    models = solutions.some(0, 1)
    usual, coarse, table = (
        run_here(words[0], *models, *words[1:], *([tmp_path / f"{number}.csv"] if words[0] == "predict" else []), *more)
        for number, more in enumerate(((), ("--precision", "bf16"), ("--precision", "bf16", "--format", "table")))
    )
    assert {row["precision"] for row in usual.rows} == {"fp32"}
    assert {row["precision"] for row in coarse.rows} == {"bf16"}
    assert "precision: bf16\n" in table.out
