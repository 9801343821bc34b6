"""starcli bma: scores of averaged predictions, for stars, ensembles and single models."""

from support.program import run_here


def test_bma(solutions, star, place):
    words = ("bma", "--star", star, "--sources", *solutions.some(0, 1, 2), "--samples", 4, "--repeats", 2)
    ran = run_here(*words, "--plot", "b.png")
    assert ran.status == 0, ran.err
    found = [(row["posterior"], row["samples"]) for row in ran.rows]
    expected = [("single", 1), *(("star", k) for k in (2, 3, 4)), *(("ensemble", k) for k in (2, 3))]
    assert sorted(found) == sorted(expected)
    metrics = {"errors", "accuracy", "nll", "brier", "ece", "auroc_max_prob", "auroc_entropy", "aurc"}
    for row in ran.rows:
        assert metrics | {f"{name}_std" for name in metrics} <= set(row)
    assert (place / "b.png").exists()
    assert run_here(*words).out == ran.out
