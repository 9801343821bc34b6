"""Several models aligned together: each in turn to the mean of the others, until nothing moves.

    maximise over pi_1 ... pi_n   the mean over pairs i < j of <pi_i(A_i), pi_j(A_j)>

Ainsworth et al. 2022 (Git Re-Basin), algorithm 3. Each permutation leads into one common frame, so that renaming A's
units as B's and then as C's is renaming them as C's, to the index. The inner product with the mean of the others is the
mean of the inner products with each: no move lowers the objective. Activations are averaged as those of each model are;
what the averaged model would compute is never asked.

Against the Frank-Wolfe search of Crisostomi et al. 2024 (C2M3), which moves all models at once, on the same objective:
12 sets of 5 ResNets of width 8, digits, activations alone, mean of the objective and of the mean's test accuracy:
5 starts of this 5.669 and .872 in 1.2 s, theirs from the identity 5.664 and .860 in 2.4 s, from a uniform matrix 5.666
and .858 in 3.5 s. By weights theirs from a uniform matrix is ahead, 2048.7 and .663 against 2046.8 and .601 (from the
identity 2045.7 and .620); the best of 5 starts by the loss of their mean has .68. So there is this one alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from starcli.alignment.aligned import Aligned
from starcli.alignment.aligner import Aligner
from starcli.alignment.joint_frame import JointFrame
from starcli.alignment.learned.learner import Learner
from starcli.alignment.matching.method import Match
from starcli.alignment.objective import inner_product
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import need_several
from starcli.models.state_dicts import computable
from starcli.runtime import distributed, sharing
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.rehearsal import alike_if_rehearsed
from starcli.symmetry.normal_form import normal_element
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry, one_after_the_other, units_of


@dataclass(frozen=True)
class JointMatch:
    """Permutations, or elements, of several models into one frame, one each, and how they were found."""

    symmetries: Sequence[Symmetry]
    objective: float
    """Mean inner product of two models, as the method compares them, in float64."""
    sweeps: int
    midpoint_loss: float | None = None
    """Training loss of the models' mean, where ends are chosen by it."""


def match_jointly(
    aligner: Aligner, models: Sequence[Mapping[str, Tensor]], *, progress: Progress = SILENT
) -> JointMatch:
    """Find permutations of `models`, state dicts, under which they are nearest to each other.

    All are matched to one of them, then each to the mean of the others, in random orders, until nothing moves. The
    alignment's restarts are as many starts, each from another model; the highest end is kept. Where it selects by the
    midpoint, that is done for each of its `ends`, and of these and of the models as they are the one is kept whose mean
    has the lowest training loss. With methods that learn, each model then learns once on the loss half way to the mean
    of the others, and stays where that lowers the loss of the mean of all. The ranks share the starts.
    By all kinds of symmetries it is done between normal forms; elements that are learned are learned in turn, see
    `_learned_in_turn`. StarcliError for a single model, Interrupted where `progress` asks to stop before a move.
    """
    need_several(models, "joint alignment")
    how, kinds = aligner.alignment, aligner.kinds
    if kinds is not None and aligner.learner is not None:
        return _learned_in_turn(aligner, aligner.learner, models, progress)
    ends, starts = how.ends or 1, max(1, how.restarts)
    progress.start("aligning together", sharing.own_share(ends * starts))

    def from_start(place: tuple[int, int]) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
        frame = JointFrame(aligner, models, *place, progress)
        frame.gather()
        frame.settle()
        progress.step()
        # what ranks tell each other: no spec
        found = [each.to_tensors() for each in frame.symmetries]
        return found, {"objective": frame.objective, "sweeps": frame.sweeps}

    places = [(end, start) for end in range(ends) for start in range(starts)]
    found = alike_if_rehearsed(
        "starts of an alignment together", places, lambda own: sharing.share_out(own, from_start)
    )
    progress.finish()
    matches = [JointMatch([aligner.symmetry(one) for one in each], **figures) for each, figures in found]
    if kinds is not None:
        into = [normal_element(kinds, model) for model in models]
        matches = [replace(each, symmetries=[*map(one_after_the_other, into, each.symmetries)]) for each in matches]
    highest = [max(matches[k : k + starts], key=lambda match: match.objective) for k in range(0, len(matches), starts)]
    best = highest[0] if aligner.judge is None else _best_mean(aligner, models, highest, progress)
    return best if aligner.learner is None else _learned(aligner, aligner.learner, models, best, progress)


def _best_mean(
    aligner: Aligner, models: Sequence[Mapping[str, Tensor]], ends: Sequence[JointMatch], progress: Progress
) -> JointMatch:
    """The end whose mean has the lowest loss, among `ends` and the models as they are."""
    judge, identity = aligner.judge, aligner.identity
    assert judge is not None
    as_they_are = JointFrame(aligner, models, 0, 0, progress).objective
    candidates = [JointMatch([identity] * len(models), as_they_are, 0), *ends]

    def losses() -> list[float]:
        placed = ([each.apply(model) for each, model in zip(end.symmetries, models, strict=True)] for end in candidates)
        return [judge.loss_of_mean(each, progress=progress) for each in placed]

    measured = distributed.by_writer(losses)  # processors may round differently
    lowest = measured.index(min(measured))
    sweeps = sum(end.sweeps for end in ends)
    return replace(candidates[lowest], midpoint_loss=measured[lowest], sweeps=sweeps)


def _learned(
    aligner: Aligner,
    learner: Learner,
    models: Sequence[Mapping[str, Tensor]],
    found: JointMatch,
    progress: Progress,
) -> JointMatch:
    """What the models learn one after the other, each towards the mean of the others; no move raises their mean's loss.

    The loss is that of the learner's judge, on examples that no step sees.
    """
    seeds = np.random.default_rng(aligner.alignment.seed).integers(2**31, size=len(models)).tolist()

    def learn(match: JointMatch) -> tuple[list[dict[str, Tensor]], float]:
        permutations = [units_of(each) for each in match.symmetries]
        placed = [each.apply(model) for each, model in zip(permutations, models, strict=True)]
        lowest = learner.judge.loss_of_mean(placed, progress=progress)
        progress.start("learning together", len(models) * aligner.pieces)
        for number, (model, seed) in enumerate(zip(models, seeds, strict=True)):
            others = _mean([each for k, each in enumerate(placed) if k != number])
            end = aligner.learn(others, model, permutations[number], seed=seed, progress=progress).permutation
            trial = [*placed[:number], end.apply(model), *placed[number + 1 :]]
            loss = learner.judge.loss_of_mean(trial, progress=progress)
            if loss < lowest:
                permutations[number], placed, lowest = end, trial, loss
        progress.finish()
        return [dict(each.index) for each in permutations], lowest

    [(indices, loss)] = sharing.share_out([found], learn)
    return replace(found, symmetries=[Permutation(aligner.spec, index) for index in indices], midpoint_loss=loss)


def _learned_in_turn(
    aligner: Aligner, learner: Learner, models: Sequence[Mapping[str, Tensor]], progress: Progress
) -> JointMatch:
    """Each model is learned to the mean of those before it, the first of which stays as it is.

    Of five perceptrons (digits, ReLU, no norm, two sets) the mean then has a training loss of .024 and .021; with each
    learned to the first one it has .201 and .300, and .058 and .045 where these then learn once more, a tenth of the
    steps, to the mean of the others.
    """
    progress.start("learning together", (len(models) - 1) * aligner.pieces)

    def learn(models: Sequence[Mapping[str, Tensor]]) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
        found, placed = [aligner.identity], [models[0]]
        for model in models[1:]:
            found.append(aligner.match(_mean(placed), model, progress=progress).symmetry)
            placed.append(found[-1].apply(model))
        objective = fmean(aligner.objective(a, b) for a, b in combinations(placed, 2))
        loss = learner.judge.loss_of_mean(placed, progress=progress)
        return [each.to_tensors() for each in found], {"objective": objective, "midpoint_loss": loss}

    [(found, figures)] = sharing.share_out([models], learn)
    progress.finish()
    return JointMatch([aligner.symmetry(each) for each in found], sweeps=0, **figures)


def apply_jointly(
    aligner: Aligner, reference: Checkpoint, models: Sequence[Checkpoint], *, progress: Progress = SILENT
) -> list[Aligned]:
    """`models` and `reference` aligned together, `models` under the names that the units of `reference` have.

    The order of the models is of no matter, nor, but for the names, which one is the reference. See `match_jointly`.
    """
    members = [reference, *models]
    order = sorted(range(len(members)), key=lambda number: members[number].sha256)
    found = match_jointly(aligner, [members[number].tensors for number in order], progress=progress)
    into = dict(zip(order, found.symmetries, strict=True))
    first = into.pop(0)
    there = first.apply(reference.tensors)

    def aligned(number: int, model: Checkpoint) -> Aligned:
        symmetry = one_after_the_other(into[number], first.inverse())
        match = Match.of(
            symmetry,
            objective=inner_product(aligner.spec, there, into[number].apply(model.tensors)),
            sweeps=found.sweeps,
            restarts=aligner.alignment.restarts,
            moved=units_of(symmetry).moved(),
            midpoint_loss=found.midpoint_loss,
        )
        match = aligner.checked(match, model.tensors)
        return Aligned(reference, model, match, aligner.alignment, joint=len(members))

    return [aligned(number, model) for number, model in enumerate(models, 1)]


def tensors_jointly(
    aligner: Aligner, models: Sequence[Checkpoint], *, progress: Progress = SILENT
) -> list[Mapping[str, Tensor]]:
    """State dicts of `models`, aligned together under the names of the first, or as they are where nothing is aligned.

    See `apply_jointly`.
    """
    first, *others = models
    if not aligner.active:
        return [model.tensors for model in models]
    return [first.tensors, *(each.tensors for each in apply_jointly(aligner, first, others, progress=progress))]


def _mean(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts: of floats, in their types; the rest is the first one's."""
    return {
        name: torch.stack([computable(model[name]).double() for model in models]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in models[0].items()
    }
