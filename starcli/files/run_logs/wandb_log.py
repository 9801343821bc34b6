"""A run for Weights & Biases."""

import os
from collections.abc import Mapping

from starcli.files.run_logs.targets import RunFacts

PROJECT = "starcli"
"""Project of runs where none is said."""


class WandbLog:
    """A run of a project; offline, below `wandb/`, unless WANDB_MODE says otherwise: `wandb sync` sends it later."""

    def __init__(self, place: str, facts: RunFacts) -> None:
        import wandb

        mode = os.environ.get("WANDB_MODE", "offline")
        again = {} if mode == "offline" else {"id": facts.run_id[:32], "resume": "allow"}
        self._run = wandb.init(
            project=place or PROJECT, name=facts.name, config=dict(facts.settings), mode=mode,
            settings=wandb.Settings(silent=True, console="off"), **again,
        )  # fmt: skip
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("*", step_metric="epoch")

    def record(self, epoch: int, curves: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        self._run.log({"epoch": epoch, **curves})

    def close(self, *, finished: bool) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if finished else 1)
