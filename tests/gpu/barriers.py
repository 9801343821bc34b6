"""A barrier against the forward passes that it is made of."""

import torch

from starcli.barriers.line_barrier import measure_line
from starcli.evaluation.evaluator import Evaluator
from starcli.models.modes import autocast
from starcli.workspace.workspace import Workspace

from .lab import Lab

POINTS = 11
PART = 20
"""Share of the images that a profile is of."""


def bare(lab: Lab, workspace: Workspace, batch: int) -> float:
    """Seconds of the forward passes of one point: statistics and scores of the training split, scores of the test."""
    network = workspace.network(0).network
    dataset = workspace.dataset
    inputs = {
        split: [x for x, _ in split.batches(batch, device=lab.device, channels_last=True)]
        for split in (dataset.train, dataset.test)
    }

    def passes(split: object, training: bool) -> None:
        network.train(training)
        with torch.inference_mode(), autocast(lab.device, workspace.precision):
            for each in inputs[split]:  # type: ignore[index]
                network(each)

    def point() -> None:
        passes(dataset.train, True)
        passes(dataset.train, False)
        passes(dataset.test, False)

    point()
    return lab.seconds(point)


def run(lab: Lab) -> None:
    """bf16 in full, the other precisions at three points."""
    workspace = lab.workspace("bf16")
    a, b = (workspace.network(seed).state() for seed in (1, 2))
    passes = {batch: bare(lab, workspace, batch) for batch in (lab.size.batch, 8 * lab.size.batch)}
    for batch, taken in passes.items():
        lab.row(f"bare forward passes of a point, bf16, batch {batch}", seconds=taken)
    evaluator = Evaluator(workspace)
    measure_line(evaluator, a, b, points=3)
    points = 3 if lab.quick else POINTS
    taken = lab.seconds(lambda: measure_line(evaluator, a, b, points=points))
    lab.row(f"a barrier of {points} points, bf16", seconds=taken, limit=10.0)
    lab.row("a barrier over its bare forward passes, bf16", ratio=taken / points / min(passes.values()), limit=1.15)
    part = Evaluator(lab.workspace("bf16", dataset=lab.images(1 if lab.quick else PART)))
    lab.profile(f"profile of a point over 1/{PART} of the images, bf16", lambda: measure_line(part, a, b, points=3), 3)
    for precision in ("tf32", "fp32") if lab.device.type == "cuda" else ("fp32",):
        exact = Evaluator(lab.workspace(precision, dataset=workspace.dataset))
        taken = lab.seconds(lambda exact=exact: measure_line(exact, a, b, points=3))
        lab.row(f"a barrier of 3 points, {precision}", seconds=taken)
