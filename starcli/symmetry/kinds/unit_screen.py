"""Signs and scales that cannot act, told for all groups together by a few backward passes.

Let the weights that read one unit of each group be zero. No output then depends on what writes these units, and the
derivatives along the weights that read one are what it would add. Where what writes a unit is multiplied by a factor,
as an element does, these derivatives must be divided by the factors that the element has where it is read.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.kinds.derivatives import place_blocks, place_derivatives, unit_view
from starcli.symmetry.kinds.elements import Acts
from starcli.symmetry.kinds.setting import GenericSetting
from starcli.symmetry.proof.evaluation import difference
from starcli.symmetry.proof.places import GroupPlace
from starcli.symmetry.proof.prove import TOLERANCE

Claim = tuple[str, int]
"""A group, and the number of one of the ways in which something acts on it."""
EQUAL_SLOPES = 1e-6
"""Largest relative difference of derivatives that are the same."""
Computed = TypeVar("Computed")


class UnitScreen:
    """Groups of which the first unit is read by zeros alone, at generic weights, and derivatives along what reads it.

    Those where that does not keep the unit from the outputs (a stream under LayerNorm) are not screened.
    """

    def __init__(self, setting: GenericSetting, groups: Collection[str]) -> None:
        """Find the groups, of `groups`, that can be screened; one example is enough."""
        self.setting = setting
        self.inputs = tuple(each[:1] if each.dim() else each for each in setting.reference.inputs)
        self.seed = int(torch.randint(2**31, (), generator=setting.generator))
        self.readers = {name: [place for place in setting.places[name] if place.axis] for name in groups}
        writers = {name: setting.flippable([p for p in setting.places[name] if p.axis == 0]) for name in groups}
        names = [name for name, at in self.readers.items() if at]
        faulty = _at_fault(names, lambda some: self._changed([p for name in some for p in writers[name]], some))
        self.groups = [name for name in names if name not in faulty]
        self.before = self._derivatives({})

    def possible(self, elements: Mapping[Claim, Acts]) -> dict[Claim, Acts]:
        """Those of some diagonal elements that may act, as far as their first units tell."""
        rounds: list[dict[str, Claim]] = []
        for claim in elements:
            if claim[0] in self.groups:
                free = next((each for each in rounds if claim[0] not in each), None)
                rounds += [{}] if free is None else []
                (rounds[-1] if free is None else free)[claim[0]] = claim
        impossible = {claim for each in rounds for claim in self._refuted(elements, list(each.values()))}
        return {claim: acts for claim, acts in elements.items() if claim not in impossible}

    def _refuted(self, elements: Mapping[Claim, Acts], claims: Sequence[Claim]) -> set[Claim]:
        """Which of these claims, one for each group, cannot hold."""
        factors = {place: act[..., 0] for claim in claims for place, act in elements[claim].items() if place.axis == 0}
        after = self._derivatives(factors)
        found = set()
        for claim in claims:
            for place in (place for place in self.readers[claim[0]] if place in self.before and place in after):
                acts = elements[claim]
                expected = self.before[place] / acts[place][..., 0].flatten() if place in acts else self.before[place]
                size = max(float(expected.norm()), float(after[place].norm()))
                if size > TOLERANCE and float((after[place] - expected).norm()) > EQUAL_SLOPES * size:
                    found.add(claim)
        return found

    def _derivatives(self, factors: Mapping[GroupPlace, Tensor]) -> dict[GroupPlace, Tensor]:
        """By the first unit at every place that reads it; by the same projection of the outputs each time."""
        setting, generator = self.setting, torch.Generator().manual_seed(self.seed)
        at = [place for name in self.groups for place in self.readers[name]]

        def derived() -> dict[GroupPlace, Tensor]:
            found = place_derivatives(setting.spec, setting.reference, at, 1, generator, setting.base, [self.inputs])
            return {place: each.diagonal[..., 0] for place, each in found.items()}

        try:
            return self._at(self._tensors(factors, self.groups), derived) if at else {}
        except (RuntimeError, StarcliError):
            return {}

    def _changed(self, writers: Collection[GroupPlace], groups: Collection[str]) -> bool:
        """Whether flips of the first units of groups, where they are written, change the outputs."""

        def outputs(at: Collection[GroupPlace]) -> list[Tensor]:
            flips = {place: -torch.ones(self.setting.shape(place.group)[:-1], dtype=torch.float64) for place in at}
            return self._at(self._tensors(flips, groups), lambda: self.setting.subject.run(self.inputs))

        try:
            first, second = outputs(()), outputs(writers)
        except StarcliError:  # outputs that are not finite, or a network that takes no single example
            return True
        return not difference(first, second, self.setting.reference.scale) < TOLERANCE

    def _at(self, tensors: Mapping[str, Tensor], compute: Callable[[], Computed]) -> Computed:
        """What is computed where some tensors have other values."""
        setting = self.setting
        setting.subject.load(setting.spec.under_all_names(tensors))
        try:
            return compute()
        finally:
            setting.subject.load(setting.spec.under_all_names({name: setting.base[name] for name in tensors}))

    def _tensors(self, factors: Mapping[GroupPlace, Tensor], groups: Collection[str]) -> dict[str, Tensor]:
        """The tensors that change where the first units of groups are read by zeros, and multiplied at some places.

        Factors are of shape (parents...).
        """
        made: dict[str, Tensor] = {}
        zeros = {place: torch.zeros(()) for name in groups for place in self.readers[name]}
        for place, factor in (*factors.items(), *zeros.items()):
            tensor = made.setdefault(place.tensor, self.setting.base[place.tensor].to(torch.float64, copy=True))
            for block, k in place_blocks(self.setting.spec, place):
                first = unit_view(block, k, tensor).select(len(self.setting.shape(place.group)) - 1, 0)
                first.mul_(factor.reshape((*factor.shape, *[1] * (first.dim() - factor.dim()))))
        return made


def _at_fault(names: list[str], faulty: Callable[[list[str]], bool]) -> set[str]:
    """Those of which some alone, or in the company of others, are `faulty`, by bisection."""
    if not names or not faulty(names):
        return set()
    if len(names) == 1:
        return set(names)
    half = len(names) // 2
    return _at_fault(names[:half], faulty) | _at_fault(names[half:], faulty) or set(names)
