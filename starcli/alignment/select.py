"""Choice among the ends of several searches, by the loss half way between the two models.

Among good optima the objective of weight matching says nothing of the barrier (rank correlation with it on digits, six
pairs: +0.04 and -0.02 within a pair), while the loss of the midpoint is most of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor

from starcli.alignment.matching.method import Match
from starcli.alignment.midpoint import MidpointJudge
from starcli.alignment.objective import inner_product
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.permutation import Permutation


def best_end(
    judge: MidpointJudge,
    spec: Resolved,
    reference: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    ends: Iterable[Match],
    *,
    progress: Progress = SILENT,
) -> Match:
    """The match of lowest midpoint loss among `ends` and the model as it is; of equal ones the first.

    Its sweeps are those of all ends. Ends are taken one by one, so that they may be made when they are asked for.
    """
    as_it_is = Permutation.identity(spec)
    lowest = judge.loss(reference, model, progress=progress)
    best = Match(as_it_is, inner_product(spec, reference, model), 0, 0, 0, lowest)
    sweeps = restarts = 0
    for end in ends:
        sweeps, restarts = sweeps + end.sweeps, end.restarts
        loss = judge.loss(reference, end.symmetry.apply(model), progress=progress)
        if loss < lowest:
            best, lowest = replace(end, midpoint_loss=loss), loss
    return replace(best, sweeps=sweeps, restarts=restarts)
