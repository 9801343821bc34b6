"""Signs and scales that cannot act, told for all groups together by a few backward passes.

Let the weights that read some units of each group be zero. No output then depends on what writes these units, and the
derivatives along the weights that read one are what it would add. Where what writes a unit is multiplied by a factor,
as an element does, these derivatives must be divided by the factors that the element has where it is read.

Where an element acts on no weights that read units, let all that it acts on of a unit be zero. The element then does
nothing there, and derivatives along what it would multiply must be zero.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.kinds.derivatives import by_tensor, gradients_at, place_blocks, unit_slopes, unit_views
from starcli.symmetry.kinds.elements import Acts
from starcli.symmetry.kinds.generic_setting import GenericSetting
from starcli.symmetry.proof.controls import NOTHING, THRESHOLD
from starcli.symmetry.proof.places import GroupPlace
from starcli.symmetry.proof.trial import TOLERANCE, at_fault

Claim = tuple[str, int]
"""A group, and the number of one of the ways in which something acts on it."""
UnitNumbers = Mapping[GroupPlace, Tensor]
"""Some units at each place, by their numbers (count,)."""
EQUAL_SLOPES = 1e-6
"""Largest relative difference of derivatives that are the same."""
MOST_SCREENED = 16
"""Most units of a group that are read by zeros, as many as claims that are looked at together; and at most half."""


class UnitScreen:
    """Groups of which the first units are read by zeros alone, at generic weights, and derivatives along these weights.

    Those where that does not keep the units from the outputs (a stream under LayerNorm) leak: they are not screened in
    that way, although they are read by zeros as well.
    """

    def __init__(self, setting: GenericSetting, groups: Collection[str]) -> None:
        """Find the groups, of `groups`, that can be screened; one example is enough.

        Inputs of several lengths are not cut: they are no examples (tokens, and where bags of them begin).
        """
        self.setting = setting
        self.inputs = setting.reference.inputs
        if len({len(each) for each in self.inputs if each.dim()}) == 1:
            self.inputs = tuple(each[:1] if each.dim() else each for each in self.inputs)
        self.seed = int(torch.randint(2**31, (), generator=setting.generator))
        own = {name: setting.places[name] for name in groups}
        self.readers = {name: [place for place in at if place.own_axis] for name, at in own.items()}
        self.writers = {name: setting.flippable([p for p in at if p.own_axis == 0]) for name, at in own.items()}
        self.units = {name: torch.arange(_screened(setting.spec.groups[name].size)) for name in groups}
        at = [place for name in groups if self.readers[name] for place in (*self.writers[name], *self.readers[name])]
        self.value, self.before = self._derivatives(at, {})
        leaking = {p.group for p, each in self.before.items() if p.own_axis == 0 and float(each.abs().max()) > NOTHING}
        self.groups = [name for name in groups if self.before and self.readers[name] and name not in leaking]

    def possible(self, elements: Mapping[Claim, Acts]) -> dict[Claim, Acts]:
        """Those of some diagonal elements that may act, as far as few units tell."""
        uneven = self._uneven({claim: acts for claim, acts in elements.items() if claim[0] not in self.groups})
        impossible = set[Claim]()
        for each in self._rounds(claim for claim in elements if claim[0] in self.groups):
            units = self._shared_out(each)
            factors = self._factors(elements, units)
            value, after = self._derivatives(self._readers_of(self.groups), factors)
            if not abs(value - self.value) < TOLERANCE:
                leaking = self._leaking(factors)
                self.groups = [name for name in self.groups if name not in leaking]
                return self.possible(elements)
            impossible |= self._refuted(elements, units, after)
        return {claim: acts for claim, acts in elements.items() if claim not in uneven | impossible}

    def _rounds(self, claims: Iterable[Claim]) -> list[dict[str, list[Claim]]]:
        """Claims by group, in as few rounds as leave a unit for each claim of a group."""
        rounds: list[dict[str, list[Claim]]] = []
        for claim in claims:
            most = len(self.units[claim[0]])
            free = next((each for each in rounds if len(each.get(claim[0], ())) < most), None)
            if free is None:
                rounds.append(free := {})
            free.setdefault(claim[0], []).append(claim)
        return rounds

    def _shared_out(self, claims: Mapping[str, Sequence[Claim]]) -> dict[Claim, Tensor]:
        """For each of some claims, by group, some units of its group."""
        return {claim: self.units[name][k :: len(own)] for name, own in claims.items() for k, claim in enumerate(own)}

    def _uneven(self, elements: Mapping[Claim, Acts]) -> set[Claim]:
        """Claims about nothing that reads units whose elements change the outputs, to first order near zero."""
        claims = [claim for claim, acts in elements.items() if not any(place.own_axis for place in acts)]
        if not claims:
            return set()
        units = dict(zip(claims, spread_units(self.setting, [claim[0] for claim in claims]), strict=True))
        at: dict[GroupPlace, list[Tensor]] = {}
        for claim in claims:
            for place in elements[claim]:
                at.setdefault(place, []).append(units[claim])
        joined = {place: torch.unique(torch.cat(each)) for place, each in at.items()}
        slopes = slopes_at_zero(self.setting, joined, self.inputs)
        found = set()
        for claim in claims:
            for place in (place for place in elements[claim] if place in slopes):
                own = slopes[place][:, torch.isin(joined[place], units[claim])]
                if float(own.norm()) * len(joined) > THRESHOLD:
                    found.add(claim)
        return found

    def _factors(self, elements: Mapping[Claim, Acts], units: Mapping[Claim, Tensor]) -> dict[GroupPlace, Tensor]:
        """What these claims do to what writes some units each, on which they act as on the first."""
        factors: dict[GroupPlace, Tensor] = {}
        for claim, some in units.items():
            for place, act in elements[claim].items():
                if place.own_axis == 0:
                    ones = torch.ones(*act.shape[:-1], len(self.units[place.group]), dtype=act.dtype)
                    factors.setdefault(place, ones)[..., some] = act[..., :1]
        return factors

    def _leaking(self, factors: Mapping[GroupPlace, Tensor]) -> set[str]:
        """Groups of which these factors change the outputs, as all together do, although nothing reads their units."""

        def leaks(names: Sequence[str]) -> bool:
            own = {place: factor for place, factor in factors.items() if place.group in names}
            value, _ = self._derivatives(self._readers_of(names), own)
            return not abs(value - self.value) < TOLERANCE

        return at_fault(self.groups, leaks)

    def _refuted(
        self, elements: Mapping[Claim, Acts], units: Mapping[Claim, Tensor], after: Mapping[GroupPlace, Tensor]
    ) -> set[Claim]:
        """Which of these claims cannot hold, each tried on some units: `after` are the derivatives when they act."""
        found = set()
        for name in dict.fromkeys(name for name, _ in units):
            at = [place for place in self.readers[name] if place in self.before and place in after]
            if not at:
                continue
            was, now = (torch.stack([slopes[place] for place in at]) for slopes in (self.before, after))
            for claim in (claim for claim in units if claim[0] == name):
                acts, ones = elements[claim], torch.ones(was.shape[1], 1, dtype=was.dtype)
                factors = [acts[place][..., :1].reshape(-1, 1) if place in acts else ones for place in at]
                some = units[claim]
                expected, actual = was[..., some] / torch.stack(factors), now[..., some]
                size = torch.maximum(_sizes(expected), _sizes(actual))
                if bool(((size > TOLERANCE) & (_sizes(actual - expected) > EQUAL_SLOPES * size)).any()):
                    found.add(claim)
        return found

    def _readers_of(self, groups: Iterable[str]) -> list[GroupPlace]:
        return [place for name in groups for place in self.readers[name]]

    def _derivatives(
        self, at: Sequence[GroupPlace], factors: Mapping[GroupPlace, Tensor]
    ) -> tuple[float, dict[GroupPlace, Tensor]]:
        """The same projection of the outputs each time, and its derivatives by the screened units at some places."""
        units = {place: self.units[place.group] for place in at}
        with self._read_by_zeros(factors):
            return _slopes(self.setting, units, self.inputs, torch.Generator().manual_seed(self.seed))

    def _read_by_zeros(self, factors: Mapping[GroupPlace, Tensor]) -> AbstractContextManager[None]:
        """The subject where some units of all groups are read by zeros, and multiplied at some places.

        Factors are of shape (parents..., units).
        """
        zeros = {place: torch.zeros(()) for place in self._readers_of(self.readers)}
        at = {**factors, **zeros}

        def write(state: Mapping[str, Tensor]) -> None:
            for place, factor in at.items():
                parents = len(self.setting.shape(place.group)) - 1
                for whole in unit_views(self.setting.spec, place, state[place.tensor]):
                    view = whole.narrow(parents, 0, len(self.units[place.group]))
                    view.mul_(factor.reshape((*factor.shape, *[1] * (view.dim() - factor.dim()))))

        return self.setting.moved(by_tensor(at), write)


def _sizes(slopes: Tensor) -> Tensor:
    """The norm at each place of (places, parents, units)."""
    found: Tensor = torch.linalg.vector_norm(slopes, dim=(1, 2))
    return found


def _screened(size: int) -> int:
    return max(1, min(size // 2, MOST_SCREENED))


def spread_units(setting: GenericSetting, groups: Sequence[str]) -> list[Tensor]:
    """For each of these groups, which may be there several times, some of its units: others each time, if there are."""
    found, number, count = [], dict.fromkeys(groups, 0), Counter(groups)
    for group in groups:
        n, times = setting.spec.groups[group].size, count[group]
        k = number[group]
        number[group] += 1
        found.append(torch.arange(n)[k :: 2 * times] if k < n else torch.tensor([k % n]))
    return found


def slopes_at_zero(setting: GenericSetting, units: UnitNumbers, inputs: tuple[Tensor, ...]) -> dict[GroupPlace, Tensor]:
    """Derivatives along some units at each place, (parents, units), where all of these are zero."""

    def write(state: Mapping[str, Tensor]) -> None:
        for place, some in units.items():
            for block, k in place_blocks(setting.spec, place):
                block.view(state[place.tensor]).index_fill_(k, some, 0)

    with setting.moved(by_tensor(units), write):
        return _slopes(setting, units, inputs, setting.generator)[1]


def _slopes(
    setting: GenericSetting, units: UnitNumbers, inputs: tuple[Tensor, ...], generator: torch.Generator
) -> tuple[float, dict[GroupPlace, Tensor]]:
    """A random projection of the outputs, and its derivatives along the generic weights of some units at each place.

    Not a number, and nothing, where the network cannot be differentiated or gives out what is not finite.
    """
    once = dict.fromkeys((place.group for place in units), 1)
    passes = gradients_at(setting.spec, setting.reference, list(units), once, generator, inputs)
    try:
        value, gradients = next(passes)
    except (RuntimeError, StarcliError, StopIteration):
        return math.nan, {}
    return value, {
        place: unit_slopes(setting.spec, place, gradients[place.tensor], setting.base[place.tensor], some)
        for place, some in units.items()
    }
