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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from starcli.alignment.align import Alignment
from starcli.alignment.aligned import Aligned
from starcli.alignment.aligner import Aligner
from starcli.alignment.learned.learner import Learner
from starcli.alignment.matching.method import Match
from starcli.alignment.objective import inner_product
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.errors import StarcliError, need_several
from starcli.models.state_dicts import computable
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.permutation import Permutation

HELD_BYTES = 2**31
"""What the method compares is held where that of all models takes no more, else made anew each time it is needed."""
MOST_ROUNDS = 100
"""Rounds after which models are taken where they are; 3 to 10 are usual."""


@dataclass(frozen=True)
class JointMatch:
    """Permutations of several models into one frame, one each, and how they were found."""

    permutations: Sequence[Permutation]
    objective: float
    """Mean inner product of two models, as the method compares them, in float64."""
    rounds: int
    """Times that every model was matched to the mean of the others, at the end without a move."""
    sweeps: int
    midpoint_loss: float | None = None
    """Training loss of the models' mean, where ends are chosen by it."""


def check_joint(alignment: Alignment) -> None:
    """Raise StarcliError for an alignment that finds more than permutations, which all that is joint is made of."""
    if alignment.uses_kinds:
        raise StarcliError(f"joint alignment finds permutations: not by {alignment.title}")


def match_jointly(
    aligner: Aligner, models: Sequence[Mapping[str, Tensor]], *, progress: Progress = SILENT
) -> JointMatch:
    """Find permutations of `models`, state dicts, under which they are nearest to each other.

    All are matched to one of them, then each to the mean of the others, in random orders, until nothing moves. The
    alignment's restarts are as many starts, each from another model; the highest end is kept. Where it selects by the
    midpoint, that is done for each of its `ends`, and of these and of the models as they are the one is kept whose mean
    has the lowest training loss. With methods that learn, each model then learns once on the loss half way to the mean
    of the others, and stays where that lowers the loss of the mean of all. The ranks share the starts.
    StarcliError for a single model and for alignment by all kinds of symmetries, Interrupted where `progress` asks to
    stop before a move.
    """
    need_several(models, "joint alignment")
    check_joint(aligner.alignment)
    how, spec = aligner.alignment, aligner.spec
    ends, starts = how.ends or 1, max(1, how.restarts)
    progress.start("aligning together", distributed.own_share(ends * starts))

    def from_start(place: tuple[int, int]) -> dict[str, Any]:
        frame = _Frame(aligner, models, *place, progress)
        frame.gather()
        rounds = frame.settle()
        progress.step()
        # what ranks tell each other: no spec
        indices = [dict(each.index) for each in frame.permutations]
        return {"indices": indices, "objective": frame.objective, "rounds": rounds, "sweeps": frame.sweeps}

    found = distributed.share_out([(end, start) for end in range(ends) for start in range(starts)], from_start)
    progress.finish()
    matches = [JointMatch([Permutation(spec, index) for index in each.pop("indices")], **each) for each in found]
    highest = [max(matches[k : k + starts], key=lambda match: match.objective) for k in range(0, len(matches), starts)]
    best = highest[0] if aligner.judge is None else _best_mean(aligner, models, highest, progress)
    return best if aligner.learner is None else _learned(aligner, aligner.learner, models, best, progress)


def _best_mean(
    aligner: Aligner, models: Sequence[Mapping[str, Tensor]], ends: Sequence[JointMatch], progress: Progress
) -> JointMatch:
    """The end whose mean has the lowest loss, among `ends` and the models as they are."""
    judge, identity = aligner.judge, Permutation.identity(aligner.spec)
    assert judge is not None
    as_they_are = _Frame(aligner, models, 0, 0, progress).objective
    candidates = [JointMatch([identity] * len(models), as_they_are, 0, 0), *ends]

    def losses() -> list[float]:
        placed = (
            [each.apply(model) for each, model in zip(end.permutations, models, strict=True)] for end in candidates
        )
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
        permutations = list(match.permutations)
        placed = [each.apply(model) for each, model in zip(permutations, models, strict=True)]
        lowest = learner.judge.loss_of_mean(placed, progress=progress)
        progress.start("learning together", len(models))
        for number, (model, seed) in enumerate(zip(models, seeds, strict=True)):
            others = _mean([each for k, each in enumerate(placed) if k != number])
            end = aligner.learn(others, model, permutations[number], seed=seed, progress=progress).permutation
            trial = [*placed[:number], end.apply(model), *placed[number + 1 :]]
            loss = learner.judge.loss_of_mean(trial, progress=progress)
            if loss < lowest:
                permutations[number], placed, lowest = end, trial, loss
            progress.step()
        progress.finish()
        return [dict(each.index) for each in permutations], lowest

    [(indices, loss)] = distributed.share_out([found], learn)
    return replace(found, permutations=[Permutation(aligner.spec, index) for index in indices], midpoint_loss=loss)


def apply_jointly(
    aligner: Aligner, reference: Checkpoint, models: Sequence[Checkpoint], *, progress: Progress = SILENT
) -> list[Aligned]:
    """`models` and `reference` aligned together, `models` under the names that the units of `reference` have.

    The order of the models is of no matter, nor, but for the names, which one is the reference. See `match_jointly`.
    """
    members = [reference, *models]
    order = sorted(range(len(members)), key=lambda number: members[number].sha256)
    found = match_jointly(aligner, [members[number].tensors for number in order], progress=progress)
    into = dict(zip(order, found.permutations, strict=True))
    back = into.pop(0).inverse()

    def aligned(number: int, model: Checkpoint) -> Aligned:
        permutation = into[number].compose(back)
        objective = inner_product(aligner.spec, reference.tensors, permutation.apply(model.tensors))
        how = (found.sweeps, aligner.alignment.restarts, permutation.moved(), found.midpoint_loss)
        match = Match(permutation, objective, *how)
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


class _Frame:
    """Models in a common frame: their permutations so far, and the sum of what they are under these."""

    def __init__(
        self, aligner: Aligner, models: Sequence[Mapping[str, Tensor]], end: int, start: int, progress: Progress
    ) -> None:
        """Take `models` as they are; an `end` has a seed and examples of its own, a `start` another first model."""
        self.method, self.spec = aligner.alignment.match_method, aligner.compared_spec
        self.models = aligner.compared(models, draw=end)
        numbers = sum(math.prod(self.spec.shapes[name]) for name in self.spec.learnable())
        if 4 * numbers * len(models) <= HELD_BYTES:
            self.models = list(self.models)
        self.progress, self.sweeps = progress, 0
        self.generator = np.random.default_rng([aligner.alignment.seed + end, start])
        self.first, self.cold = (end + start) % len(models), min(1, aligner.alignment.restarts)
        self.permutations = [Permutation.identity(self.spec)] * len(models)
        self._add_up()

    def _add_up(self) -> None:
        """Sum what the models are in the common frame."""
        shapes = {name: self.spec.shapes[name] for name in self.spec.learnable()}
        self.sum, self.squares = {name: torch.zeros(n, dtype=torch.float64) for name, n in shapes.items()}, 0.0
        for number in range(len(self.models)):
            placed = self._placed(number)
            self.sum = {name: total + placed[name] for name, total in self.sum.items()}
            self.squares += _square(placed)

    def gather(self) -> None:
        """Match all to the first model of this start."""
        others = [number for number in range(len(self.models)) if number != self.first]
        matches = self._matches(self.models[self.first], others, [None] * len(others), self.cold)
        for number, match in zip(others, matches, strict=True):
            self.permutations[number] = match.permutation
        self._add_up()

    def settle(self) -> int:
        """Match each model to the mean of the others until none moves, and return the number of rounds."""
        for count in range(1, MOST_ROUNDS + 1):
            order = self.generator.permutation(len(self.models)).tolist()
            if not sum([self._move(number) for number in order]):
                return count
        return MOST_ROUNDS

    @property
    def objective(self) -> float:
        """Mean inner product over the pairs: (|sum|^2 - sum of |.|^2) over twice their number."""
        count = len(self.models)
        return (_square(self.sum) - self.squares) / (count * (count - 1))

    def _move(self, number: int) -> int:
        """Match a model to the mean of the others from where it is, and return the number of units that moved."""
        self.progress.stop_if_asked()
        before = self._placed(number)
        others = len(self.models) - 1
        mean = {name: (total - before[name]).float() / others for name, total in self.sum.items()}
        # buffers, which nothing is matched on, are the model's own
        [match] = self._matches(
            {**self.models[number], **dict(self.spec.under_all_names(mean))}, [number], [self.permutations[number]], 1
        )
        if match.moved:
            self.permutations[number] = match.permutation
            after = self._placed(number)
            self.sum = {name: total + (after[name].double() - before[name]) for name, total in self.sum.items()}
        return match.moved

    def _matches(
        self,
        reference: Mapping[str, Tensor],
        numbers: Sequence[int],
        starts: Sequence[Permutation | None],
        restarts: int,
    ) -> list[Match]:
        """Match the models of these numbers to `reference`, each with a seed of its own."""
        seeds = self.generator.integers(2**31, size=len(numbers)).tolist()
        models = [self.models[number] for number in numbers]
        found = self.method.match_all(reference, models, self.spec, seeds=seeds, restarts=restarts, starts=starts)
        self.sweeps += sum(match.sweeps for match in found)
        return found

    def _placed(self, number: int) -> dict[str, Tensor]:
        """What is matched on of a model, in the common frame."""
        own = {name: computable(self.models[number][name].detach()).cpu() for name in self.spec.learnable()}
        return self.permutations[number].apply(own)


def _mean(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts: of floats, in their types; the rest is the first one's."""
    return {
        name: torch.stack([computable(model[name]).double() for model in models]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in models[0].items()
    }


def _square(tensors: Mapping[str, Tensor]) -> float:
    """Sum of squares in float64."""
    return sum(float(torch.linalg.vector_norm(tensor.double()) ** 2) for tensor in tensors.values())
