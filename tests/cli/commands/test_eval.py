"""starcli eval: scores on every split, as recorded when trained."""

import pytest
from support.program import run_here

from starcli.checkpoints.checkpoint import read_metadata


def test_eval(solutions):
    ran = run_here("eval", *solutions.some(0, 1))
    stored = read_metadata(solutions[0])[1].metrics["test"]
    assert ran.rows[0]["nll"] == pytest.approx(stored["loss"], abs=1e-6)
    assert ran.rows[0]["accuracy"] == pytest.approx(stored["accuracy"])
    metrics = {"errors", "accuracy", "nll", "brier", "ece", "auroc_max_prob", "auroc_entropy", "aurc"}
    assert metrics <= set(ran.rows[1])
    for split in ("train", "validation"):
        assert run_here("eval", solutions[0], "--split", split).rows[0]["split"] == split
    fresh = run_here("eval", solutions[0], "--recalibrate").rows[0]
    assert fresh["nll"] != ran.rows[0]["nll"]


def test_eval_without_a_validation_split(solutions):
    ran = run_here("eval", solutions[0], "--split", "validation", "--val-fraction", 0)
    assert ran.status == 1
    assert "--val-fraction" in ran.err
