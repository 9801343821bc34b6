"""Models of one workspace, aligned: the one way to match and apply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from starcli.alignment.activations import Activations
from starcli.alignment.align import Alignment
from starcli.alignment.aligned import Aligned
from starcli.alignment.cached import CachedMatch
from starcli.alignment.learned.learn_element import learn_element
from starcli.alignment.learned.learner import Learner
from starcli.alignment.learned.lesson import Lesson
from starcli.alignment.matching.method import Match
from starcli.alignment.matching.restarts import wave_sizes
from starcli.alignment.midpoint import MidpointJudge
from starcli.alignment.normalised import note_near_zero
from starcli.alignment.objective import inner_product
from starcli.alignment.select import best_end
from starcli.alignment.unchanged import check_acted
from starcli.checkpoints.checkpoint import Checkpoint
from starcli.runtime import distributed
from starcli.runtime.progress import SILENT, Progress
from starcli.runtime.rehearsal import alike
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.element import Element, Symmetry, read_like, units_of
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import normal_element
from starcli.symmetry.permutation import Permutation

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Aligner:
    """Aligns models of `workspace` as `alignment` says; the examples that this takes are read once."""

    alignment: Alignment
    workspace: "Workspace"

    @property
    def active(self) -> bool:
        """Whether models are aligned at all."""
        return self.alignment.active

    @property
    def spec(self) -> Resolved:
        """The spec of the network."""
        return self.workspace.spec.resolved

    @cached_property
    def kinds(self) -> Kinds | None:
        """All that acts on the units of the network, where models are aligned by that; None: permutations alone."""
        kinds = self.workspace.kinds if self.alignment.uses_kinds else None
        return None if kinds is None or kinds.only_permutations else kinds

    def symmetry(self, tensors: Mapping[str, Tensor]) -> Symmetry:
        """What was found by this aligner, from its `to_tensors`. StarcliError where these are of another network."""
        return read_like(self.identity, tensors)

    @property
    def identity(self) -> Symmetry:
        """What leaves a model as it is."""
        return Permutation.identity(self.spec) if self.kinds is None else Element.identity(self.kinds)

    @cached_property
    def _activations(self) -> Activations | None:
        """What puts activations beside the weights, where the method reads them."""
        return Activations(self.workspace, self.alignment) if self.alignment.reads_activations else None

    @cached_property
    def judge(self) -> MidpointJudge | None:
        """What chooses among several ends, where they are chosen by midpoint loss."""
        return MidpointJudge(self.workspace) if self.alignment.select == "midpoint" else None

    @cached_property
    def learner(self) -> Learner | None:
        """What goes on from the end of the search, where the method learns."""
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
            match = self.checked(self._searched(reference, model, seed, progress), model)
            progress.step()
            return match
        kept = CachedMatch(self.workspace, self.alignment, seed, reference, model)
        if (found := kept.recall(self.symmetry)) is not None:
            progress.step(self.pieces)
            return found
        starts = [self._searched(reference, model, seed, progress)]
        if self.kinds is not None:
            starts.append(self._permutation(reference, model, 0, seed, progress))
        lesson = self._lesson(reference, model, seed=seed, progress=progress, keeper=kept)
        return kept.put(self._learned(lesson, starts))

    def _searched(
        self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], seed: int, progress: Progress
    ) -> Match:
        """The end of the search, or the best of several."""
        if self.judge is None:
            return self._end(reference, model, 0, seed, progress)
        ends = (self._end(reference, model, number, seed, progress) for number in range(self.alignment.ends or 0))
        now = self.objective(reference, model)
        as_it_is = Match.of(self.identity, objective=now, sweeps=0, restarts=0, moved=0)
        return best_end(self.judge, as_it_is, reference, model, ends, progress=progress)

    def objective(self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> float:
        """Inner product of two models as they are; of their normal forms where all kinds of symmetries are used."""
        if self.kinds is None:
            return inner_product(self.spec, reference, model)
        normal = (normal_element(self.kinds, each).apply(each) for each in (reference, model))
        return inner_product(self.kinds.spec, *normal)

    def checked(self, match: Match, model: Mapping[str, Tensor]) -> Match:
        """A match of `model`, with the change that rounding makes where an element acts.

        StarcliError where the function would not stay the same, seen on the model itself.
        """
        if match.element is None:
            return match
        moved = match.element.apply(model)
        return replace(match, difference=check_acted(self.workspace, match.element, model, moved))

    def _end(
        self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], number: int, seed: int, progress: Progress
    ) -> Match:
        """End `number` of the search that begins with `seed`: with a seed, and on examples, of its own."""
        if self.kinds is not None:
            return self._element(reference, model, seed + number, self.alignment.restarts, progress=progress)
        return self._permutation(reference, model, number, seed, progress)

    def _permutation(
        self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], number: int, seed: int, progress: Progress
    ) -> Match:
        """That end of a search among permutations alone."""
        compared = self.compared([reference, model], draw=number)
        found = self.alignment.match_method.one(
            *compared, self.compared_spec, seed=seed + number, restarts=self.alignment.restarts, progress=progress
        )
        return self._own(found, reference, model)

    def _element(
        self,
        reference: Mapping[str, Tensor],
        model: Mapping[str, Tensor],
        seed: int,
        restarts: int,
        *,
        start: Symmetry | None = None,
        progress: Progress = SILENT,
    ) -> Match:
        """The match over all kinds of symmetries."""
        over = self.alignment.match_method.elements
        assert over is not None
        return over(reference, model, self.kinds, seed=seed, restarts=restarts, start=start, progress=progress)

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
            match = self._own(match, lesson.reference, lesson.model)
        else:
            match = learn_element(self.learner, lesson, self.kinds, starts)
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
        """What a method that learns finds from `start`, without a search before; in `steps` steps, if not in all.

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
            elements = (self._element(reference, models[n], seed, restarts, start=start) for n, (seed, start) in each)
            return [self.checked(match, models[n]) for n, match in enumerate(elements)]
        if self.learner is None:
            [first] = self.compared([reference])
            found = self.alignment.match_method.match_all(
                first, self.compared(models), self.compared_spec, seeds=seeds, restarts=restarts, starts=starts
            )
            return [self._own(match, reference, models[number]) for number, match in enumerate(found)]
        return [
            self.match(reference, models[number], seed=seed)
            if start is None
            else self.learn(reference, models[number], start, seed=seed, steps=self.alignment.later_steps)
            for number, (seed, start) in enumerate(zip(seeds, starts, strict=True))
        ]

    @property
    def compared_spec(self) -> Resolved:
        """Spec of what is compared."""
        return self.spec if self._activations is None else self._activations.spec

    def compared(self, models: Sequence[Mapping[str, Tensor]], *, draw: int = 0) -> Sequence[Mapping[str, Tensor]]:
        """State dicts as the method compares them, each made when it is asked for; `draw`: on which examples."""
        return models if self._activations is None else _Beside(self._activations.drawn(draw), models)

    def _own(self, match: Match, reference: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> Match:
        """A match of what was compared or learned, as one of the weights: its objective is theirs."""
        if self._activations is None and self.learner is None:
            return match
        permutation = Permutation(self.spec, match.permutation.index)
        objective = inner_product(self.spec, reference, permutation.apply(model))
        return replace(match, permutation=permutation, objective=objective)

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
        progress.start("aligning", distributed.own_share(len(models), self.waves) * self.pieces)
        if self.kinds is not None:
            note_near_zero(self.kinds, reference, progress)

        def found(model: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
            match = self.match(reference.tensors, model.tensors, progress=progress)
            return match.symmetry.to_tensors(), match.figures()  # what ranks tell each other: neither spec nor weights

        what = f"alignment of a model: {self.alignment.title}"
        matches = alike(what, models, lambda own: distributed.share_out(own, found, self.waves))
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


class _Beside(Sequence[Mapping[str, Tensor]]):
    """State dicts with activations beside the weights, made when they are asked for."""

    def __init__(self, activations: Activations, models: Sequence[Mapping[str, Tensor]]) -> None:
        self.activations, self.models = activations, models

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, number: Any) -> Any:
        return self.activations.beside(self.models[number])
