"""What results rest on: the precision tells figures apart that were measured otherwise."""

import pytest
from support.program import run_here


def test_results_say_of_how_much_of_the_data_they_are(solutions):
    """The hash is that of the whole: a quick look at 50 examples was told from the measurement by nothing."""
    models = solutions.some(0, 1)
    none = ("--val-fraction", 0)
    found = [
        run_here("barrier", *models, "--points", 3, *more).rows[0]["data"]
        for more in ((), none, (*none, "--limit", 50))
    ]
    whole = {name: found[1][name] for name in ("name", "fingerprint")}
    assert found[0] == {**whole, "limit": 300, "val_fraction": 0.2}  # those that the models were trained on
    assert found[2] == {**whole, "limit": 50}


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
