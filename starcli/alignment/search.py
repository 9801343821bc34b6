"""The search for the symmetry that brings one model nearest to another, both of one workspace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from starcli.alignment.activations import Activations
from starcli.alignment.alignment import Alignment
from starcli.alignment.matching.method import Match
from starcli.alignment.matching.problem import costs_device
from starcli.alignment.midpoint import MidpointJudge
from starcli.alignment.objective import inner_product
from starcli.alignment.select import best_end
from starcli.runtime.progress import SILENT, Progress
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.element import Element
from starcli.symmetry.kinds.kinds import Kinds
from starcli.symmetry.normal_form import normal_element
from starcli.symmetry.permutation import Permutation
from starcli.symmetry.symmetries import Symmetry, read_like

if TYPE_CHECKING:
    from starcli.workspace.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Search:
    """Searches in `workspace` as `alignment` says, before anything is learned; examples are read once."""

    alignment: Alignment
    workspace: "Workspace"

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
        """The symmetry that a search found, from its `to_tensors`. StarcliError where these are of another network."""
        return read_like(self.identity, tensors)

    @property
    def identity(self) -> Symmetry:
        """The identity, which leaves a model as it is."""
        return Permutation.identity(self.spec) if self.kinds is None else Element.identity(self.kinds)

    @cached_property
    def _activations(self) -> Activations | None:
        """What puts activations beside the weights, where the method reads them."""
        return Activations(self.workspace, self.alignment) if self.alignment.reads_activations else None

    @cached_property
    def judge(self) -> MidpointJudge | None:
        """The judge of several ends, where they are chosen by midpoint loss."""
        return MidpointJudge(self.workspace) if self.alignment.select == "midpoint" else None

    def searched(
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

    def _end(
        self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], number: int, seed: int, progress: Progress
    ) -> Match:
        """End `number` of the search that begins with `seed`: with a seed, and on examples, of its own."""
        if self.kinds is not None:
            return self.best_element(reference, model, seed + number, self.alignment.restarts, progress=progress)
        return self.best_permutation(reference, model, number, seed, progress)

    def best_permutation(
        self, reference: Mapping[str, Tensor], model: Mapping[str, Tensor], number: int, seed: int, progress: Progress
    ) -> Match:
        """That end of a search among permutations alone."""
        compared = self.compared([reference, model], draw=number)
        found = self.alignment.match_method.one(
            *compared,
            self.compared_spec,
            seed=seed + number,
            restarts=self.alignment.restarts,
            device=self.costs_device,
            progress=progress,
        )
        return self.of_weights(found, reference, model)

    def best_element(
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

    @property
    def compared_spec(self) -> Resolved:
        """Spec of what is compared."""
        return self.spec if self._activations is None else self._activations.spec

    @property
    def costs_device(self) -> torch.device:
        """Device on which costs are computed."""
        return costs_device(self.compared_spec, self.workspace.device, self.workspace.precision)

    def compared(self, models: Sequence[Mapping[str, Tensor]], *, draw: int = 0) -> Sequence[Mapping[str, Tensor]]:
        """State dicts as the method compares them, each made when it is asked for; `draw`: on which examples."""
        return models if self._activations is None else _Beside(self._activations.drawn(draw), models)

    def of_weights(self, match: Match, reference: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> Match:
        """The same match with the objective of the weights alone, where activations were compared or it was learned."""
        if self._activations is None and not self.alignment.learns:
            return match
        permutation = Permutation(self.spec, match.permutation.index)
        seen = self.spec.seen(model)
        moved = permutation.apply({name: seen[name] for name in self.spec.learnable()})  # no buffer counts
        objective = inner_product(self.spec, reference, moved)
        return replace(match, permutation=permutation, objective=objective)


class _Beside(Sequence[Mapping[str, Tensor]]):
    """State dicts with activations beside the weights, made when they are asked for."""

    def __init__(self, activations: Activations, models: Sequence[Mapping[str, Tensor]]) -> None:
        self.activations, self.models = activations, models

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, number: Any) -> Any:
        return self.activations.beside(self.models[number])
