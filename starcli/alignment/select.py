"""Choice among the ends of several searches, by the loss half way between the two models.

Among good optima the objective of weight matching says nothing of the barrier (rank correlation with it on digits, six
pairs: +0.04 and -0.02 within a pair), while the loss of the midpoint is most of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor

from starcli.alignment.matching.method import Match
from starcli.alignment.midpoint import MidpointJudge
from starcli.runtime.progress import SILENT, Progress


def best_end(
    judge: MidpointJudge,
    as_it_is: Match,
    reference: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    ends: Iterable[Match],
    *,
    progress: Progress = SILENT,
) -> Match:
    """The match of lowest midpoint loss among `ends` and the model `as_it_is`; of equal ones the first.

    Its sweeps are those of all ends. Ends are taken one by one, so that they may be made when they are asked for.
    """
    lowest = judge.loss(reference, model, progress=progress)
    best = replace(as_it_is, midpoint_loss=lowest)
    sweeps = restarts = 0
    for end in ends:
        sweeps, restarts = sweeps + end.sweeps, end.restarts
        loss = judge.loss(reference, end.symmetry.apply(model), progress=progress)
        if loss < lowest:
            best, lowest = replace(end, midpoint_loss=loss), loss
    return replace(best, sweeps=sweeps, restarts=restarts)
