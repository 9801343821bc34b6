"""Models of one workspace, aligned: the one way to match (search, and learn from there) and to apply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from starcli.alignment.aligned import Aligned
from starcli.alignment.cached import CachedMatch
from starcli.alignment.learned.learn_element import learn_element
from starcli.alignment.learned.learner import Learner
from starcli.alignment.learned.lesson import Lesson
from starcli.alignment.matching.method import Match
from starcli.alignment.matching.restarts import wave_sizes
from starcli.alignment.normalised import note_near_zero
from starcli.alignment.search import Search
from starcli.alignment.unchanged import RoundsTooMuch, check_acted
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.runtime import sharing
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.rehearsal import alike_if_rehearsed
from starcli.runtime.threads import in_threads
from starcli.symmetry.element import Element
from starcli.symmetry.symmetries import Symmetry, units_of


@dataclass(frozen=True, eq=False)
class Aligner(Search):
    """Aligns models of `workspace` as `alignment` says; the examples that this takes are read once."""

    @property
    def active(self) -> bool:
        """Whether models are aligned at all."""
        return self.alignment.active

    @cached_property
    def learner(self) -> Learner | None:
        """The learner that goes on from the end of the search, where the method learns."""
        relax = self.alignment.match_method.relax
        return None if relax is None else Learner(self.workspace, relax)

    @property
    def waves(self) -> list[int]:
        """Pieces of one match that ranks can share; none of what is learned, step after step."""
        return [] if self.alignment.learns else wave_sizes(self.alignment.restarts)

    @property
    def pieces(self) -> int:
        """Steps of progress that a match counts: those of learning, else one."""
        return int(self.alignment.steps or 1)

    def match(
        self,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        *,
        seed: int | None = None,
        progress: Progress = SILENT,
    ) -> Match:
        """The permutation of `model` that brings it nearest to `reference`, both state dicts, in the best search.

        Where the alignment uses all kinds of symmetries, the element of these (`Match.element`).

        seed: of the search; None: the alignment's. Of several ends it is the one of lowest midpoint loss, where the
        alignment selects by that. A method that learns goes on from there. StarcliError where this alignment has no
        method, the tensors do not fit the spec or are not finite, or an element would not leave the function as it is.
        """
        seed = self.alignment.seed if seed is None else seed
        if self.learner is None:
            match = self.checked(self.searched(reference, model, seed, progress), model)
            progress.step()
            return match
        kept = CachedMatch(self.workspace, self.alignment, seed, reference, model)
        if (found := kept.recall(self.symmetry)) is not None:
            progress.step(self.pieces)
            return found
        starts = [self.searched(reference, model, seed, progress)]
        if self.kinds is not None:
            starts.append(self.best_permutation(reference, model, 0, seed, progress))
        lesson = self._lesson(reference, model, seed=seed, progress=progress, keeper=kept)
        return kept.put(self._learned(lesson, starts))

    def checked(self, match: Match, model: Mapping[str, Tensor]) -> Match:
        """A match of `model`, with the change that rounding makes where an element acts.

        StarcliError where the function would not stay the same, seen on the model itself.
        """
        if match.element is None:
            return match
        moved = match.element.apply(model)
        return replace(match, difference=check_acted(self.workspace, match.element, model, moved))

    def _rounds_too_much(self, model: Mapping[str, Tensor], element: Element) -> bool:
        """Whether `checked` would refuse the element for what rounding alone does."""
        try:
            check_acted(self.workspace, element, model, element.apply(model))
        except RoundsTooMuch:
            return True
        return False

    def _lesson(self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], **how: Any) -> Lesson:
        """What is to be learned of a pair; `how` are further fields of a `Lesson`."""
        steps, rate = int(self.alignment.steps or 0), float(self.alignment.lr or 0)
        return Lesson(reference=reference, model=model, **{"steps": steps, "rate": rate, **how})

    def _learned(self, lesson: Lesson, starts: Sequence[Match]) -> Match:
        """What is learned from the best of `starts`."""
        assert self.learner is not None
        if self.kinds is None:
            [found] = starts
            learned = self.learner.learn(lesson, found.permutation)
            match = replace(found, permutation=learned.symmetry, midpoint_loss=learned.midpoint_loss)
            match = self.of_weights(match, lesson.reference, lesson.model)
        else:
            rounds_too_much = partial(self._rounds_too_much, lesson.model)
            match = learn_element(self.learner, lesson, self.kinds, starts, rounds_too_much)
        match = self.checked(match, lesson.model)
        return replace(match, moved=match.permutation.moved())

    def learn(
        self,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        start: Symmetry,
        *,
        seed: int,
        steps: int | None = None,
        progress: Progress = SILENT,
    ) -> Match:
        """The match that a learning method finds from `start`, without a search, in `steps` steps or all of its own.

        Units count as moved where they are elsewhere than at the start.
        """
        steps = int(self.alignment.steps or 0) if steps is None else steps
        lesson = self._lesson(reference, model, seed=seed, steps=steps, progress=progress)
        match = self._learned(lesson, [Match.of(start, objective=0.0, sweeps=0, restarts=0, moved=0)])
        return replace(match, moved=match.permutation.moved(units_of(start)))

    def match_all(
        self,
        reference: Mapping[str, Tensor],
        models: Sequence[Mapping[str, Tensor]],
        *,
        seeds: Sequence[int],
        restarts: int,
        starts: Sequence[Symmetry | None],
    ) -> list[Match]:
        """Match each of `models` to `reference`, each with its seed and from its start; see `match`.

        What was learned is learned on from its start, without a search, in a tenth of the steps.
        """
        if self.learner is None and self.kinds is not None:
            each = enumerate(zip(seeds, starts, strict=True))
            elements = (
                self.best_element(reference, models[n], seed, restarts, start=start) for n, (seed, start) in each
            )
            return [self.checked(match, models[n]) for n, match in enumerate(elements)]
        if self.learner is None:
            [first] = self.compared([reference])
            how: dict[str, Any] = {"seeds": seeds, "restarts": restarts, "starts": starts}
            found = self.alignment.match_method.match_all(
                first, self.compared(models), self.compared_spec, device=self.costs_device, **how
            )
            if not self.alignment.reads_activations:
                return found

            def own(number: int) -> Match:
                return self.of_weights(found[number], reference, models[number])

            return list(in_threads(own, range(len(found))))
        return [
            self.match(reference, models[number], seed=seed)
            if start is None
            else self.learn(reference, models[number], start, seed=seed, steps=self.alignment.later_steps)
            for number, (seed, start) in enumerate(zip(seeds, starts, strict=True))
        ]

    def permuted(
        self,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        *,
        seed: int | None = None,
        progress: Progress = SILENT,
    ) -> Mapping[str, Tensor]:
        """`model` under the units' names of `reference`, both state dicts; as it is where nothing is to be aligned."""
        if not self.active:
            return model
        return self.match(reference, model, seed=seed, progress=progress).symmetry.apply(model)

    def apply(self, reference: Checkpoint, model: Checkpoint, *, progress: Progress = SILENT) -> Aligned:
        """`model` aligned to `reference`: the match and all that follows from it."""
        match = self.match(reference.tensors, model.tensors, progress=progress)
        if match.element is not None:
            note_near_zero(match.element.kinds, reference, progress)
        return Aligned(reference, model, match, self.alignment)

    def apply_to_all(
        self, reference: Checkpoint, models: Sequence[Checkpoint], *, progress: Progress = SILENT
    ) -> list[Aligned]:
        """Each of `models` aligned to `reference` on its own, exactly as `apply` would; the ranks share them."""
        progress.start("aligning", sharing.own_share(len(models), self.waves) * self.pieces)
        if self.kinds is not None:
            note_near_zero(self.kinds, reference, progress)

        def found(model: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
            match = self.match(reference.tensors, model.tensors, progress=progress)
            return match.symmetry.to_tensors(), match.figures()  # what ranks tell each other: neither spec nor weights

        what = f"alignment of a model: {self.alignment.title}"
        matches = alike_if_rehearsed(what, models, lambda own: sharing.share_out(own, found, self.waves))
        progress.finish()
        return [
            Aligned(reference, model, Match.of(self.symmetry(found), **figures), self.alignment)
            for model, (found, figures) in zip(models, matches, strict=True)
        ]

    def tensors_of_all(
        self, reference: Checkpoint, models: Sequence[Checkpoint], *, progress: Progress = SILENT
    ) -> list[Mapping[str, Tensor]]:
        """State dicts of `models`, aligned to `reference` where this alignment has a method, else as they are."""
        if not self.active:
            return [model.tensors for model in models]
        return [each.tensors for each in self.apply_to_all(reference, models, progress=progress)]
