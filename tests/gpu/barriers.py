"""A barrier against the forward passes that it is made of."""

from collections.abc import Sequence
from statistics import median

import torch

from starcli.barriers.line_barrier import measure_line
from starcli.data.splits import Split
from starcli.evaluation.evaluator import Evaluator
from starcli.models.modes import autocast
from starcli.workspace.workspace import Workspace

from .lab import Lab

POINTS = 11
PART = 20
"""Share of the images that a profile is of."""


def bare(lab: Lab, workspace: Workspace, batch: int) -> tuple[float, float]:
    """Seconds of the forward passes of one point: of the statistics of the training split, and of the scores of all."""
    network = workspace.network(0).network
    dataset = workspace.dataset
    inputs = {
        split: [x for x, _ in split.batches(batch, device=lab.device, channels_last=True)]
        for split in (dataset.train, dataset.test)
    }

    def passes(splits: Sequence[Split], training: bool) -> None:
        network.train(training)
        with torch.inference_mode(), autocast(lab.device, workspace.precision):
            for each in (each for split in splits for each in inputs[split]):
                network(each)

    def statistics() -> None:
        passes([dataset.train], True)

    def scores() -> None:
        passes([dataset.train, dataset.test], False)

    for each in (statistics, scores):
        each()
    first, second = (median(lab.seconds(each) for _ in range(3)) for each in (statistics, scores))
    return first, second


def run(lab: Lab) -> None:
    """bf16 in full, the other precisions at three points."""
    workspace = lab.workspace("bf16")
    a, b = (workspace.network(seed).state() for seed in (1, 2))
    few, many = lab.size.batch, 8 * lab.size.batch
    passes = {batch: bare(lab, workspace, batch) for batch in (few, many)}
    for batch, taken in passes.items():
        for what, seconds in zip(("statistics", "scores"), taken, strict=True):
            lab.row(f"bare forward passes of a point, {what}, bf16, batch {batch}", seconds=seconds)
    evaluator = Evaluator(workspace)
    measure_line(evaluator, a, b, points=3)
    points = 3 if lab.quick else POINTS
    taken = lab.seconds(lambda: measure_line(evaluator, a, b, points=points))
    lab.row(f"a barrier of {points} points, bf16", seconds=taken, limit=10.0)
    # statistics are of batches of one size, for results depend on it; scores of the size that suits the device
    least = passes[few][0] + min(passes[few][1], passes[many][1])
    lab.row("a barrier over its bare forward passes, bf16", ratio=taken / points / least, limit=1.15)
    for what in ("statistics", "scores"):
        work = evaluator.recalibrate if what == "statistics" else evaluator.scores
        lab.row(f"{what} of a point, bf16", seconds=lab.seconds(work))
    with lab.part("waits"):
        lab.waits("a barrier of 3 points, bf16", lambda: measure_line(evaluator, a, b, points=3))
    with lab.part("profile"):
        part = Evaluator(lab.workspace("bf16", dataset=lab.images(1 if lab.quick else PART)))
        what = f"profile of a point over 1/{PART} of the images, bf16"
        lab.profile(what, lambda: measure_line(part, a, b, points=3), 3)
    for precision in ("tf32", "fp32") if lab.device.type == "cuda" else ("fp32",):
        with lab.part(f"a barrier of 3 points, {precision}"):
            exact = Evaluator(lab.workspace(precision, dataset=workspace.dataset))
            taken = lab.seconds(lambda exact=exact: measure_line(exact, a, b, points=3))
            lab.row(f"a barrier of 3 points, {precision}", seconds=taken)
