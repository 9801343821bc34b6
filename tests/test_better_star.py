"""Measurements of better stars: each star once, lines to what was held out, ratios to Algorithm 1."""

import json
import sys

from paper import better_star


def test_each_star_is_measured_once_and_held_against_algorithm_1(solutions, tmp_path, monkeypatch, capsys):
    record = tmp_path / "record.jsonl"
    plain, better = "Algorithm 1, batches of 32", "realign-noise 1, noise 0.2, pull 0.001, midpoint, batches of 32"
    measure = ["measure", "tiny", solutions[0].parent, plain, better, "--sources", "0-1", "--held-out", "2-4"]
    for words in ([*measure, "--seeds", 0, "--epochs", 2], [*measure, "--seeds", 0, "--epochs", 2], ["table"]):
        monkeypatch.setattr(sys, "argv", ["better_star.py", *map(str, words), "--record", str(record)])
        better_star.main()
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(row["network"], row["way"], row["seed"]) for row in rows] == [("tiny", plain, 0), ("tiny", better, 0)]
    assert all([line["held_out"] for line in row["lines"]] == [2, 3, 4] for row in rows)
    assert all(line["max"] >= line["barrier"] >= 0 for row in rows for line in row["lines"])
    below, above = (sum(row["lines"][n]["max"] for n in range(3)) for row in rows)
    ratios = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| ratio"))
    assert ratios.split("|")[5].split()[0] == f"{above / below:.2f}"


def test_a_ratio_has_an_interval_over_stars_and_models():
    """Of figures that are products of star and model it is within the range of what may be drawn."""
    rows = [
        [{"lines": [{"max": scale * star * model} for model in (1.0, 2.0, 3.0)]} for star in (1.0, 1.5)]
        for scale in (0.5, 1.0)
    ]
    middle, low, high = better_star.ratio(*rows, "max")
    assert abs(middle - 0.5) < 1e-12
    assert 0.5 / 1.5 <= low < middle < high <= 0.5 * 1.5
