"""What a fused model is compared with: each model is measured once, and each mean."""

from typing import Any

import pytest
from support.training import small

from starcli.alignment.aligner import Aligner
from starcli.alignment.alignment import Alignment
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.checkpoints.metadata import Metadata
from starcli.fusion.fusion_report import fusion_rows
from starcli.runtime.progress import Progress


class Counting(Progress):
    """The steps that each pass announces, and those that it makes."""

    def __init__(self) -> None:
        self.passes: list[tuple[str, int]] = []
        self.made = 0

    def start(self, task: str, total: int) -> None:
        self.passes.append((task, total))
        self.made = 0

    def step(self, count: int = 1, **figures: Any) -> None:
        self.made += count


@pytest.mark.parametrize(
    ("method", "means", "measured"),
    [("none", ["mean", "aligned_mean"], 1), ("weight", ["mean", "aligned_mean", "joint_mean"], 3)],
)
def test_each_mean_is_measured_once(method: str, means: list[str], measured: int) -> None:
    """Where nothing is to be aligned, two rows are of one mean."""
    workspace = small("mlp", hidden_dim=8, limit=50)
    fused, *sources = [Checkpoint(workspace.network(seed).state(), Metadata(), f"{seed}") for seed in range(3)]
    progress = Counting()
    rows = list(fusion_rows(Aligner(Alignment(method), workspace), fused, sources, split="test", progress=progress))
    assert [row["model"] for row in rows] == ["fused", "source", "source", "best_source", "ensemble", *means]
    assert len({row["loss"] for row in rows if row["model"] in means}) == measured
    assert progress.passes[-1] == ("comparing", 3 + measured)
    assert progress.made == 3 + measured
