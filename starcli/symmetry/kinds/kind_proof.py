"""Proof that finite elements leave a network's outputs alone, with a negative control for every place."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.kinds.claims import effect
from starcli.symmetry.kinds.derivatives import by_tensor
from starcli.symmetry.kinds.elements import Acts, act_, inverse
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.kinds.unit_screen import Claim, UnitScreen
from starcli.symmetry.proof.controls import NOTHING, THRESHOLD
from starcli.symmetry.proof.places import GroupPlace, redrawn_at
from starcli.symmetry.proof.trial import TOLERANCE

Doubtful = Callable[[Mapping[Claim, Acts]], set[GroupPlace]]
"""The places of elements which it may be that they need not act at."""


class KindProof:
    """Trials of elements at the generic weights of a setting, and the largest change by those that passed."""

    def __init__(self, setting: GenericSetting) -> None:
        """Nothing has been tried yet."""
        self.setting = setting
        self.spec, self.base, self.reference = setting.spec, setting.base, setting.reference
        self.worst = 0.0

    def holding(self, elements: Mapping[Claim, Acts], doubtful: Doubtful | None = None) -> list[Claim]:
        """The claims whose elements leave the outputs alone, and not if any place is left out.

        That is tried for the places that are `doubtful` among those of such elements: unless said, where the derivative
        does not show it; if any of them matters at all. Nothing is left of what acts at a single place.
        """
        refuted = self.refuted(elements)
        kept = {claim: acts for claim, acts in elements.items() if claim not in refuted}
        at = (doubtful or self._unclear)(kept) if kept else set()
        if not at or not self.redrawn(at) > NOTHING:
            return list(kept)
        return [claim for claim, acts in kept.items() if len(acts) == 1 or not self.unneeded(acts, acts.keys() & at)]

    def _unclear(self, elements: Mapping[Claim, Acts]) -> set[GroupPlace]:
        """Places at which derivatives do not show that what acts there matters."""
        return {place for acts in elements.values() for place, act in acts.items() if not self._matters(place, act)}

    def _matters(self, place: GroupPlace, act: Tensor) -> bool:
        """Whether derivatives show that what acts at a place matters there."""
        if place.group not in self.setting.found:
            return False  # the network cannot be differentiated
        return effect(self.setting.found[place.group][place], skew=self._is_matrix((place, act))) > THRESHOLD

    def _is_matrix(self, each: tuple[GroupPlace, Tensor]) -> bool:
        """Whether what acts at a place is a matrix, and not a diagonal."""
        place, act = each
        return act.dim() > len(self.setting.shape(place.group))

    def refuted(self, elements: Mapping[Claim, Acts]) -> set[Claim]:
        """Claims whose elements change the outputs by TOLERANCE of their spread or more.

        So do their inverses, or all other signs: scaled up and down, what is homogeneous in a part of its range alone
        shows. All are tried together; where that fails, those that may hold as far as few passes tell (see
        `UnitScreen`), then halves where one half is at fault, else each alone.
        """
        if self._hold(elements):
            return set()
        if len(elements) == 1:
            return set(elements)
        possible = self.possible(elements)
        bad = elements.keys() - possible
        return bad | (set() if bad and self._hold(possible) else self._at_fault(possible))

    def _at_fault(self, elements: Mapping[Claim, Acts]) -> set[Claim]:
        """Claims that are at fault among those that do not hold together."""
        keys = list(elements)
        if len(keys) < 2:
            return set(keys)
        halves = [{key: elements[key] for key in half} for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :])]
        faulty = [half for half in halves if not self._hold(half)]
        if len(faulty) == 1:
            return self._at_fault(faulty[0])
        return {key for key in keys if not self._hold({key: elements[key]})} or set(keys)

    def possible(self, elements: Mapping[Claim, Acts]) -> dict[Claim, Acts]:
        """Those of some elements that may hold: all but diagonal ones that few passes refute (see `UnitScreen`)."""
        diagonal = {claim: acts for claim, acts in elements.items() if not any(map(self._is_matrix, acts.items()))}
        possible = self.screen.possible(diagonal) if diagonal else {}
        return {claim: acts for claim, acts in elements.items() if claim in possible or claim not in diagonal}

    @cached_property
    def screen(self) -> UnitScreen:
        """The screen of all groups that are looked at."""
        return UnitScreen(self.setting, list(self.setting.found))

    def _hold(self, elements: Mapping[Claim, Acts]) -> bool:
        """Whether the outputs are left alone when all these elements act, and when others of their kinds do."""
        change = self._change_either_way(elements) if elements else 0.0
        if change < TOLERANCE:
            self.worst = max(self.worst, change)
        return change < TOLERANCE

    def _change_either_way(self, elements: Mapping[Claim, Acts]) -> float:
        """The change of the outputs when all these elements act, or others of their kinds: see `_other`."""
        change = self.change(acted_together(elements.values()))
        if not change < TOLERANCE:
            return change
        return max(change, self.change(acted_together(map(self._others, elements.values()))))

    def _others(self, acts: Acts) -> Acts:
        """The inverse element; of signs, and of matrices that need not fix ones, the negative of it.

        So every unit is flipped once: some may be off here, or on for all inputs, where a ReLU is linear.
        """
        fixes_ones = any(self._is_matrix(each) and _fixes_ones(each[1]) for each in acts.items())
        return {place: self._other(place, act, fixes_ones=fixes_ones) for place, act in acts.items()}

    def _other(self, place: GroupPlace, act: Tensor, *, fixes_ones: bool) -> Tensor:
        if self._is_matrix((place, act)):
            return inverse(act) if fixes_ones else -inverse(act)
        return -act if bool((act.abs() == 1).all()) else 1 / act

    def unneeded(self, acts: Acts, doubtful: Iterable[GroupPlace]) -> list[GroupPlace]:
        """The doubtful places that could be left out: without them the outputs are the same too.

        Not those of which the outputs do not depend at all, as drawing them anew shows.
        """
        found = []
        for place in doubtful:
            without = self.change({other: act for other, act in acts.items() if other != place})
            if not without > THRESHOLD and self.redrawn([place]) > NOTHING:
                found.append(place)
        return found

    def change(self, acts: Acts) -> float:
        """The change of the outputs, in units of their spread, when these act."""
        return self._measured_in(self.setting.moved(by_tensor(acts), lambda state: act_(self.spec, state, acts)))

    def redrawn(self, places: Collection[GroupPlace]) -> float:
        """The change of the outputs when every value at some places is drawn anew."""
        return self.measured(redrawn_at(self.spec, self.base, places, torch.Generator().manual_seed(0)))

    def measured(self, tensors: Mapping[str, Tensor]) -> float:
        """The change of the outputs, in units of their spread, at other values of some tensors."""
        return self._measured_in(self.setting.moved_to(tensors))

    def _measured_in(self, moved: AbstractContextManager[None]) -> float:
        """The change of the outputs in a context in which tensors of the subject are changed."""
        try:
            with moved:
                return self.reference.change()
        except StarcliError:  # outputs that are not finite: a negative variance, say
            return math.inf


def _fixes_ones(matrix: Tensor) -> bool:
    return torch.allclose(matrix.sum(-1), torch.ones((), dtype=matrix.dtype))


def acted_together(elements: Iterable[Acts]) -> Acts:
    """Several elements, one after the other, as one; those at one place are diagonal."""
    made: dict[GroupPlace, Tensor] = {}
    for acts in elements:
        for place, act in acts.items():
            made[place] = made[place] * act if place in made else act
    return made
